"""A publication is no fault: what a version decides is compared with days of that version."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tessera.stages.daily.day import measure, summarize
from tessera.stages.daily.outcomes import answered
from tessera.stages.daily.samples import Column
from tessera.stages.daily.spec import Rule, load_spec
from tessera.stages.daily.versions import mix
from tests.stages.daily.conftest import frames

USERS = 60
SPEC = load_spec(Path(__file__).resolve().parents[3] / "monitoring" / "served.yaml")
OURS = ("wasserstein.prediction.score", "wasserstein.prediction.propensity", "psi.items.category",
        "psi.prediction.rank", "c2st.auc", "propensity.effective_share",
        "exploration_share")  # fmt: skip
"""What a version decides by itself."""


@cache
def day(seed, *, version="v1", shift=0.0, clicks=0.3, greedy=False, segment="retail"):
    """Return a day on which everybody asks thrice; `shift` moves what the version decides.

    "v1+v9" answers a third of the slates by v9, which nobody here knows.
    """
    rng = np.random.default_rng(seed)
    version, _, unknown = version.partition("+")
    slates = [{"user": user, "policy": version, "greedy": greedy, "segment": segment,
               "score_mean": rng.normal(shift, 1), "score_top": rng.normal(shift, 1)}
              for user in range(USERS) for _ in range(3)]  # fmt: skip
    rows = [{"slate": slate, "item": int(rng.integers(4)), "place": place,
             "score": rng.normal(shift, 1),
             "propensity": float(np.exp(-1 - abs(shift) * rng.random())),
             "even": 0.25, "rank": int(rng.integers(3) if not shift else rng.integers(1)),
             "uniform": rng.random() < (0.5 if not shift else 0.05),
             "category": int(rng.integers(3) if not shift else 0),
             "clicked": rng.random() < clicks}
            for slate in range(len(slates)) for place in range(2)]  # fmt: skip
    for one in slates[: USERS if unknown else 0]:
        one.update(policy=unknown, unknown_policy=True)
    found = frames(slates, rows, users=USERS)
    return replace(summarize(found, SPEC), answered=answered(found))


def alarms(now, before):
    """Return what alarms of everybody; the last two days are no reference."""
    return {one.series for one in measure(now, before, SPEC).points
            if one.alarm and one.slice == "all"}  # fmt: skip


def judged(now, before):
    found = measure(now, before, SPEC).points
    return {one.series for one in found if one.threshold is not None and one.slice == "all"}


def old(days=10, first=0, **more):
    return [day(first + one, **more) for one in range(days)]


def new(days, **more):
    return old(days, first=50, version="v2", shift=2.0, **more)


def test_without_a_publication_the_same_change_alarms():
    assert set(OURS) <= alarms(day(99, shift=2.0), old())


@pytest.mark.parametrize("days", [0, 1, 6])
def test_a_publication_alarms_by_nothing_that_it_decides(days):
    """After six days of the new version four are reference days: one too few."""
    now = day(99, version="v2", shift=2.0)
    past = [*old(), *new(days)]
    assert not alarms(now, past) & set(OURS)
    assert not judged(now, past) & set(OURS)
    assert "psi.investors.segment" in judged(now, past)


def test_once_it_has_days_of_its_own_it_is_held_against_those_alone():
    past = [*old(), *new(7)]
    assert not alarms(day(99, version="v2", shift=2.0), past) & set(OURS)
    assert set(OURS) <= judged(day(99, version="v2", shift=2.0), past)
    assert "wasserstein.prediction.score" in alarms(day(99, version="v2", shift=0.0), past)


def test_who_comes_is_compared_with_all_days():
    now = day(99, version="v2", shift=2.0, segment="private")
    assert "psi.investors.segment" in alarms(now, old())


@pytest.mark.parametrize(("version", "alarming"), [("v1", True), ("v2", False)])
def test_more_clicks_may_be_what_was_published_for(version, alarming):
    past = [*old(), *(day(70 + one, version=version, clicks=0.6) for one in range(2))]
    assert ("click_rate" in alarms(day(99, version=version), past)) is alarming


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_fewer_clicks_alarm_whoever_answered(version):
    past = [*old(), *(day(70 + one, version=version, clicks=0.1) for one in range(2))]
    assert "click_rate" in alarms(day(99, version=version), past)


@pytest.mark.parametrize(("version", "alarming"), [("v1", False), ("v2", True)])
def test_a_publication_promised_no_loss_so_a_smaller_one_alarms(version, alarming):
    """A seventh fewer clicks, of very many investors."""

    def told(one, clicks):
        rates = {key: replace(level, value=clicks, stderr=0.002) for key, level
                 in one.answered.items() if key[0] == "click_rate"}  # fmt: skip
        return replace(one, answered={**one.answered, **rates})

    past = [told(one, 0.3 + 0.001 * (n % 2)) for n, one in enumerate(old())]
    past += [told(day(70 + n, version=version), 0.3 * 6 / 7) for n in range(2)]
    assert ("click_rate" in alarms(day(99, version=version), past)) is alarming


def test_clicks_of_yesterday_belong_to_who_answered_yesterday():
    """On the day of the publication the clicks that are told of are those of the day before."""
    past = [*old(11), day(70, clicks=0.6)]
    assert "click_rate" in alarms(day(99, version="v2", shift=2.0), past)


NOBODY = summarize(frames(), SPEC)


@pytest.mark.parametrize(
    ("days", "new_for"),
    [
        ([], None),
        (new(1), 1),
        (new(2), 2),
        ([*new(1), day(70), *new(1)], 1),
        (new(9), None),
        ([*new(2), NOBODY, *new(1)], 3),
        ([day(70, greedy=True)] * 2, None),
    ],
)
def test_it_is_told_for_how_long_a_new_version_has_answered(days, new_for):
    """Counted are days of which outcomes are told: the last one before the day is the first.

    A day without slates is nobody's, and to stop exploration is no publication: neither lets an old
    bundle be rolled back.
    """
    assert measure(day(99, version="v2", shift=2.0), [*old(), *days], SPEC).new_for == new_for


def test_of_a_service_that_is_new_itself_no_version_is():
    assert measure(day(99, version="v2"), [*old(6), *new(1)], SPEC).new_for is None


def test_what_nothing_was_drawn_for_is_of_another_policy():
    now = day(99, shift=2.0, greedy=True)
    assert not alarms(now, old()) & set(OURS)
    assert "greedy_share" in alarms(now, old()), "else a service that stopped drawing goes unseen"


@pytest.mark.parametrize(
    ("degraded", "versions"),
    [
        ([True, True, False, False], {"v1": 1.0}),
        ([True, True, True, True], {"v1": 1.0}),
        ([False, True, False, False], {"v1": 2 / 3, "v1/greedy": 1 / 3}),
    ],
)
@pytest.mark.parametrize("fault", ["degraded", "unknown_policy"])
def test_a_fault_makes_no_other_version(fault, degraded, versions):
    """Else it would be compared with no day, and hide itself."""
    greedy = [True, True, False, False]
    whole = {"policy": ["v1"] * 4, "greedy": greedy, "degraded": False, "unknown_policy": False}
    slates = pd.DataFrame(whole | {fault: degraded})
    assert mix(slates) == pytest.approx(versions)


def test_slates_that_nobody_here_published_are_compared_with_the_days_before():
    """They alarm by themselves, and by what their policy decides."""
    now = day(99, version="v1+v9", shift=2.0)
    assert {"unknown_policy_share", "wasserstein.prediction.score"} <= alarms(now, old())


def test_a_day_without_slates_was_answered_by_nobody():
    assert mix(frames().slates) == {}


def test_what_own_days_lack_is_not_compared_with_those_of_others():
    """The new version logged no scores before today."""

    def without(one):
        return replace(one, numbers=one.numbers | {score: nothing})

    score, nothing = "wasserstein.prediction.score", Column(np.zeros(0), np.zeros(0, np.int64))
    now, past = day(99, version="v2", shift=2.0), [*old(), *map(without, new(7))]
    assert score not in alarms(now, past)
    assert "wasserstein.prediction.propensity" in judged(now, past)


def test_a_tenth_of_other_slates_makes_no_other_day():
    def mixed(seed, share):
        one = day(seed)
        return replace(one, versions={"v1": 1 - share, "v2": share})

    assert "wasserstein.prediction.score" in judged(mixed(99, 0.1), old())
    assert "wasserstein.prediction.score" not in judged(mixed(99, 0.2), old())
    assert "wasserstein.prediction.score" in judged(
        mixed(99, 0.2), [mixed(one, 0.25) for one in range(10)]
    )


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "exact", "limit": 0.0, "side": "above", "across": "never"},
        {"kind": "relative", "limit": 0.1, "side": "above", "across": "below"},
        {"kind": "relative", "limit": 0.1, "across": "sometimes"},
        {"kind": "relative", "limit": 0.1, "across_limit": 0.05},
        {"kind": "relative", "limit": 0.1, "across": "below", "across_limit": -0.05},
    ],
)
def test_a_rule_across_versions_that_says_nothing_is_refused(told):
    with pytest.raises(ValidationError):
        Rule(**told)
