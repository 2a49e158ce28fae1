"""Which reference days were answered as a day was: only they say what its policy usually does.

A publication changes scores, propensities and what is listed, and is no fault.  Two days are alike
if the same versions answered about the same share of their slates; what nothing was drawn for was
answered by another policy, though by the same bundle.  Degraded slates say nothing of it, nor do
those of a policy that nobody here knows: else a fault makes its day unlike, and hides itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tessera.contracts.tables import UNEXPLORED
from tessera.stages.daily.levels import Levels

_APART = 0.1
"""Share of the slates that may be of other versions."""

Mix = Mapping[str, float]
"""Share of a day's slates by the version that answered."""


@dataclass(frozen=True, slots=True)
class Alike:
    """The reference days that were answered as the day was."""

    days: Sequence[Levels]
    enough: bool
    """There are so many of them that distributions were compared with them alone."""


def mix(slates: pd.DataFrame) -> dict[str, float]:
    """Return which share of the slates each version answered.

    Degraded slates and those of a policy that nobody here knows are left out; if none is left, all
    count as if they had been drawn.

    >>> rows = {"policy": ["v1", "v2", "v2", "v2", "v1"], "greedy": [False] * 3 + [True] * 2}
    >>> rows["unknown_policy"] = [False] * 5
    >>> mix(pd.DataFrame(rows | {"degraded": [False] * 4 + [True]}))
    {'v1': 0.25, 'v2': 0.5, 'v2/greedy': 0.25}
    """
    whole = slates[~(slates["degraded"] | slates["unknown_policy"])]
    if whole.empty:
        return _shares(slates["policy"])
    undrawn = whole["policy"].astype(str) + UNEXPLORED
    return _shares(whole["policy"].where(~whole["greedy"], undrawn))


def _shares(names: pd.Series) -> dict[str, float]:
    shares = names.value_counts(normalize=True).sort_index()
    return {str(name): float(share) for name, share in shares.items()}


def are_alike(one: Mix, other: Mix) -> bool:
    """Tell whether all but a tenth of the slates were answered by the same versions.

    >>> are_alike({"v1": 1.0}, {"v1": 0.95, "v2": 0.05})
    True
    >>> are_alike({"v1": 1.0}, {"v2": 1.0})
    False
    """
    names = one.keys() | other.keys()
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in names) / 2 <= _APART


def same_bundles(one: Mix, other: Mix) -> bool:
    """Tell whether the same bundles answered, drawn or not: to stop exploration publishes none.

    >>> same_bundles({"v1": 1.0}, {"v1/greedy": 1.0})
    True
    >>> same_bundles({"v1": 1.0}, {"v2": 1.0})
    False
    """
    return are_alike(_bundles(one), _bundles(other))


def _bundles(versions: Mix) -> Mix:
    found: dict[str, float] = {}
    for name, share in versions.items():
        bundle = name.removesuffix(UNEXPLORED)
        found[bundle] = found.get(bundle, 0.0) + share
    return found
