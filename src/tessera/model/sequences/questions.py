"""What is asked of every model alike, and how well lists of items answer it.

Legend: Q people who are asked, U rows of lists, N pairs, V items with padding first, K list length,
D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera.contracts.arrays import Bools, Float32s, Float64s, Ints
from tessera.contracts.errors import BadParams
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.batch import PADDING
from tessera.model.sequences.windows import Windows
from tessera.shared.metrics import ranking

VALIDATION_K = 10
_RANK_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Lists:
    """The best items of each user; -inf where fewer are left."""

    item_UK: Ints
    score_UK: Float32s


@dataclass(frozen=True, slots=True)
class Question:
    """People to rank for, what is known of each, and the items to choose from."""

    user_Q: Ints
    """In ascending order."""
    windows: Windows
    """The last of what is known of each, who asks at its request."""
    seen: tuple[Ints, Ints] | None
    """Pairs (row, item) acquired before, sorted by row, to leave out; None leaves out nothing."""
    relevant: tuple[Ints, Ints]
    """Distinct pairs (row, item) acquired in the asked period, and not left out."""
    allowed_V: Bools
    """Which items may be listed."""

    def has_answer(self) -> bool:
        """Return whether anything is relevant to anybody."""
        return len(self.relevant[0]) > 0

    def lists(self, asking_QD: Float32s, item_VD: Float32s, placed_V: Bools, top: int) -> Lists:
        """Return the items nearest to those who ask, for any model that has vectors of both.

        Parameters
        ----------
        asking_QD
            Unit vectors at the end of the windows.
        item_VD, placed_V
            Unit vectors, and which of the items have a place in the space.
        top
            Length of a list.
        """
        return top_items(asking_QD, item_VD, self.allowed_V & placed_V, self.seen, top)

    def ndcg(self, asking_QD: Float32s, item_VD: Float32s, placed_V: Bools) -> float:
        """Return nDCG@10 of the lists of those who ask."""
        lists = self.lists(asking_QD, item_VD, placed_V, VALIDATION_K)
        return ndcg(lists, self.relevant, len(self.allowed_V))

    def each(self, score_QV: Tensor, placed_V: Bools) -> Float64s:
        """Return nDCG@10 of each who asks for something relevant; scores may be changed."""
        score_QV[:, torch.from_numpy(~(self.allowed_V & placed_V))] = -torch.inf
        if self.seen is not None:
            score_QV[self.seen] = -torch.inf
        top = score_QV.topk(min(VALIDATION_K, score_QV.shape[1]), dim=1)
        lists = Lists(top.indices.numpy(), top.values.numpy())
        return ndcg_each(lists, self.relevant, len(self.allowed_V))

    def sample(self, most: int) -> Question:
        """Return what at most so many of the people ask, evenly spaced."""
        count = len(self.windows)
        return self if count <= most else self.take(np.linspace(0, count - 1, most).astype(int))

    def take(self, rows: Ints) -> Question:
        """Return what the people of these rows ask."""
        place_Q = np.full(len(self.windows), -1)
        place_Q[rows] = np.arange(len(rows))

        def kept(pairs: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
            row_N, item_N = pairs
            is_kept_N = place_Q[row_N] >= 0
            return place_Q[row_N[is_kept_N]], item_N[is_kept_N]

        return replace(
            self,
            user_Q=self.user_Q[rows],
            windows=self.windows.take(rows),
            seen=None if self.seen is None else kept(self.seen),
            relevant=kept(self.relevant),
        )


def top_items(
    state_UD: Float32s,
    item_VD: Float32s,
    allowed_V: Bools,
    seen: tuple[Ints, Ints] | None,
    top: int,
) -> Lists:
    """Rank the allowed items for each user, ties in the order of the items.

    Parameters
    ----------
    state_UD, item_VD
        Unit vectors.
    allowed_V
        Items that may be listed; padding must not be.
    seen
        Pairs (user, item) to leave out, sorted by user.
    top
        Length of a list.

    Raises
    ------
    BadParams
        If a score is no number, as after a training that diverged.
    """
    item = torch.from_numpy(item_VD)
    forbidden = torch.from_numpy(~allowed_V)
    top = min(top, len(item_VD))
    parts = []
    for start in range(0, len(state_UD), _RANK_BATCH):
        score = torch.from_numpy(state_UD[start : start + _RANK_BATCH]) @ item.T
        score.masked_fill_(forbidden, -torch.inf)
        if seen is not None:
            first, stop = np.searchsorted(seen[0], [start, start + len(score)])
            score[seen[0][first:stop] - start, seen[1][first:stop]] = -torch.inf
        parts.append(_listed(score.numpy(), top))
    return Lists(
        np.concatenate([part.item_UK for part in parts] or [np.empty((0, top), np.int64)]),
        np.concatenate([part.score_UK for part in parts] or [np.empty((0, top), np.float32)]),
    )


def _listed(score_UV: Float32s, top: int) -> Lists:
    """Take the best items, in one order on every machine; where nothing is left, padding."""
    if np.isnan(score_UV).any():
        raise BadParams(
            "scores of items are no numbers: the training diverged; lower hstu.learning_rate"
        )
    found_UK = ranking.top_items(score_UV, top)
    item_UK = np.where(found_UK < 0, PADDING, found_UK)
    score_UK = np.take_along_axis(score_UV, item_UK, axis=1)
    return Lists(item_UK, np.where(found_UK < 0, np.float32(-np.inf), score_UK))


def ndcg(lists: Lists, relevant_UV: tuple[Ints, Ints], items: int) -> float:
    """Return mean nDCG of the lists over the users with something relevant; 0 without any.

    `relevant_UV` holds distinct pairs (row of the lists, item).
    """
    each = ndcg_each(lists, relevant_UV, items)
    return float(each.mean()) if len(each) else 0.0


def ndcg_each(lists: Lists, relevant_UV: tuple[Ints, Ints], items: int) -> NDArray[np.float64]:
    """Return the nDCG of the list of each user with something relevant."""
    user_N, item_N = relevant_UV
    users, k = lists.item_UK.shape
    listed_UK = np.where(np.isfinite(lists.score_UK), lists.item_UK, PADDING)
    key_UK = np.arange(users)[:, None] * items + listed_UK
    hit_UK = np.isin(key_UK, user_N * items + item_N)
    gain_K = 1.0 / np.log2(np.arange(2, k + 2))
    ideal_K = np.concatenate([[0.0], np.cumsum(gain_K)])
    relevant_U = np.bincount(user_N, minlength=users)
    has_U = relevant_U > 0
    ideal_U = ideal_K[np.minimum(relevant_U[has_U], k)]
    return np.asarray((hit_UK[has_U] @ gain_K) / ideal_U)


def action_codes(actions: tuple[str, ...]) -> Ints:
    """Return the rows of these actions in the action table."""
    return np.asarray([ACTIONS.index(action) for action in actions])
