"""Softmax over what a batch holds, corrected for how likely each item was to be in it.

Legend: N targets, M extra items, C columns (distinct items of a batch), U users of a batch, V items
with padding first, W warm items, D width.  Yi et al. 2019, "Sampling-Bias-Corrected Neural
Modeling", equations 3 to 5; uniform negatives mixed in: Yang et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Ints

BATCH = 1024
"""Targets in a step, of all users: the more, the more negatives."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The targets of a batch, and the items they compete with beside each other."""

    target_N: Tensor
    user_N: Tensor
    """Who chose; any numbers."""
    extra_M: Tensor
    """Further negatives."""


def in_batch_softmax(
    state_ND: Tensor, item_VD: Tensor, chosen: Chosen, log_q_V: Tensor, temperature: float
) -> Tensor:
    """Mean loss of each target against the batch's others and some extra items.

    Equal items share a column and count as often as they occur.  What the same user also chose in
    this batch is no negative.

    Parameters
    ----------
    state_ND, item_VD
        Unit vectors.
    chosen
        One target for each state.
    log_q_V
        Log of the chance to be a column; zeros correct nothing.
    temperature
        Divides the cosines.
    """
    column_C, place, count_C = torch.unique(
        torch.cat([chosen.target_N, chosen.extra_M]), return_inverse=True, return_counts=True
    )
    place_N = place[: len(chosen.target_N)]
    _, row_N = torch.unique(chosen.user_N, return_inverse=True)
    size = (int(row_N.max()) + 1, len(column_C))
    chosen_UC = torch.zeros(size, dtype=torch.bool, device=row_N.device)
    chosen_UC[row_N, place_N] = True
    logit_NC = state_ND @ item_VD[column_C].T / temperature - log_q_V[column_C]
    own_N1 = logit_NC.gather(1, place_N[:, None])
    logit_NC = (logit_NC + count_C.log()).masked_fill(chosen_UC[row_N], -torch.inf)
    return functional.cross_entropy(logit_NC.scatter(1, place_N[:, None], own_N1), place_N)


def log_chance(target_N: Ints, warm_W: Ints, items: int, extra: int) -> Tensor:
    """Return log Q: the chance of a column to be each item, targets and extra items mixed."""
    count_V = np.bincount(target_N, minlength=items) / len(target_N) * BATCH
    count_V[warm_W] += extra / len(warm_W)
    chance_V = np.maximum(count_V / (BATCH + extra), 1e-12)
    return torch.from_numpy(np.log(chance_V).astype(np.float32))
