"""RQ-FSQ: residual k-means first, then what is left is rounded (arXiv 2606.01396).

What the coarse levels leave is projected on its leading directions, squashed by tanh and rounded to
a grid, which needs no codebook (FSQ, Mentzer et al. 2023, arXiv 2309.15505).  Directions are dealt
out to the remaining levels, the strongest first; a direction gets the more steps the further it
spreads.

Legend: N items, D vector width, L levels, K codewords of a level, Q rounded directions.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.codebooks import RqFsq, rounded, steps_of
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizers import rkmeans

_SQUASH = 0.8
"""tanh(.8 x) is nearly the distribution function of a normal x: equal steps are equally full."""


def fit(vector_ND: Float64s, size: int, params: SidParams, linked_NN: sparse.csr_array) -> RqFsq:
    """Cluster the coarse levels; learn directions, scales and the mean value of each step."""
    bits = int(np.log2(size)) if size > 1 else 0
    coarse = params.model_copy(update={"levels": min(params.coarse_levels, params.levels)})
    found = rkmeans.fit(vector_ND, 2**bits, coarse, linked_NN)
    left_ND = vector_ND - found.decode(found.encode(vector_ND))
    variance_D, direction_DD = _directions(left_ND)
    words, kept = [*found.codeword_LKD], []
    free = 0
    for level in range(coarse.levels, params.levels):
        bits_Q = dealt(variance_D[free:], bits)
        own_QD = direction_DD[free : free + len(bits_Q)]
        scale_Q = _SQUASH / np.sqrt(np.maximum(variance_D[free : free + len(bits_Q)], 1e-24))
        words.append(_codewords(left_ND, own_QD, scale_Q, bits_Q, 2**bits))
        kept += [(level, b, s, d) for b, s, d in zip(bits_Q, scale_Q, own_QD, strict=True)]
        free += len(bits_Q)
    return RqFsq(
        np.stack(words),
        np.array([d for *_, d in kept]).reshape(len(kept), vector_ND.shape[1]),
        np.array([[level, b, s] for level, b, s, _ in kept], dtype=np.float64).reshape(-1, 3),
    )


def load(arrays: dict[str, Float64s]) -> RqFsq:
    """Rebuild it from its arrays."""
    return RqFsq(arrays["codeword"], arrays["direction"], arrays["grid"])


def dealt(variance_Q: Float64s, bits: int) -> list[int]:
    """Bits of each direction: the next one always to where most is left; a bit leaves a quarter.

    >>> dealt(np.array([16.0, 2.0, 1.0]), 3)  # 16 -> 4 -> 1, and then 2
    [2, 1]
    """
    left_Q, bits_Q = variance_Q.copy(), np.zeros(len(variance_Q), dtype=np.int64)
    for _ in range(bits if len(variance_Q) else 0):
        most = int(np.argmax(left_Q))
        bits_Q[most] += 1
        left_Q[most] /= 4.0
    # Directions are in the order of their variance, so those with bits come first.
    return [int(b) for b in bits_Q if b]


def _directions(left_ND: Float64s) -> tuple[Float64s, Float64s]:
    """Variance [D] and leading directions [D, D], the strongest first."""
    value_D, vector_DD = np.linalg.eigh(left_ND.T @ left_ND / len(left_ND))
    rows_DD = vector_DD.T[::-1]
    largest = np.argmax(np.abs(rows_DD), axis=1)
    sign_D = np.sign(rows_DD[np.arange(len(rows_DD)), largest])
    # Rounded as the directions of text are: the last bits depend on how many threads there are.
    return np.maximum(value_D[::-1], 0.0), np.round(rows_DD * sign_D[:, None], 6)


def _codewords(
    left_ND: Float64s, direction_QD: Float64s, scale_Q: Float64s, bits_Q: list[int], size: int
) -> Float64s:
    """Vector [K, D] of every combination of steps; each step stands for the mean of its items.

    Codewords that no combination needs, because directions ran out, are zero.
    """
    grid_Q = np.array(bits_Q, dtype=np.int64)
    along_NQ = left_ND @ direction_QD.T
    digit_NQ = rounded(along_NQ * scale_Q, grid_Q)
    word_KD = np.zeros((size, left_ND.shape[1]))
    digit_KQ = steps_of(np.arange(size), grid_Q)
    for q, bits in enumerate(bits_Q):
        count_S = np.bincount(digit_NQ[:, q], minlength=2**bits)
        total_S = np.bincount(digit_NQ[:, q], along_NQ[:, q], minlength=2**bits)
        middle_S = np.arctanh((2.0 * np.arange(2**bits) + 1.0) / 2**bits - 1.0) / scale_Q[q]
        value_S = np.where(count_S > 0, total_S / np.maximum(count_S, 1), middle_S)
        word_KD += value_S[digit_KQ[:, q], None] * direction_QD[q]
    return word_KD
