"""An hour that is over becomes tables; whatever a crash leaves, each row is there once."""

from __future__ import annotations

import fcntl
import json
import signal
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES
from tessera.serve import apart, closed
from tessera.serve.apart import Apart
from tessera.serve.closed import seal_closed
from tessera.serve.events import Event
from tessera.serve.hours import alone, began, open_segments, records, sealed_hours
from tessera.serve.log import BrokenLog, ServedLog, line
from tessera.serve.logged import record_of
from tessera.serve.sealer import Sealer
from tessera.serve.service import Service
from tessera.serve.slate import at
from tessera.serve.whole_log import middle, write_log

HOUR_NS = 3600 * 10**9
NOW_NS = 1_700_000_000 * 10**9
NOW = NOW_NS // 1000
MINUTE = 60_000_000


def slate(engine, request, user="u1", moment=NOW):
    return record_of(engine().answer(request, user, moment, 3))


def event(name, request=None, item="i4", moment=NOW + MINUTE, action="click", value=0.0):
    return Event(name, "u1", item, action, moment, request, value).record()


def segment(folder, hours_ago, *rows, worker=1):
    """Lay out a segment that was begun so many hours before the present one."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{NOW_NS - hours_ago * HOUR_NS + worker:020d}-{worker}.log"
    path.write_bytes(b"".join(map(line, rows)))
    return path


def written(folder, tmp_path):
    """Return the tables of a log, rows as they lie there."""
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    out.mkdir()
    told = write_log(folder, out)
    rows = {name: pq.read_table(out / f"{name}.parquet").to_pylist() for name in told}
    assert {name: len(found) for name, found in rows.items()} == {
        name: one["rows"] for name, one in told.items()
    }
    return rows


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "served"


def test_an_hour_that_is_over_is_tables_counted_and_hashed_and_its_segments_go(engine, folder):
    first = [slate(engine, "r1"), event("e1", "r1", engine().answer("r1", "u1", NOW, 3).drawn
             .candidate_ids[0])]  # fmt: skip
    segment(folder, 2, *first)
    segment(folder, 1, slate(engine, "r2"))
    now = segment(folder, 0, slate(engine, "r3"))
    before = list(records(folder))
    made = seal_closed(folder, NOW_NS)
    assert [path.name for path in made] == ["2023-11-14T20-0000", "2023-11-14T21-0000"]
    assert list(folder.glob("*.log")) == [now], "this hour goes on"
    assert list(records(folder)) == before
    assert list(records(folder, events_only=True)) == first[1:]
    for hour in sealed_hours(folder):
        for name, told in hour.files.items():
            assert sha256(hour.path / f"{name}.parquet") == told["sha256"]
            assert len(hour.rows(name)) == told["rows"]
        for table in (EXPOSURES, OUTCOMES, EVENTS):
            assert hour.rows(table.name).schema.equals(schema(table))
    assert seal_closed(folder, NOW_NS) == [], "once"


def test_a_sealed_hour_says_its_first_and_last_moment(engine, folder):
    late = event("e1", moment=NOW + 5 * MINUTE)
    segment(folder, 1, slate(engine, "r1"), late, event("e0", moment=NOW - MINUTE))
    seal_closed(folder, NOW_NS)
    (hour,) = sealed_hours(folder)
    told = hour.files["records"]
    assert (told["rows"], told["first"], told["last"]) == (3, NOW - MINUTE, NOW + 5 * MINUTE)


def test_sealed_or_open_the_tables_are_the_same(engine, folder, tmp_path):
    for ago in (3, 2, 1, 0):
        rows = [slate(engine, f"r{ago}{n}", f"u{n}") for n in range(4)]
        shown = [one["candidate_ids"][one["chosen"][0]] for one in rows]
        segment(folder, ago, *rows, *(event(f"e{ago}{n}", f"r{ago}{n}", item)
                                      for n, item in enumerate(shown)))  # fmt: skip
    wanted = written(folder, tmp_path)
    assert len(wanted["exposures"]) == 48
    assert len(wanted["outcomes"]) == 16
    assert len(seal_closed(folder, NOW_NS)) == 3
    found = written(folder, tmp_path)
    for name, rows in wanted.items():
        assert sorted(map(str, found[name])) == sorted(map(str, rows)), name


def test_an_outcome_may_come_hours_after_its_slate_was_sealed_or_before_it(
    engine, folder, tmp_path
):
    rows = slate(engine, "r1"), slate(engine, "r2")
    first, second = (one["candidate_ids"][one["chosen"][0]] for one in rows)
    segment(folder, 9, rows[0], event("early", "r2", second))  # another worker's clock is behind
    seal_closed(folder, NOW_NS - 8 * HOUR_NS)
    segment(folder, 8, rows[1])
    segment(folder, 1, event("late", "r1", first, NOW + 7 * 60 * MINUTE))
    seal_closed(folder, NOW_NS)
    late = sealed_hours(folder)[-1].rows("outcomes").to_pylist()
    assert [one["request_id"] for one in late] == ["r1"], "of a slate that was sealed long ago"
    found = written(folder, tmp_path)["outcomes"]
    assert [one["request_id"] for one in found] == ["r1", "r2"]


def test_what_several_workers_and_hours_repeat_is_there_once(engine, folder, tmp_path):
    again = [slate(engine, "r1"), event("e1", "r1")]
    item = again[0]["candidate_ids"][again[0]["chosen"][0]]
    again.append(event("e2", "r1", item, NOW + 2 * MINUTE))
    for ago, worker in ((2, 1), (2, 2), (1, 1), (0, 2)):
        segment(folder, ago, *again, worker=worker)
    # The same was done once more: it is an event, and no second outcome; the earlier one counts.
    segment(folder, 0, event("e3", "r1", item, NOW + MINUTE), worker=3)
    seal_closed(folder, NOW_NS)
    assert [len(hour.rows("exposures")) for hour in sealed_hours(folder)] == [3, 0]
    found = written(folder, tmp_path)
    assert len(found["exposures"]) == 3
    assert sorted(one["event_id"] for one in found["events"]) == ["e1", "e2", "e3"]
    (one,) = (one for one in found["outcomes"] if one["item_id"] == item)
    assert int(one["event_ts"].timestamp() * 1e6) == NOW + MINUTE


def test_a_segment_that_is_written_is_left_alone_and_a_late_one_gets_a_part_of_its_own(
    engine, folder
):
    segment(folder, 1, slate(engine, "r1"))
    live = ServedLog(folder / f"{NOW_NS - HOUR_NS + 7:020d}-7.log")
    live.append(slate(engine, "r2")).result(5)
    assert len(seal_closed(folder, NOW_NS)) == 1
    assert live.path.exists()
    live.close()
    (late,) = seal_closed(folder, NOW_NS)
    assert late.name == "2023-11-14T21-0001"
    assert [one["request_id"] for one in records(folder)] == ["r1", "r2"]


def test_nothing_is_sealed_while_somebody_reads_or_seals(engine, folder):
    segment(folder, 1, slate(engine, "r1"))
    reading = records(folder)
    next(reading)
    assert seal_closed(folder, NOW_NS) == []
    reading.close()
    assert len(seal_closed(folder, NOW_NS)) == 1


@pytest.mark.parametrize(
    ("where", "after"),
    [("write_tables", 0), ("write_lines", 0), ("sync_folder", 3), ("sync_folder", 6),
     ("Path.unlink", 0), ("Path.unlink", 1)],
)  # fmt: skip
def test_a_crash_at_any_point_of_sealing_loses_nothing_and_doubles_nothing(
    engine, folder, tmp_path, where, after, dying
):
    for worker in (1, 2):
        segment(folder, 1, slate(engine, f"r{worker}"), event(f"e{worker}"), worker=worker)
    before, wanted = list(records(folder)), written(folder, tmp_path)
    code = dying("tessera.serve.closed", where, after, "seal_closed", folder, NOW_NS)
    assert code == -signal.SIGKILL
    for _ in range(2):
        assert list(records(folder)) == before
        found = written(folder, tmp_path)
        for name, rows in wanted.items():
            assert sorted(map(str, found[name])) == sorted(map(str, rows)), name
        seal_closed(folder, NOW_NS)
    assert list(folder.glob("*.log")) == []
    assert len(sealed_hours(folder)) == 1


def test_segments_stay_until_what_was_sealed_of_them_was_read_back(engine, folder, monkeypatch):
    path = segment(folder, 1, slate(engine, "r1"), event("e1"))
    real = closed.write_lines
    monkeypatch.setattr(closed, "write_lines", lambda found, to: real(found[:1], to))
    with pytest.raises(BrokenLog, match="lacks lines of its segments"):
        seal_closed(folder, NOW_NS)
    assert path.exists()


def test_what_was_changed_after_it_was_sealed_is_refused(engine, folder):
    segment(folder, 1, slate(engine, "r1"))
    (hour,) = seal_closed(folder, NOW_NS)
    with (hour / "events.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BrokenLog, match="events.parquet is not what was sealed: bring it back"):
        list(records(folder))


def test_a_torn_end_is_cut_off_and_an_empty_segment_goes(engine, folder):
    path = segment(folder, 1, slate(engine, "r1"))
    with path.open("ab") as file:
        file.write(line(event("e1"))[:9])
    segment(folder, 2)
    assert len(seal_closed(folder, NOW_NS)) == 1
    assert [one["kind"] for one in records(folder)] == ["slate"]
    assert list(folder.glob("*.log")) == []


@pytest.fixture
def rolling(engine, folder):
    """A service whose segments bear the hours that a test gives."""
    starts = iter([NOW_NS - HOUR_NS, NOW_NS, NOW_NS + HOUR_NS])
    found = Service(engine(), lambda: ServedLog(folder / f"{next(starts):020d}-1.log"))
    yield found
    found.close()


def test_each_hour_begins_a_segment_and_nothing_is_lost_meanwhile(rolling, folder):
    sealer = Sealer(rolling, folder)
    first = rolling.log.path
    rolling.recommend("r1", "u1", NOW, 3)
    assert sealer.look(began(first) + 1) == []
    assert rolling.log.path == first, "the hour is not over"
    (hour,) = sealer.look(NOW_NS)
    assert rolling.log.path != first
    assert json.loads((hour / "hour.json").read_text())["files"]["exposures"]["rows"] == 3
    rolling.happened([replace(Event("e1", "u1", "i0", "click", NOW), request_id="r1")])
    assert [one["kind"] for one in records(folder)] == ["slate", "event"]


def test_memory_is_given_back_while_an_hour_is_sealed(rolling, folder, monkeypatch):
    """It may take minutes, in which slates leave a hundred megabytes of free pages."""
    given = []
    monkeypatch.setattr("tessera.serve.sealer._LOOK_S", 0.05)
    monkeypatch.setattr("tessera.serve.sealer.give_back_memory", lambda: given.append(1))
    rolling.recommend("r1", "u1", NOW, 3)
    (hour,) = Sealer(rolling, folder).look(NOW_NS)
    assert given, "the process that seals needs a second to begin alone"
    assert json.loads((hour / "hour.json").read_text())["files"]["exposures"]["rows"] == 3


def test_a_long_segment_is_followed_by_another_one_of_its_hour(rolling, folder, monkeypatch):
    sealer, first = Sealer(rolling, folder), rolling.log.path
    rolling.recommend("r1", "u1", NOW, 3)
    monkeypatch.setattr("tessera.serve.sealer._SEGMENT_BYTES", first.stat().st_size + 1)
    assert sealer.look(began(first) + 1) == []
    assert rolling.log.path == first
    monkeypatch.setattr("tessera.serve.sealer._SEGMENT_BYTES", first.stat().st_size)
    assert sealer.look(began(first) + 1) == []
    assert rolling.log.path != first
    assert [one["request_id"] for one in records(folder)] == ["r1"]


def test_no_more_is_sealed_at_once_than_memory_has_room_for(engine, folder, monkeypatch):
    """Three segments of one hour, two of which are a part; the last repeats a row of the first."""
    for worker, names in enumerate(["ab", "cd", "ae"]):
        segment(folder, 1, *(slate(engine, name) for name in names), worker=worker)
    size = max(one.stat().st_size for one in folder.glob("*.log"))
    monkeypatch.setattr(closed, "PART_BYTES", 2 * size + 2)
    made = seal_closed(folder, NOW_NS)
    assert [sum(one.segments != {} for one in sealed_hours(folder)), len(made)] == [2, 2]
    assert [len(one.segments) for one in sealed_hours(folder)] == [2, 1]
    assert [one.files["exposures"]["rows"] for one in sealed_hours(folder)] == [12, 3]


def test_hours_are_sealed_by_a_process_of_their_own_and_only_where_some_are_over(
    engine, folder, monkeypatch
):
    started, real = [], apart.subprocess.Popen
    monkeypatch.setattr(
        apart.subprocess,
        "Popen",
        lambda *how, **more: started.append(real(*how, **more)) or started[-1],
    )
    segment(folder, 0, slate(engine, "r2"))
    assert Apart(folder).seal(NOW_NS) == []
    assert started == []
    segment(folder, 1, slate(engine, "r1"))
    (made,) = Apart(folder).seal(NOW_NS)
    assert made.parent == folder / "sealed"
    assert [process.returncode for process in started] == [0]
    assert [one["request_id"] for one in records(folder)] == ["r1", "r2"]


def test_what_goes_wrong_while_it_is_sealed_is_said_and_the_segments_stay(engine, folder, caplog):
    path = segment(folder, 1, slate(engine, "r1"), slate(engine, "r2"))
    path.write_bytes(path.read_bytes().replace(b"r1", b"rX"))
    assert Apart(folder).seal(NOW_NS) == []
    assert "the log is not sealed: " in caplog.text
    assert "is damaged in line 1" in caplog.text
    assert path.exists()


def test_a_sealing_that_is_stopped_leaves_the_segments_and_starts_no_other(engine, folder, caplog):
    path, one = segment(folder, 1, slate(engine, "r1")), Apart(folder)
    with alone(folder, fcntl.LOCK_SH):  # whoever seals has to wait or to leave it
        one.stop()
        assert one.seal(NOW_NS) == []
    assert path.exists()
    assert caplog.text == ""


def test_one_odd_row_does_not_move_when_half_of_what_was_served_had_come(engine, folder, tmp_path):
    rows = [slate(engine, f"r{n}", moment=NOW + n * MINUTE) for n in range(4)]
    segment(folder, 0, *rows, event("odd", moment=0))
    out = tmp_path / "out"
    out.mkdir()
    write_log(folder, out)
    assert middle(out) == at(NOW + MINUTE)


def test_a_segment_is_its_writers_until_its_process_ends(folder):
    log = ServedLog(folder / "1.log")
    with log.path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    log.append(event("e1")).result()
    log.close()
    assert len(list(open_segments(folder))) == 1
