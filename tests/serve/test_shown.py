"""What was shown too often without an answer is not shown again for a while."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tessera.serve import host
from tessera.serve.closed import seal_closed
from tessera.serve.erased import Erased
from tessera.serve.erasing import erase
from tessera.serve.follower import Follower
from tessera.serve.log import line
from tessera.serve.online.investor import NOTHING, Past
from tessera.serve.online.shown import Exposures, logged_slate
from tessera.serve.sealer import Sealer

DAY = 86_400_000_000
IDS = ["a", "b", "c"]


def exposures(*slates, most=2, days=3.0):
    found = Exposures(most, days)
    for day, items in slates:
        found.add("u", list(items), int(day * DAY))
    return found


def capped(found, day, past=NOTHING, user="u"):
    return found.capped(user, past, IDS, int(day * DAY))


def test_what_was_shown_before_somebody_was_erased_counts_no_more():
    found = exposures((10, "ab"), (11, "ac"))
    assert found.capped("u", NOTHING, IDS, 12 * DAY, erased=10 * DAY) == ()
    assert found.capped("u", NOTHING, IDS, 12 * DAY, erased=10 * DAY - 1) == ("a",)


def did(item, day):
    return Past(np.array([IDS.index(item) + 1]), np.array([1]), np.array([int(day * DAY)]))


def test_an_item_that_was_shown_so_often_is_capped_until_the_days_are_over():
    found = exposures((10, "ab"), (11, "ac"))
    assert capped(found, 12) == ("a",)
    assert capped(found, 11) == (), "what is shown at a moment is not known before it"
    assert capped(found, 12.9) == ("a",)
    assert capped(found, 13) == (), "three days after the first"
    assert capped(found, 12, user="v") == ()


@pytest.mark.parametrize(("most", "days", "told"), [(1, 3, ("a", "b", "c")), (2, 1.5, ()),
                                                    (3, 9, ()), (None, 9, ())])  # fmt: skip
def test_params_say_how_often_and_in_how_many_days(most, days, told):
    assert capped(exposures((10, "ab"), (11, "ac"), most=most, days=days), 12) == told


def test_whoever_does_something_with_an_item_begins_anew():
    found = exposures((10, "a"), (11, "a"))
    assert capped(found, 12, did("a", 11.5)) == ()
    assert capped(found, 12, did("a", 10.5)) == (), "one is left behind it"
    assert capped(found, 12, did("a", 9)) == ("a",)
    assert capped(found, 12, did("b", 11.5)) == ("a",)


def test_what_is_too_long_ago_is_let_go():
    found = exposures(*((day, "abc") for day in range(100)))
    assert len(found) == 9
    for user in range(50):
        found.add(f"v{user}", ["a"], 200 * DAY)
    assert len(found) == 50
    assert capped(found, 100) == ()
    assert len(exposures((1, "abc"), most=None)) == 0


def slate(user, day, chosen):
    return {"kind": "slate", "moment": int(day * DAY), "user_id": user, "candidate_ids": IDS,
            "chosen": chosen}  # fmt: skip


def test_slates_of_a_log_count_as_if_they_had_just_been_shown():
    found = Exposures(2, 3.0)
    found.restore(map(logged_slate, [slate("u", 11, [0, 2, -1]), slate("u", 10, [0, 1])]))
    assert len(found) == 4
    assert capped(found, 12) == capped(exposures((10, "ab"), (11, "ac")), 12) == ("a",)


def test_what_was_shown_to_whoever_was_erased_is_let_go_wherever_it_is_known():
    old, new = exposures((10, "ab"), (11, "a")), exposures()
    new.adopt(old)
    old.add("v", ["a"], 11 * DAY)
    new.drop(lambda user, moment: user == "u" and moment <= 10 * DAY)
    assert (len(old), len(new)) == (2, 2)
    assert old._shown == new._shown == {"u": {"a": [11 * DAY]}, "v": {"a": [11 * DAY]}}
    new.add("w", ["b"], 15 * DAY)
    assert len(old) == 1


@pytest.mark.parametrize("erased_by", ["this process", "another one"])
def test_an_erasure_drops_what_was_shown(service, erased_by):
    folder = service.log.path.parent
    service.engine.scorer.erased = Erased(folder)
    service.engine.exposures = Exposures(1, 1.0)
    sealer = Sealer(service, folder)
    sealer.look(1)
    for n, user in enumerate(("u1", "u2")):
        service.recommend(f"r{n}", user, 5, 3)
    if erased_by == "this process":
        assert erase(service, "u1", 9) == 0
    else:
        Erased(folder).add("u1", 9)
        sealer.look(1)
    assert set(service.engine.exposures._shown) == {"u2"}


def test_another_bundle_knows_what_was_shown_before_and_what_the_old_one_still_shows():
    old, new = exposures((10, "a")), exposures()
    new.adopt(old)
    old.add("u", ["a"], 11 * DAY)
    assert capped(new, 12) == ("a",)


def test_a_slate_counts_once_it_is_logged_and_for_the_next_bundle_too(service, engine):
    service.engine.exposures = Exposures(1, 1.0)
    slate = service.recommend("r1", "u1", 5, 3)
    shown = tuple(sorted(slate.drawn.candidate_ids[one] for one in slate.drawn.shown()))
    after = engine("v2")
    after.exposures = Exposures(1, 1.0)
    service.swap(after)
    assert service.engine.exposures.capped("u1", NOTHING, (), 6) == shown
    service.log.close()
    service.recommend("r2", "u2", 7, 3)
    assert service.engine.exposures.capped("u2", NOTHING, (), 8) == (), "it was not logged"


@pytest.fixture
def beside(tmp_path, engine, opened, monkeypatch):
    """Start services over one log and one feed, as workers do."""
    folder, started = tmp_path / "served", []
    folder.mkdir()

    def open_engine(bundle, params):
        found = engine()
        found.exposures = Exposures(params.cap_shown, params.cap_days)
        return found

    monkeypatch.setattr(host.Engine, "open", open_engine)

    def start(most=2):
        params = host.ServeParams(cap_shown=most, cap_days=9)
        started.append(host.join(tmp_path, folder, params, opened("sqlite", folder)))
        return started[-1]

    yield start
    for one in started:
        one.close()


def counts(service, user="u1"):
    """How often each item was shown, as the next request counts it."""
    service.hear()
    shown = service.engine.exposures._shown.get(user, {})
    return {item: len(moments) for item, moments in shown.items()}


def items_of(*slates):
    found = {}
    for slate in slates:
        for one in slate.drawn.shown():
            item = slate.drawn.candidate_ids[one]
            found[item] = found.get(item, 0) + 1
    return found


def test_the_next_request_of_any_process_knows_what_another_one_showed(beside):
    one, other = beside(), beside()
    slates = [each.recommend(f"r{n}", "u1", 10 + n, 3) for n, each in enumerate([one, other] * 3)]
    assert counts(one) == counts(other) == items_of(*slates)
    other.recommend("r9", "u2", 20, 3)
    assert sum(counts(one, "u2").values()) == 3
    late = beside()
    assert counts(late) == items_of(*slates), "of before its start, each once"
    slates.append(late.recommend("r10", "u1", 30, 3))
    assert counts(one) == counts(other) == counts(late) == items_of(*slates)


def test_a_request_hears_before_it_is_answered(beside, monkeypatch):
    one, other = beside(), beside()
    slate = one.recommend("r1", "u1", 10, 3)
    answer, knew = other.engine.answer, []

    def answered(*asked):
        knew.append({item: len(at) for item, at in other.engine.exposures._shown["u1"].items()})
        return answer(*asked)

    monkeypatch.setattr(other.engine, "answer", answered)
    other.recommend("r2", "u1", 11, 3)
    assert knew == [items_of(slate)]


def test_what_is_rolled_sealed_and_removed_is_heard_once(beside, tmp_path):
    one, other = beside(), beside()
    slates = [one.recommend("r1", "u1", 10, 3)]
    other.hear()
    slates.append(one.recommend("r2", "u1", 11, 3))
    one.roll()
    slates.append(one.recommend("r3", "u1", 12, 3))
    folder = tmp_path / "served"
    assert seal_closed(folder, time.time_ns() + 7200 * 10**9)
    assert len(list(folder.glob("*.log"))) == 2, "that of each process"
    assert counts(one) == counts(other) == counts(beside()) == items_of(*slates)
    assert len(other._showing._files) == 1


def test_a_segment_that_is_sealed_and_still_there_counts_once(beside, tmp_path):
    one, folder = beside(), tmp_path / "served"
    slate = one.recommend("r1", "u1", 10, 3)
    path = one.log.path
    before = path.read_bytes()
    one.roll()
    seal_closed(folder, time.time_ns() + 7200 * 10**9)
    path.write_bytes(before)  # as if it had been killed before it removed it
    assert counts(beside()) == items_of(slate)


def test_half_a_line_is_no_slate_yet_and_a_torn_one_never(beside, tmp_path):
    service = beside()
    rows = [line(slate("u1", 1, [0])), line(slate("u1", 1, [1]))]
    path = tmp_path / "served" / "0-1.log"
    with path.open("wb", buffering=0) as file:
        file.write(rows[0] + rows[1][:5])
        assert counts(service) == {"a": 1}
        file.write(rows[1][5:30])
        assert counts(service) == {"a": 1}
        file.write(rows[1][30:])
        assert counts(service) == {"a": 1, "b": 1}
        file.write(rows[0][:-1].replace(b"u1", b"u2") + b"\n" + rows[0])
        assert counts(service) == {"a": 1, "b": 1}
        assert counts(service, "u2") == {}


def test_the_follower_hears_while_nobody_asks(beside, tmp_path, monkeypatch):
    monkeypatch.setattr("tessera.serve.follower._LOOK_S", 0.01)
    one, other = beside(), beside()
    follower = Follower(other, lambda: tmp_path / "v1", host.ServeParams())
    follower.start()
    slate = one.recommend("r1", "u1", 10, 3)
    end = time.monotonic() + 20
    while not other.engine.exposures._shown:
        assert time.monotonic() < end
        time.sleep(0.01)
    follower.stop()
    assert counts(other) == items_of(slate)


def test_without_a_cap_nothing_of_others_is_read(beside):
    one, other = beside(None), beside(None)
    one.recommend("r1", "u1", 10, 3)
    assert other._showing is None
    assert counts(other) == {}


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_let_go_at_the_end(beside):
    before = open_files()
    one, other = beside(), beside()
    one.recommend("r1", "u1", 10, 3)
    other.recommend("r2", "u1", 11, 3)
    one.close()
    other.close()
    assert not one._showing._files
    assert not other._showing._files
    assert open_files() <= before
