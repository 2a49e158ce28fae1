"""What is kept of a day: half a day that a kill left behind is taken back, whole days stay."""

import json
import shutil

import numpy as np
import pytest

from tessera.platform.simulate import keep
from tessera.platform.simulate.visits import Day, Player, Sample
from tessera.stages.synth.town import Town


class Log:
    """A served log of plain bytes."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "sealed").mkdir(parents=True)

    def write(self, name, text):
        with (self.folder / f"{name}.log").open("a") as file:
            file.write(text)

    def seal(self, hour, *names):
        made = self.folder / "sealed" / hour
        made.mkdir()
        held = ""
        for name in names:
            path = self.folder / f"{name}.log"
            held += path.read_text()
            path.unlink()
        (made / "hour.json").write_text(held)

    def read(self):
        sealed = sorted((self.folder / "sealed").glob("[!.]*"))
        return {path.name: (path / "hour.json").read_text() for path in sealed} | {
            path.name: path.read_text() for path in sorted(self.folder.glob("*.log"))
        }


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "served")


@pytest.fixture
def copy(tmp_path):
    return tmp_path / "copy"


def test_a_log_comes_back_as_it_was(log, copy):
    log.write("1", "one ")
    first = keep.copy_log(log.folder, copy)
    was = log.read()
    log.write("1", "half a day")
    log.write("2", "more of it")
    keep.restore_log(copy, log.folder, first)
    assert log.read() == was


def test_what_is_written_behind_a_return_is_kept_as_it_is(log, copy):
    log.write("1", "one ")
    first = keep.copy_log(log.folder, copy)
    log.write("1", "a long half of a day ")
    keep.copy_log(log.folder, copy)  # and killed before the day was kept
    keep.restore_log(copy, log.folder, first)
    log.write("1", "two ")
    second = keep.copy_log(log.folder, copy)
    log.write("1", "lost")
    keep.restore_log(copy, log.folder, second)
    assert log.read() == {"1.log": "one two "}


def test_an_hour_that_was_sealed_since_is_open_again(log, copy):
    log.write("1", "one ")
    first = keep.copy_log(log.folder, copy)
    was = log.read()
    log.write("1", "half")
    log.seal("hour", "1")
    keep.copy_log(log.folder, copy)
    keep.restore_log(copy, log.folder, first)
    assert log.read() == was


def test_a_sealed_hour_comes_back_without_what_it_was_made_from(log, copy):
    log.write("1", "one ")
    keep.copy_log(log.folder, copy)
    log.seal("hour", "1")
    second = keep.copy_log(log.folder, copy)
    was = log.read()
    log.write("2", "half")
    keep.restore_log(copy, log.folder, second)
    assert log.read() == was == {"hour": "one "}


def _player(place, boost):
    waiting = [(5, 1, 2), (9, 0, 1)]
    coming = [(4, "a", {"event_id": "a"}), (8, "b", {"event_id": "b", "value": 1.5})]
    return Player(place.plan, Town(None, np.full((2, 3), boost, np.float32), 300, waiting), coming)


def _sample():
    one = np.array([0.5, 0.25, 0.125], np.float32)
    return Sample(["r1"], [1], [77], [one], [one / 2])


def test_a_day_comes_back_as_it_was_kept(place):
    keep.save(place, _player(place, 1.0), Day({"day": 0, "value": 0.25}, _sample()))
    keep.save(place, _player(place, 2.0), Day({"day": 1, "value": 0.5}, _sample()))
    town, coming = keep.load(place, "market")
    player = _player(place, 2.0)
    assert keep.days_done(place) == 2
    assert (town.market, town.day, town.waiting) == ("market", 300, player.town.waiting)
    assert np.array_equal(town.boost_UI, player.town.boost_UI)
    assert coming == player.coming
    assert [one["value"] for one in keep.figures(place)] == [0.25, 0.5]
    day, told = list(keep.samples(place))[1]
    assert day == 1
    assert told["shown_SI"][0].tolist() == [0.25, 0.125, 0.0625]
    assert told["request_id"].tolist() == ["r1"]


def test_half_a_day_counts_as_none(place):
    keep.save(place, _player(place, 1.0), Day({"day": 0, "value": 0.25}, _sample()))
    half = place.played / "days" / ".001"
    shutil.copytree(place.played / "days" / "000", half)
    (half / "figures.json").write_text(json.dumps({"day": 1}))
    assert keep.days_done(place) == 1
    assert [one["day"] for one in keep.figures(place)] == [0]
