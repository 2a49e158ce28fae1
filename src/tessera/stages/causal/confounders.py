"""What drives both holding one item and acquiring another: who the investor is, what else is held.

Beside risk, capacity, activity and tenure stand taste components: loadings of everything held on
the main directions of all holdings, and the number of items held. The cause itself must not
explain that it is held, so `robust` takes its own share, `loading_ID`, out of them again.

Legend: R rows (an investor in a trial), U investors, I items, D confounders, K taste components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from tessera.contracts.arrays import Float64s
from tessera.stages.causal.panel import Trial


@dataclass(frozen=True, slots=True)
class Rows:
    """Everybody under observation in every trial."""

    held_RI: sparse.csr_array
    gained_RI: sparse.csr_array
    trait_RD: Float64s
    """Confounders as known at the start of the trial, of mean square 1.

    Leanings are of the holdings at that start; their directions are those of all trials together.
    """
    loading_ID: Float64s
    """What holding each item adds to them."""
    fold_R: NDArray[np.int64]
    """Part of the investor, the same in every trial."""

    def chance(self) -> Float64s:
        """Chance to acquire each item in a trial for those who do not hold it yet."""
        free_I = self.held_RI.shape[0] - self.held_RI.sum(axis=0)
        chance_I: Float64s = self.gained_RI.sum(axis=0) / np.maximum(free_I, 1)
        return chance_I


def stack(trials: Iterable[Trial], taste_components: int, folds: int) -> Rows:
    """Lay the trials below each other; each has its own intercept, so popularity may change."""
    found = list(trials)
    seen = [np.flatnonzero(trial.observed_U) for trial in found]
    held_RI = sparse.vstack([t.held_UI[u] for t, u in zip(found, seen, strict=True)], "csr")
    gained_RI = sparse.vstack([t.gained_UI[u] for t, u in zip(found, seen, strict=True)], "csr")
    known_RD = np.concatenate([t.trait_UD[u] for t, u in zip(found, seen, strict=True)])
    trial_R = np.repeat(np.arange(len(found)), [len(u) for u in seen])
    fixed_RD = np.concatenate([np.eye(len(found))[trial_R], known_RD], axis=1)
    lean_IK = np.concatenate(
        [np.ones((held_RI.shape[1], 1)), _taste_components(held_RI, taste_components)], axis=1
    )
    trait_RD = np.concatenate([fixed_RD, held_RI @ lean_IK], axis=1)
    loading_ID = np.concatenate([np.zeros((len(lean_IK), fixed_RD.shape[1])), lean_IK], axis=1)
    scale_D = np.sqrt(np.mean(np.square(trait_RD), axis=0))
    scale_D = np.where(scale_D > 0, scale_D, 1.0)
    return Rows(
        held_RI, gained_RI, trait_RD / scale_D, loading_ID / scale_D, np.concatenate(seen) % folds
    )


def _taste_components(held_RI: sparse.csr_array, wanted: int) -> Float64s:
    """Find the main directions of the holdings, popular items held down."""
    scale_I = 1.0 / np.sqrt(held_RI.sum(axis=0) + 1.0)
    size = min(wanted, min(held_RI.shape) - 1)
    if size < 1 or held_RI.nnz == 0:
        return np.zeros((held_RI.shape[1], 0))
    scaled_RI = held_RI @ sparse.diags_array(scale_I)
    # A fixed start makes the search, and so the last bits, repeatable.
    direction_KI = svds(scaled_RI, k=size, v0=np.ones(min(held_RI.shape)))[2]
    loading_IK: Float64s = scale_I[:, None] * direction_KI.T
    return loading_IK
