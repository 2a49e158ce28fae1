"""Measure one day beside the days before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.contracts.series import ALL, FEWEST, Mover, Point
from tessera.stages.daily import samples
from tessera.stages.daily.drift import psi, wasserstein
from tessera.stages.daily.frames import Frames
from tessera.stages.daily.levels import Levels, calibrated, happened, priced, shown
from tessera.stages.daily.requests import asked
from tessera.stages.daily.samples import Column
from tessera.stages.daily.spec import Served
from tessera.stages.daily.told_apart import auc
from tessera.stages.daily.units import Level
from tessera.stages.daily.verdicts import points, rule_of
from tessera.stages.daily.versions import Alike, are_alike, mix, same_bundles

_MOVERS = 10
_TOLD_APART = "c2st.auc"


@dataclass(frozen=True, slots=True)
class Summary:
    """What later days need of a day."""

    shown: Levels
    """What was shown and what happened on it."""
    answered: Levels
    """What came of its slates; nothing as long as that is not known."""
    kinds: Mapping[str, Column]
    numbers: Mapping[str, Column]
    """Columns whose distributions are compared, of some of its investors."""
    people: tuple[list[str], Float64s]
    """Features of those investors."""
    shares: dict[str, float]
    """Of each item in what was shown."""
    slates: int
    investors: int
    versions: dict[str, float]
    """Share of its slates by the version that answered."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is written of a day."""

    points: list[Point]
    movers: list[Mover]
    missing: tuple[str, ...] = ()
    """Judged series that every reference day has and the day has not."""
    new_for: int | None = None
    """Days of slates, the last whose outcomes are told included, that the versions have answered,
    where they are so new that what came of those is compared with days of others."""


def summarize(day: Frames, spec: Served) -> Summary:
    """Measure a day by itself, without what came of its slates."""
    found = shown(day) | happened(day, spec.acquired) | calibrated(day) | priced(day) | asked(day)
    sample = samples.drawn(day, spec.sample_investors)
    return Summary(
        found,
        {},
        samples.categories(sample),
        samples.numbers(sample),
        samples.investors(sample),
        _shares(day),
        len(day.slates),
        int(day.slates["user"].nunique()),
        mix(day.slates),
    )


def measure(
    now: Summary, before: Sequence[Summary], spec: Served, more: Levels | None = None
) -> Measured:
    """Judge a day.

    Parameters
    ----------
    now : Summary
        The day.
    before : sequence of Summary
        The days before it, the day before the last; those on which nothing was shown too.
    spec : Served
        Windows and rules.
    more : Levels, optional
        What somebody else measured of the day.
    """
    told = before[-spec.outcome_days] if len(before) >= spec.outcome_days else None
    past = _filled(before[: len(before) - spec.gap_days])
    earlier = _filled(before[: max(len(before) - spec.gap_days - spec.outcome_days, 0)])
    own, own_earlier = alike(now, past), alike(told, earlier) if told else []
    enough = len(own) >= spec.least_days
    moved = drift(now, past, own if enough else past, spec)
    levels = now.shown | moved | (more or {}) | (told.answered if told else {})
    reference = [*(one.shown for one in past), *(one.answered for one in earlier)]
    same = [*(one.shown for one in own), *(one.answered for one in own_earlier)]
    found = points(levels, reference, spec, Alike(same, enough))
    gone = (
        _missing(levels, past, earlier, spec) if now.slates and len(past) >= spec.least_days else ()
    )
    answered = _filled(before[: len(before) - spec.outcome_days])
    new_for = _new_for(told, answered, earlier, spec) if told else None
    return Measured(found, _movers(now, past), tuple(gone), new_for)


def alike(now: Summary, before: Sequence[Summary]) -> list[Summary]:
    """Return the days before that were answered by the versions that answered the day."""
    return [one for one in before if are_alike(now.versions, one.versions)]


def _new_for(
    told: Summary, before: Sequence[Summary], earlier: Sequence[Summary], spec: Served
) -> int | None:
    """Count the days with slates in a row, up to the one told of, that its bundles answered.

    None where they are known: enough of the days that it is compared with are theirs, drawn or not.
    """

    def is_own(one: Summary) -> bool:
        return same_bundles(told.versions, one.versions)

    if sum(map(is_own, earlier)) >= spec.least_days or len(earlier) < spec.least_days:
        return None
    return 1 + sum(1 for _ in takewhile(is_own, reversed(before)))


def _missing(
    levels: Levels, past: Sequence[Summary], earlier: Sequence[Summary], spec: Served
) -> list[str]:
    """Name what cannot alarm today, though nothing says that it is well."""
    days = [
        {*_of_all(one.shown), *(name for name, rows in (*one.kinds.items(), *one.numbers.items())
                                if len(rows.value_M))}
        for one in past
    ]  # fmt: skip
    rates = [_of_all(one.answered) for one in earlier]
    known = set.intersection(*days) | (set.intersection(*rates) if rates else set())
    return sorted(one for one in known - _of_all(levels) if rule_of(one, spec.series))


def _of_all(levels: Levels) -> set[str]:
    return {series for series, of in levels if of == ALL}


def _filled(days: Sequence[Summary]) -> list[Summary]:
    return [one for one in days if one.slates]


def drift(now: Summary, before: Sequence[Summary], own: Sequence[Summary], spec: Served) -> Levels:
    """Compare the distributions of a day with those of the days before.

    What a version decides by itself is compared with `own`, see `across`.
    """
    if len(before) < spec.least_days or not now.slates:
        return {}

    def reference(series: str) -> Sequence[Summary]:
        rule = rule_of(series, spec.series)
        return before if rule is None or rule.across == "same" else own

    found: dict[str, Level | None] = {}
    for series, column in now.kinds.items():
        found[series] = psi(column, [one.kinds[series] for one in reference(series)])
    for series, column in now.numbers.items():
        found[series] = wasserstein(column, [one.numbers[series] for one in reference(series)])
    found[_TOLD_APART] = auc(now.people, [one.people for one in reference(_TOLD_APART)])
    return {(series, ALL): level for series, level in found.items() if level is not None}


def _movers(now: Summary, before: Sequence[Summary]) -> list[Mover]:
    """Return the items whose share of what was shown moved most; none of too few investors."""
    if not before or now.investors < FEWEST:
        return []
    share, past = now.shares, [one.shares for one in before]
    every = sorted(share.keys() | {item for one in past for item in one})
    moved = [
        Mover(item, float(np.mean([one.get(item, 0.0) for one in past])), share.get(item, 0.0))
        for item in every
    ]
    return sorted(moved, key=lambda one: (-abs(one.now - one.before), one.item_id))[:_MOVERS]


def _shares(day: Frames) -> dict[str, float]:
    item_R = day.positions["item"].to_numpy()
    number, count = np.unique(item_R, return_counts=True)
    total = max(len(item_R), 1)
    return {day.item_ids[one]: many / total for one, many in zip(number.tolist(), count.tolist(),
                                                                strict=True)}  # fmt: skip
