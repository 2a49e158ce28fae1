"""What was shown too often without an answer is not shown again for a while."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.serve.erased import Erased
from tessera.serve.erasing import erase
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
