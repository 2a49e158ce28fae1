"""A canary is judged by investors, each once, with bounds that hold at every look."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tessera.serve.events import Event, forget_record
from tessera.serve.trial import Trial, Units, difference, exceeds, newest

NOW = 1_700_000_000_000_000
HOUR = 3_600_000_000


def identity(name):
    return name.ljust(64, "0")


def slate(name, user, moment, arm="v1", *, share=0.2, canary="v2"):
    told = {"canary": canary, "canary_identity": identity(canary or ""), "share": share}
    return {"kind": "slate", "request_id": name, "user_id": user, "moment": moment,
            "policy_id": arm, "context_version": f"{identity(arm.partition('/')[0])[:12]}+7",
            "candidate_ids": ["x", "i0", "i1"], "chosen": [1, 2, -1],
            **(told if canary else {})}  # fmt: skip


def act(name, request, action, moment, item="i0"):
    return Event(name, "?", item, action, moment, request).record()


END = slate("end", "z", NOW + 100 * HOUR, canary=None)


def test_an_investor_counts_once_by_the_window_from_the_first_slate_on():
    told = [
        slate("r1", "a", NOW, "v2"),
        slate("r2", "a", NOW + 20 * HOUR, "v2"),
        slate("r3", "a", NOW + 25 * HOUR, "v2"),  # beyond the window
        slate("r4", "b", NOW + HOUR),
        slate("r5", "b", NOW + 2 * HOUR, share=0.3),  # the share was changed
        slate("r6", "c", NOW + 90 * HOUR),  # whose window is not over
        slate("r7", "d", NOW, canary="v9"),
        slate("r8", "e", NOW, canary=None),
        END,
        act("e1", "r1", "dismiss", NOW + 1),
        act("e2", "r1", "dismiss", NOW + 2),  # the same item again
        act("e3", "r2", "click", NOW + 21 * HOUR, "i1"),
        act("e4", "r2", "click", NOW + 25 * HOUR, "i0"),  # too late
        act("e5", "r4", "dismiss", NOW + 2 * HOUR, "x"),  # not shown
        act("e6", "r4", "buy", NOW),  # before it was shown
        act("e7", "r3", "dismiss", NOW + 25 * HOUR),
        act("e8", "r5", "click", NOW + 3 * HOUR),
    ]
    found = Trial(identity("v2"), 1.0)
    rng = np.random.default_rng(0)
    for _ in range(2):  # late, twice, in any order
        found.read(told[n] for n in rng.permutation(len(told)))
    for units, value in ((found.rewards(), [0.5, 0.0]), (found.dismissals(), [0.25, 0.0])):
        assert units.canary_N.tolist() == [True, False]
        assert units.share_N.tolist() == [0.2, 0.2]
        assert units.value_N.tolist() == value
    assert newest(told) == ("v2", identity("v2"))
    assert newest(told, "v9") == ("v9", identity("v9"))
    assert newest([END]) is newest(told, "v5") is None


def test_a_canary_is_known_by_its_bundle_whatever_it_is_called():
    new = {"canary_identity": identity("new")}
    told = [
        slate("r1", "a", NOW, "new") | new,
        slate("r2", "b", NOW) | new | {"canary": "candidate-1"},
        slate("r3", "c", NOW, "v2"),  # another bundle of that name
        slate("r4", "d", NOW),
        END,
    ]
    for tried in ("new", "v2"):
        found = Trial(identity(tried), 1.0)
        found.read(told)
        assert found.rewards().canary_N.tolist() == [True, False]


def counted(trial):
    return dict(zip(["shown", "dismissed"], [len(trial.dismissals().value_N),
                    float(trial.dismissals().value_N.sum())], strict=True))  # fmt: skip


def test_whoever_was_erased_is_no_unit_and_what_is_forgotten_does_not_count():
    told = [
        slate("r1", "a", NOW, "v2"),
        slate("r2", "b", NOW + 1),
        slate("r3", "erased-0", NOW + 2, "v2"),  # under the pseudonym already
        END,
        act("e1", "r1", "dismiss", NOW + 1),
        act("e2", "r2", "dismiss", NOW + 2),
        act("e3", "r3", "dismiss", NOW + 3),
    ]
    found = Trial(identity("v2"), 1.0)
    found.read(told)
    assert counted(found) == {"shown": 2, "dismissed": 1.0}
    found.read([forget_record(["e2"]), act("e2", "r2", "dismiss", NOW + 2)])
    assert counted(found) == {"shown": 2, "dismissed": 0.5}
    found.leave_out(lambda user, moment: user == "b" and moment == NOW + 1)
    assert counted(found) == {"shown": 1, "dismissed": 0.5}
    found.read([slate("r1", "erased-1", NOW, "v2")])  # read again from the sealed hour
    assert counted(found) == {"shown": 0, "dismissed": 0.0}


def test_of_two_events_of_one_id_the_earlier_counts():
    found = Trial(identity("v2"), 1.0)
    found.read([slate("r1", "a", NOW, "v2"), END])
    found.read([act("e1", "r1", "dismiss", NOW + 2, "i1"), act("e1", "r1", "click", NOW + 1)])
    assert counted(found)["dismissed"] == 0.0


def test_a_degraded_answer_counts_for_its_arm():
    found = Trial(identity("v2"), 1.0)
    found.read([slate("r1", "a", NOW, "v2/greedy"), slate("r2", "b", NOW, "v1/greedy"), END])
    assert found.rewards().canary_N.tolist() == [True, False]


def drawn(rng, count, share, champion, canary):
    is_canary = rng.random(count) < share
    value = (rng.random(count) < np.where(is_canary, canary, champion)).astype(float)
    return Units(is_canary, np.full(count, share), value)


def test_scores_are_on_average_the_difference_of_the_arms_and_bounds_hold_it():
    rng = np.random.default_rng(1)
    units = drawn(rng, 200_000, 0.2, 0.1, 0.25)
    wager = units.wager()
    assert wager.score_N.mean() == pytest.approx(0.15, abs=0.01)
    assert np.abs(wager.score_N).max() <= wager.floor == pytest.approx(5.0)
    found = difference(units.until(20_000), 0.05)
    assert found.lower < 0.15 < found.upper
    assert found.lower > 0.1
    assert (found.champion, found.canary) == pytest.approx((0.1, 0.25), abs=0.02)


def test_over_all_ways_to_draw_the_arms_the_mean_score_is_the_difference():
    champion_N, canary_N, share = np.array([0.1, 0.9, 0.4]), np.array([0.8, 0.2, 1.0]), 0.3
    mean = 0.0
    for arms in product([False, True], repeat=3):
        arm_N = np.array(arms)
        units = Units(arm_N, np.full(3, share), np.where(arm_N, canary_N, champion_N))
        chance = np.where(arm_N, share, 1 - share).prod()
        mean += chance * units.wager().score_N.mean()
    assert mean == pytest.approx((canary_N - champion_N).mean())


def test_of_200_canaries_like_the_champion_no_more_than_alpha_end_at_any_look():
    ended = 0
    for seed in range(200):
        units = drawn(np.random.default_rng(seed), 2000, 0.1, 0.2, 0.2)
        looks = range(50, 2001, 50)
        ended += any(exceeds(units.until(n), 0.0, 0.05) for n in looks)
    assert ended <= 200 * 0.05


def test_a_planted_bad_canary_ends():
    units = drawn(np.random.default_rng(5), 3000, 0.1, 0.05, 0.4)
    assert exceeds(units, 0.01, 0.05)
    assert not exceeds(units, 0.5, 0.05)
    assert not exceeds(units.until(0), 0.0, 0.05)
