"""How several sources share the places of one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tessera.contracts.arrays import Ints

_LEFT_OVER = 1e-9
"""Share of a source that fills what others leave: it comes last."""


def places(shares: Mapping[str, float], most: int) -> dict[str, int]:
    """Deal out places by shares; what is left of whole places goes to the largest remainders.

    >>> places({"dense": 0.5, "walk": 0.3, "segment": 0.2}, 11)
    {'dense': 6, 'walk': 3, 'segment': 2}
    """
    total = sum(shares.values())
    exact = {name: share * most / total for name, share in shares.items()}
    dealt = {name: int(one) for name, one in exact.items()}
    left = most - sum(dealt.values())
    for name in sorted(exact, key=lambda name: dealt[name] - exact[name])[:left]:
        dealt[name] += 1
    return dealt


def in_turn(source_F: Sequence[str], shares: Mapping[str, float]) -> Ints:
    """Order what several sources found: each in turn, the oftener the larger its share.

    Returns the place in `source_F` of what comes first, second, ...

    >>> in_turn(["a", "a", "a", "b"], {"a": 0.75, "b": 0.25})
    array([0, 1, 3, 2])
    """
    nth: dict[str, int] = {}
    turn_F = []
    for name in source_F:
        nth[name] = nth.get(name, 0) + 1
        turn_F.append((nth[name] - 0.5) / shares.get(name, _LEFT_OVER))
    return np.argsort(turn_F, kind="stable")
