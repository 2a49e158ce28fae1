"""How often a causal sentence is true: what is promised of it beside what is planted.

Right is an effect that is planted with the sign that is told. What a cause does by way of a third
item (a chain of two planted effects) is no error of the sentence, yet counts as wrong here; it is
counted apart.

Legend: N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.causal_mixture import shrink
from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.tables import MOST_FALSE_SIGNS
from tessera.stages.causal.effects import Effects

Planted = Mapping[tuple[str, str], tuple[float, float]]
_BINS = (0.0, 0.01, MOST_FALSE_SIGNS, 0.2, 0.5)


def words(found: Effects, strength_N: Float64s, chain_N: Bools) -> dict[str, dict[str, float]]:
    """Count the sentences that raise the chance, as told before and as told now."""
    mean_N, deviation_N = shrink(found.raw_N, found.raw_stderr_N)
    told = {f"z > {z}, one direction": mean_N > z * deviation_N for z in (1, 2, 3)}
    told["false sign rate"] = (found.effect_N > 0) & (found.false_sign_N <= MOST_FALSE_SIGNS)
    return {
        name: {
            "told": int(said_N.sum()),
            "right": int((strength_N[said_N] > 0).sum()),
            "chains": int((chain_N & said_N & (strength_N <= 0)).sum()),
        }
        for name, said_N in told.items()
    }


def calibration(found: Effects, strength_N: Float64s) -> dict[str, dict[str, float]]:
    """Count, by false sign rate, the signs that are promised to be right and that are."""
    right_N = np.sign(strength_N) == np.sign(found.effect_N)
    rows = {}
    for low, high in pairwise(_BINS):
        of = (found.false_sign_N > low) & (found.false_sign_N <= high)
        if low == 0.0:
            of = found.false_sign_N <= high
        rows[f"{low:g} to {high:g}"] = {
            "pairs": int(of.sum()),
            "promised": float((1.0 - found.false_sign_N[of]).sum()),
            "right": int((right_N & of).sum()),
        }
    return rows


def chains(planted: Planted, cause_N: NDArray[np.object_], effect_N: NDArray[np.object_]) -> Bools:
    """Tell the pairs that are joined by two planted effects, both positive, over a third item."""
    next_of: dict[str, set[str]] = {}
    for (cause, effect), (strength, _) in planted.items():
        if strength > 0:
            next_of.setdefault(cause, set()).add(effect)
    return np.array(
        [
            any(effect in next_of.get(middle, ()) for middle in next_of.get(cause, ()))
            for cause, effect in zip(cause_N, effect_N, strict=True)
        ],
        dtype=np.bool_,
    )
