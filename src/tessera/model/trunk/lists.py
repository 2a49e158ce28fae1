"""Lists of the items nearest to each test user, for any model with both vectors.

Legend: V items with padding first, Q users that are asked, K list length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tessera.contracts import tables as contracts
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.tables import STRANGERS
from tessera.model.params import QuestionParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.histories import TEST, last_sessions
from tessera.model.sequences.questions import ask
from tessera.model.sequences.windows import Windows, last_windows
from tessera.model.trunk.inference import Lists, encode, item_vectors, placed, top_items
from tessera.model.trunk.model import SequenceModel


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is listed what after the cut."""

    user_ids: list[str]
    windows: Windows
    seen: tuple[Ints, Ints] | None
    """Pairs (row, item) to leave out; None leaves out nothing."""
    allowed_V: Bools
    vocabulary: list[str]
    top: int

    def listed(
        self, model: str, state_QD: Float32s, item_VD: Float32s, placed_V: Bools
    ) -> pa.Table:
        """Return rows of `lists`: the items nearest to the states, for any model that has both.

        Parameters
        ----------
        model
            Its name there.
        state_QD
            Unit vectors at the end of the windows.
        item_VD, placed_V
            Unit vectors, and which of the items have a place in the space.
        """
        lists = top_items(state_QD, item_VD, self.allowed_V & placed_V, self.seen, self.top)
        return _list_rows(model, self.user_ids, lists, self.vocabulary)


def asked_after_cut(dataset: Dataset, params: QuestionParams, user_Q: Ints | None = None) -> Asked:
    """Ask for lists of each test user with a known history, or of these, in ascending order."""
    histories, split = dataset.histories, dataset.split
    question = ask(histories, split, TEST, params.acquired, params.filter_seen, user_Q)
    first_Q = histories.first_U1[question.user_Q]
    return Asked(
        [histories.user_id_U[user] for user in question.user_Q],
        last_windows(first_Q, question.stop_Q, question.request_Q, params.length),
        question.seen if params.filter_seen else None,
        dataset.catalogue.candidates_V(split, split.cut, params.future_items),
        dataset.catalogue.vocabulary,
        params.top,
    )


def rank_test_users(
    model: SequenceModel, dataset: Dataset, params: QuestionParams, suffix: str = ""
) -> pa.Table:
    """Return the top items, alive at the cut, of each test user with a known history."""
    asked = asked_after_cut(dataset, params)
    state_QD = encode(model, dataset.histories, asked.windows)
    return asked.listed(model.shape.kind + suffix, state_QD, item_vectors(model), placed(model))


def rank_users(
    user_Q: Ints, model: SequenceModel, dataset: Dataset, params: QuestionParams
) -> pa.Table:
    """Return the top items, alive at the cut, of these users, in ascending order.

    Whoever did nothing before the cut gets the list of an empty history.
    """
    asked = asked_after_cut(dataset, params, user_Q)
    state_QD = encode(model, dataset.histories, asked.windows)
    return asked.listed(model.shape.kind, state_QD, item_vectors(model), placed(model))


def rank_anonymous(
    model: SequenceModel, dataset: Dataset, params: QuestionParams, session_minutes: float
) -> pa.Table:
    """Return the lists of the same people without an id: only their last session is known."""
    histories = last_sessions(dataset.histories, 60 * session_minutes)
    return rank_test_users(model, replace(dataset, histories=histories), params, STRANGERS)


def _list_rows(model: str, user_ids: list[str], lists: Lists, vocabulary: list[str]) -> pa.Table:
    users, k = lists.item_UK.shape
    is_listed = np.isfinite(lists.score_UK).ravel()
    user_N = np.repeat(np.arange(users), k)[is_listed]
    item_N = lists.item_UK.ravel()[is_listed] - 1
    return pa.table(
        {
            "model": pa.repeat(model, len(item_N)),
            "user_id": pa.array(user_ids, pa.string()).take(pa.array(user_N)),
            "rank": np.tile(np.arange(1, k + 1), users)[is_listed],
            "item_id": pa.array(vocabulary, pa.string()).take(pa.array(item_N)),
            "score": lists.score_UK.ravel()[is_listed].astype(np.float64),
        }
    )


def write_lists(parts: list[pa.Table], contract: contracts.Table, path: Path) -> None:
    """Write the lists, one model after the other, by user and rank; none at all is no row."""
    rows = pa.concat_tables(parts) if parts else schema(contract).empty_table()
    write_table(rows, contract, path)
