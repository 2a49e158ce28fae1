"""How much the recommendations lean on what was popular already, beside the interactions.

Shapes: I items, N investors, K positions, R interactions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera.metrics.diversity import coverage, gini, times_shown
from tessera.metrics.popularity import average_popularity, long_tail, top_share
from tessera.monitor.spec import Bias, Bound, Watch

Ints = NDArray[np.int64]

SAYS: dict[Bias, str] = {
    "average_popularity": "average popularity: share of investors who hold what is listed",
    "top_share": "share of the most popular items",
    "tail_share": "share of the long tail",
    "gini": "Gini index of how often each item appears",
    "coverage": "share of the catalogue that appears at all",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of popularity bias."""

    name: Bias
    says: str
    interactions: float
    lists: float
    limit: str
    """What it is held against, in words."""
    alarm: bool


def measure(top_NK: Ints, holders_I: Ints, users: int, watch: Watch) -> dict[Bias, float]:
    """Measure popularity bias of lists; interactions are lists with one column."""
    shown_I = times_shown(top_NK, len(holders_I))
    tail_I = long_tail(holders_I, head_share=watch.tail_head_share)
    return {
        "average_popularity": average_popularity(top_NK, holders_I, users),
        "top_share": top_share(top_NK, holders_I, percent=watch.head_percent),
        "tail_share": float(shown_I[tail_I].sum() / max(shown_I.sum(), 1)),
        "gini": gini(shown_I),
        "coverage": coverage(shown_I),
    }


def figures(top_NK: Ints, holders_I: Ints, users: int, watch: Watch) -> list[Figure]:
    """Compare the lists with the interactions that made the items popular, and judge them."""
    held_R1 = np.repeat(np.arange(len(holders_I)), holders_I)[:, None]
    before = measure(held_R1, holders_I, users, watch)
    now = measure(top_NK, holders_I, users, watch)
    found = []
    for name, says in SAYS.items():
        bound = watch.popularity_bias.get(name, Bound())
        alarm = bool((top_NK >= 0).any()) and _breaks(bound, now[name], before[name])
        found.append(Figure(name, says, before[name], now[name], _limit(bound), alarm))
    return found


def _breaks(bound: Bound, value: float, before: float) -> bool:
    return (
        (bound.above is not None and value > bound.above)
        or (bound.below is not None and value < bound.below)
        or (bound.amplified is not None and value > bound.amplified * before)
    )


def _limit(bound: Bound) -> str:
    said = {
        "at most {:g}": bound.above,
        "at least {:g}": bound.below,
        "at most {:g} times the interactions": bound.amplified,
    }
    return ", ".join(text.format(value) for text, value in said.items() if value is not None)
