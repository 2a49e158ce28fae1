"""The tables of a run as arrays, and what follows from the split: who learns, who is asked when.

Legend: U users, V items with padding first, C code levels, R requests, P events of a part, N of
them that count, Q users that are asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from tessera.contracts.arrays import Ints
from tessera.contracts.split import TRAIN, VALIDATION, Split
from tessera.model.params import ClosedFormParams, QuestionParams
from tessera.model.sequences.catalogue import Catalogue, microsecond
from tessera.model.sequences.exposure_log import Log
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.questions import Lists, Question, action_codes
from tessera.model.sequences.windows import Windows, last_windows
from tessera.shared.features.demand import Acquired, Sale
from tessera.shared.features.prices import PriceHistory


@dataclass(frozen=True, slots=True)
class Sizes:
    """What of the data decides the shape of a model."""

    items: int
    """With padding."""
    code_sizes: tuple[int, ...]
    """Codewords of each level; empty when codes are not used."""
    classes: int
    """Of items."""
    actions: int
    """That occur before the cut."""
    has_edges: bool


@dataclass(frozen=True, slots=True)
class Past:
    """What closed forms learn from, as it was known at a moment."""

    acquired: Acquired
    sale: Sale
    closes: PriceHistory | None
    """None where nothing has a price."""
    now: int
    """That moment, in microseconds since 1970."""
    taught: int
    """Up to when the trunk has learnt: less, unless it was trained again at the cut."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything a model is fitted on."""

    split: Split
    catalogue: Catalogue
    codes_VC: Tensor
    """No columns when codes are not used."""
    histories: Histories
    log: Log | None = None
    """Logged slates; None trains no ranking head."""
    edge_VV: Tensor | None = None
    """Edges for the attention of HSTU; None tells it of none."""
    closes: PriceHistory | None = None
    """None where nothing has a price."""

    def windows(self, period: int, length: int) -> Windows:
        """Return the last that is known of each user before a period, who asks at its request."""
        histories, request_U = self.histories, self.histories.asked_second(self.split, period)
        return last_windows(histories.first_U1[:-1], histories.until(period - 1), request_U, length)

    def ask(self, period: int, params: QuestionParams, user_Q: Ints | None = None) -> Question:
        """Pose the question of the validation or test period.

        Parameters
        ----------
        period
            `VALIDATION` or `TEST`.
        params
            What counts as had, how much history is known, and what may be listed.
        user_Q
            Who is asked, in ascending order; None asks who has a history and does something in it.
        """
        split, histories = self.split, self.histories
        windows = self.windows(period, params.length)
        if user_Q is None:
            asked_U = histories.until(period) > windows.stop_W
            user_Q = np.flatnonzero(asked_U & (windows.stop_W > windows.start_W))
        row_U, seen = np.full(len(windows), -1), None
        row_U[user_Q] = np.arange(len(user_Q))
        relevant = self._acquired(period, period, params.acquired, row_U)
        if params.filter_seen:
            seen = self._acquired(TRAIN, period - 1, params.acquired, row_U)
            relevant = np.setdiff1d(relevant, seen, assume_unique=True)
        begins = split.validation_from if period == VALIDATION else split.cut
        return Question(
            user_Q,
            windows.take(user_Q),
            None if seen is None else self._pairs(seen),
            self._pairs(relevant),
            self.catalogue.candidates_V(split, begins, params.future_items),
        )

    def sizes(self) -> Sizes:
        """Count what there is of everything."""
        return Sizes(
            items=len(self.catalogue.vocabulary) + 1,
            code_sizes=tuple(int(level_V.max()) + 1 for level_V in self.codes_VC.T),
            classes=int(self.catalogue.class_V.max()) + 1,
            actions=len(self.histories.known_actions()),
            has_edges=self.edge_VV is not None,
        )

    def lately(self, asked: Question, without: tuple[str, ...]) -> tuple[Ints, Ints]:
        """Return pairs (row, item) of what each who asks did last, in order, but these actions."""
        start_W, size_W = asked.windows.start_W, asked.windows.stop_W - asked.windows.start_W
        row_N = np.repeat(np.arange(len(size_W)), size_W)
        event_N = np.arange(len(row_N)) + np.repeat(start_W - np.cumsum(size_W) + size_W, size_W)
        is_kept_N = ~np.isin(self.histories.action_E[event_N], action_codes(without))
        return row_N[is_kept_N], self.histories.item_E[event_N[is_kept_N]]

    def past(self, params: ClosedFormParams, *, at_cut: bool) -> Past:
        """Return what was known when validation began, or at the cut."""
        begins, cut = microsecond(self.split.validation_from), microsecond(self.split.cut)
        stop_U = self.histories.learnt_until(refit=at_cut)
        return Past(
            acquired=self.histories.acquired_before(stop_U, action_codes(params.targets)),
            sale=Sale(self.catalogue.from_V, self.catalogue.class_V),
            closes=self.closes,
            now=cut if at_cut else begins,
            taught=cut if at_cut and params.refit else begins,
        )

    def _acquired(
        self, first_phase: int, last_phase: int, acquired: tuple[str, ...], row_U: Ints
    ) -> Ints:
        """Return the distinct keys of pairs (row, item) acquired from a phase to another."""
        histories, action_T = self.histories, action_codes(acquired)
        found = [np.zeros(0, np.int64)]
        for event_P in histories.parts():
            phase_P, row_P = histories.phase_E[event_P], row_U[histories.user_E[event_P]]
            is_meant_P = (phase_P >= first_phase) & (phase_P <= last_phase) & (row_P >= 0)
            is_meant_P &= np.isin(histories.action_E[event_P], action_T)
            item_N = histories.item_E[event_P[is_meant_P]]
            found.append(np.unique(row_P[is_meant_P] * len(self.catalogue.from_V) + item_N))
        return np.concatenate(found)  # parts hold whole users, so these are in order and distinct

    def _pairs(self, key_N: Ints) -> tuple[Ints, Ints]:
        row_N, item_N = np.divmod(key_N, len(self.catalogue.from_V))
        return row_N, item_N

    def listed(self, model: str, asked: Question, lists: Lists) -> pa.Table:
        """Return the rows of `lists` by a model of that name."""
        count, k = lists.item_UK.shape
        is_listed = np.isfinite(lists.score_UK).ravel()
        user_N = np.repeat(asked.user_Q, k)[is_listed]
        item_N = lists.item_UK.ravel()[is_listed] - 1
        return pa.table(
            {
                "model": pa.repeat(model, len(item_N)),
                "user_id": pa.array(self.histories.user_id_U, pa.string()).take(pa.array(user_N)),
                "rank": np.tile(np.arange(1, k + 1), count)[is_listed],
                "item_id": pa.array(self.catalogue.vocabulary, pa.string()).take(pa.array(item_N)),
                "score": lists.score_UK.ravel()[is_listed].astype(np.float64),
            }
        )
