"""From which effect on a series alarms, and how sure that has to be.

What is tested is never "nothing changed", which is false of every day if only enough is shown, but
"no more than the limit changed".  How sure one is follows from how the reference days differ among
themselves, which no number of positions makes smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from tessera.contracts.series import ALL, FEWEST, Point, Side
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.spec import Rule, Served
from tessera.stages.daily.units import Level
from tessera.stages.daily.versions import Alike

EXACT = "exact"
_FAR, _MAD = 5.0, 1.4826
"""Deviations by which a reference day is odd; what a median distance is of one, if normal."""
_LEVEL = 0.95
"""Of the test whether days differ more than chance."""


@dataclass(frozen=True, slots=True)
class Test:
    """What a value was held against."""

    threshold: float
    side: Side
    p_value: float


def points(
    now: Levels, before: Sequence[Levels], spec: Served, alike: Alike | None = None
) -> list[Point]:
    """Judge each series of each slice that has a rule, and hide what is of too few.

    Parameters
    ----------
    now : Levels
        Of the day.
    before : sequence of Levels
        Of each reference day.
    spec : Served
        Rules, and the share of false alarms.
    alike : Alike, optional
        The reference days that the same versions answered; all, if left out.
    """
    alike = alike or Alike(before, enough=True)
    few, judged = of_too_few(now), []
    for key, level in sorted(now.items()):
        bare = Point(*key, None, rows=level.rows, investors=level.investors, hidden=True)
        judged.append(bare if key in few else _point(key, bare, level, before, spec, alike))
    return _alarmed(judged, spec)


def of_too_few(now: Levels) -> set[tuple[str, str]]:
    """Return what would tell of fewer than ten investors.

    By itself, or as what is left of everybody when the slices beside it are taken off: then the
    smallest of those is hidden too.
    """
    found = {key for key, level in now.items() if level.investors < FEWEST}
    beside: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for (series, of), level in now.items():
        if of != ALL and (series, ALL) in now:
            beside.setdefault((series, of.partition("=")[0]), []).append((level.investors, of))
    for (series, _), parts in beside.items():
        left = max(now[series, ALL].investors - sum(size for size, _ in parts), 0)
        for size, of in sorted(parts):
            if size >= FEWEST and not 0 < left < FEWEST:
                break
            left += size
            found.add((series, of))
    return found


def _point(
    key: tuple[str, str],
    bare: Point,
    level: Level,
    before: Sequence[Levels],
    spec: Served,
    alike: Alike,
) -> Point:
    series, of = key
    shown = replace(bare, value=level.value, low=level.low, high=level.high, hidden=False)
    rule = rule_of(series, spec.series)
    if rule is None or (of != ALL and rule.slices == "all"):
        return shown
    past = _of(key, before)
    if rule.across != "same" and not of.startswith("policy="):  # which is of one version by itself
        own = _of(key, alike.days)
        is_enough = alike.enough if rule.kind == "bound" else len(own) >= spec.least_days
        if is_enough:
            past = own
        elif rule.across == "never":
            return shown
        else:
            rule = _across(rule)
    test = held_against(level, past, rule, spec.least_days)
    if test is None:
        return shown
    return replace(shown, threshold=test.threshold, side=test.side, p_value=test.p_value)


def _across(rule: Rule) -> Rule:
    """Return how a value is judged beside days of other versions, on one side."""
    limit = rule.limit if rule.across_limit is None else rule.across_limit
    return rule.model_copy(update={"side": rule.across, "limit": limit})


def _of(key: tuple[str, str], days: Sequence[Levels]) -> list[Level]:
    return [one[key] for one in days if key in one and one[key].investors >= FEWEST]


def rule_of(series: str, rules: Mapping[str, Rule]) -> Rule | None:
    """Return the rule of a series, or of its family (`psi.*`)."""
    key = key_of(series, rules)
    return rules[key] if key else None


def key_of(series: str, rules: Mapping[str, Rule]) -> str | None:
    """Return under which name the specification judges a series: its own, or the nearest family.

    >>> rule = Rule(kind="bound", limit=0.1, side="above")
    >>> key_of("psi.items.category", {"psi.*": rule, "psi.prediction.*": rule})
    'psi.*'
    """
    parts = series.split(".")
    families = (".".join([*parts[:many], "*"]) for many in range(len(parts) - 1, 0, -1))
    return next((one for one in (series, *families) if one in rules), None)


def held_against(level: Level, past: Sequence[Level], rule: Rule, least_days: int) -> Test | None:
    """Hold a level against its rule; None if there is too little to compare it with."""
    if rule.kind in ("bound", EXACT):
        side: Side = "below" if rule.side == "below" else "above"
        beyond = level.value - rule.limit if side == "above" else rule.limit - level.value
        stderr = 0.0 if rule.kind == EXACT else level.stderr or 0.0
        return Test(rule.limit, side, _chance(beyond, stderr, None))
    if len(past) < least_days:
        return None
    past = _usual(past, least_days)
    value_D = np.array([one.value for one in past])
    mean = float(value_D.mean())
    allowed = rule.limit * abs(mean) if rule.kind == "relative" else rule.limit
    gap = level.value - mean
    side = rule.side if rule.side != "both" else ("above" if gap >= 0 else "below")
    beyond = (gap if side == "above" else -gap) - allowed
    apart, freedom = _apart(value_D, past)
    stderr = max(apart, level.stderr or 0.0) * float(np.sqrt(1 + 1 / len(past)))
    chance = _chance(beyond, stderr, freedom)
    if rule.side == "both":
        chance = min(2 * chance, 1.0)
    return Test(mean + allowed if side == "above" else mean - allowed, side, chance)


def _usual(past: Sequence[Level], least_days: int) -> Sequence[Level]:
    """Leave out the days that lie far from most: a fault among them would hide itself from then on.

    Far is meant beside how far days usually lie from their median, which a few odd ones among them
    do not move, and beside what those who came tell.  Once most days are odd, they are the usual.
    """
    value_D = np.array([one.value for one in past])
    away_D = np.abs(value_D - np.median(value_D))
    chance = [one.stderr for one in past if one.stderr is not None]
    by_chance = float(np.sqrt(np.mean(np.square(chance)))) if chance else 0.0
    usual_D = away_D <= _FAR * max(_MAD * float(np.median(away_D)), by_chance)
    kept = [one for one, is_usual in zip(past, usual_D.tolist(), strict=True) if is_usual]
    return kept if len(kept) >= least_days else past


def _apart(
    value_D: np.typing.NDArray[np.float64], past: Sequence[Level]
) -> tuple[float, int | None]:
    """Return how far days lie apart, and by how many degrees of freedom that is known.

    Days that differ no more than those who came make them differ tell nothing beyond it: then it is
    known from all investors, which None says.
    """
    apart, freedom = float(value_D.std(ddof=1)), len(value_D) - 1
    if any(one.stderr is None for one in past):
        return apart, freedom
    by_chance = float(np.sqrt(np.mean([np.square(one.stderr or 0.0) for one in past])))
    most = float(np.sqrt(stats.chi2.ppf(_LEVEL, freedom) / freedom))
    return (max(apart, by_chance), None) if apart <= by_chance * most else (apart, freedom)


def _chance(beyond: float, stderr: float, freedom: int | None) -> float:
    """Return how likely one lies so far beyond a limit by chance; what is no number lies beyond."""
    if stderr <= 0 or np.isnan(beyond):
        return 1.0 if beyond <= 0 else 0.0
    far = beyond / stderr
    return float(stats.norm.sf(far) if freedom is None else stats.t.sf(far, freedom))


def _alarmed(judged: Sequence[Point], spec: Served) -> list[Point]:
    """Let the tests of a day share the chance of a false alarm.

    What has an exact limit is no test: it alarms by itself and takes nobody's share.
    """
    exact = {
        place
        for place, one in enumerate(judged)
        if (rule := rule_of(one.series, spec.series)) is not None and rule.kind == EXACT
    }
    tested = [
        place for place, one in enumerate(judged) if one.p_value is not None and place not in exact
    ]
    chance_T = np.array([judged[place].p_value for place in tested], np.float64)
    surely = {place for place, is_found in zip(tested, found(chance_T, spec.false_discoveries),
                                              strict=True) if is_found}  # fmt: skip
    surely |= {place for place in exact if judged[place].p_value == 0.0}
    return [
        replace(one, alarm=True) if place in surely else one for place, one in enumerate(judged)
    ]


def found(chance_T: np.typing.NDArray[np.float64], share: float) -> list[bool]:
    """Tell which of some tests are discoveries, as Benjamini and Hochberg have it.

    >>> found(np.array([0.001, 0.5, 0.011, 0.9]), 0.05)
    [True, False, True, False]
    >>> found(np.array([0.03, 0.5]), 0.05)
    [False, False]
    """
    count = len(chance_T)
    order = np.argsort(chance_T, kind="stable")
    passes = chance_T[order] <= share * np.arange(1, count + 1) / max(count, 1)
    last = int(np.flatnonzero(passes).max(initial=-1))
    held = set(order[: last + 1].tolist())
    return [place in held for place in range(count)]
