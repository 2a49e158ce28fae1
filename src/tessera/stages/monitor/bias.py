"""How much the recommendations lean on what was popular already, beside the interactions.

Shapes: I items, N investors, K positions, R interactions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.shared.metrics.diversity import coverage, gini, times_shown
from tessera.shared.metrics.popularity import average_popularity, long_tail, top_share
from tessera.stages.monitor.spec import Bias, Bound, Watch

SAYS: dict[Bias, tuple[str, str]] = {
    "average_popularity": (
        "average popularity",
        "share of investors who hold the item, averaged over what is listed; high: the lists "
        "repeat what many hold anyway",
    ),
    "top_share": (
        "share of the top",
        "how much of the lists the {head:g} % most popular items take",
    ),
    "tail_share": (
        "share of the long tail",
        "how much of the lists goes to items outside the head that made {tail:.0%} of the "
        "interactions; low: niche items are never recommended",
    ),
    "gini": (
        "Gini index",
        "0: every item appears equally often; 1: a single item takes every place",
    ),
    "coverage": (
        "coverage",
        "share of the catalogue that appears in at least one list",
    ),
}
"""Name and meaning of each figure."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of popularity bias."""

    name: Bias
    title: str
    says: str
    interactions: float
    lists: float
    limit: str
    """What it is held against, in words."""
    limit_at: float | None
    """Value from which on it alarms, the first if there are several."""
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
    for name, (title, says) in SAYS.items():
        bound = watch.popularity_bias.get(name, Bound())
        alarm = bool((top_NK >= 0).any()) and _breaks(bound, now[name], before[name])
        meaning = says.format(head=watch.head_percent, tail=watch.tail_head_share)
        limit, limit_at = _limit(bound, before[name])
        found.append(Figure(name, title, meaning, before[name], now[name], limit, limit_at, alarm))
    return found


def _breaks(bound: Bound, value: float, before: float) -> bool:
    return (
        (bound.above is not None and value > bound.above)
        or (bound.below is not None and value < bound.below)
        or (bound.amplified is not None and value > bound.amplified * before)
    )


def _limit(bound: Bound, before: float) -> tuple[str, float | None]:
    """Say what is allowed, and give the first bound as a number."""
    said: list[tuple[str, float]] = []
    if bound.above is not None:
        said.append((f"at most {bound.above:g}", bound.above))
    if bound.below is not None:
        said.append((f"at least {bound.below:g}", bound.below))
    if bound.amplified is not None:
        most = bound.amplified * before
        said.append((f"at most {most:.3f}, {bound.amplified:g} times the interactions", most))
    return ", ".join(text for text, _ in said), said[0][1] if said else None
