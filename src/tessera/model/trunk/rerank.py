"""Recommend where showing changes something: ranking scores moved by the effect of being shown.

Effects of requests after the cut come from what was learnt before it (stage `uplift`), so that
moved scores know nothing of outcomes.  What is moved here is what is judged of the candidate.  A
bundle carries no effects, so a guardrail of the gate holds such a model back; one that a person
published all the same serves unmoved, and is judged so.

Legend: R requests, C candidates of all requests one after the other, X effects.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadParams
from tessera.model.sequences.effects import NO_EFFECTS


def reranked(score_C: Float32s, effect_C: Float32s | None, weight: float) -> Float32s:
    """Return score + weight * effect; the scores themselves if the weight is 0.

    Raises
    ------
    BadParams
        If there is a weight and no effect of any request after the cut.

    >>> reranked(np.array([1.0, 2.0]), np.array([3.0, 0.0]), 0.5)
    array([2.5, 2. ], dtype=float32)
    """
    if weight == 0.0 or not len(score_C):
        return score_C
    if effect_C is None:
        raise BadParams(NO_EFFECTS)
    return (score_C + weight * effect_C).astype(np.float32)
