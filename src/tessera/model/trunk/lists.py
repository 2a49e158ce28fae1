"""Lists of the items nearest to each test user, for any model with both vectors.

Legend: V items with padding first, Q users that are asked, K list length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from tessera.contracts import tables as contracts
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.tables import STRANGERS
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.histories import TEST, last_sessions
from tessera.model.sequences.questions import Question, ask, ask_of
from tessera.model.sequences.windows import Windows, last_windows
from tessera.model.trunk.inference import Lists, encode, item_vectors, placed, top_items
from tessera.model.trunk.model import SequenceModel


class ListParams(Protocol):
    """The part of the params that decides who is listed what."""

    @property
    def length(self) -> int:
        """Events of history that a state may see."""
        ...

    @property
    def acquired(self) -> tuple[str, ...]:
        """Actions after which an item counts as had."""
        ...

    @property
    def filter_seen(self) -> bool:
        """Leave out what was had."""
        ...

    @property
    def future_items(self) -> bool:
        """List items first offered after the cut too."""
        ...

    @property
    def top(self) -> int:
        """Items in a list."""
        ...


def rank_test_users(
    model: SequenceModel, dataset: Dataset, params: ListParams, suffix: str = ""
) -> pa.Table:
    """Return the top items, alive at the cut, of each test user with a known history."""

    def states(windows: Windows) -> Float32s:
        return encode(model, dataset.histories, windows)

    items = item_vectors(model), placed(model)
    return rank_vectors(model.shape.kind + suffix, states, items, dataset, params)


def rank_users(
    user_Q: Ints, model: SequenceModel, dataset: Dataset, params: ListParams
) -> pa.Table:
    """Return the top items, alive at the cut, of these users, in ascending order.

    Whoever did nothing before the cut gets the list of an empty history.
    """

    def states(windows: Windows) -> Float32s:
        return encode(model, dataset.histories, windows)

    asked = params.acquired, params.filter_seen
    question = ask_of(user_Q, dataset.histories, dataset.split, TEST, *asked)
    items = item_vectors(model), placed(model)
    return _ranked(model.shape.kind, states, items, dataset, params, question)


def rank_anonymous(
    model: SequenceModel, dataset: Dataset, params: ListParams, session_minutes: float
) -> pa.Table:
    """Return the lists of the same people without an id: only their last session is known."""
    histories = last_sessions(dataset.histories, 60 * session_minutes)
    return rank_test_users(model, replace(dataset, histories=histories), params, STRANGERS)


def rank_vectors(
    name: str,
    states: Callable[[Windows], Float32s],
    items: tuple[Float32s, Bools],
    dataset: Dataset,
    params: ListParams,
) -> pa.Table:
    """List the items nearest to the states of each test user, for any model that has both.

    Parameters
    ----------
    name
        Of the model in `lists`.
    states
        Unit state_WD at the end of windows over the histories.
    items
        Unit item_VD, and which of them have a place in the space.
    """
    question = ask(dataset.histories, dataset.split, TEST, params.acquired, params.filter_seen)
    return _ranked(name, states, items, dataset, params, question)


def _ranked(
    name: str,
    states: Callable[[Windows], Float32s],
    items: tuple[Float32s, Bools],
    dataset: Dataset,
    params: ListParams,
    question: Question,
) -> pa.Table:
    first_Q = dataset.histories.first_U1[question.user_Q]
    windows = last_windows(first_Q, question.stop_Q, question.request_Q, params.length)
    item_VD, placed_V = items
    allowed_V = dataset.catalogue.candidates_V(
        dataset.split, dataset.split.cut, params.future_items
    )
    lists = top_items(
        states(windows),
        item_VD,
        allowed_V & placed_V,
        question.seen if params.filter_seen else None,
        params.top,
    )
    ids = [dataset.histories.user_id_U[user] for user in question.user_Q]
    return _list_rows(name, ids, lists, dataset.catalogue.vocabulary)


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
