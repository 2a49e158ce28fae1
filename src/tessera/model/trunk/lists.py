"""Lists of the items nearest to each test user by the sequence model, and the file of all lists."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tessera.contracts.arrays import Ints
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.columns import Table
from tessera.contracts.split import TEST
from tessera.model.params import QuestionParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.trunk.inference import encode, item_vectors, placed
from tessera.model.trunk.model import SequenceModel


def rank_users(
    model: SequenceModel,
    dataset: Dataset,
    params: QuestionParams,
    suffix: str = "",
    user_Q: Ints | None = None,
) -> pa.Table:
    """Return the top items, alive at the cut, of each test user with a known history.

    Parameters
    ----------
    suffix
        Behind the kind of the model in its name.
    user_Q
        For whom instead, in ascending order; whoever did nothing before the cut gets the list of an
        empty history.
    """
    asked = dataset.ask(TEST, params, user_Q)
    asking_QD = encode(model, dataset.histories, asked.windows)
    lists = asked.lists(asking_QD, item_vectors(model), placed(model), params.top)
    return dataset.listed(model.shape.kind + suffix, asked, lists)


def write_lists(parts: list[pa.Table], contract: Table, path: Path) -> None:
    """Write the lists, one model after the other, by user and rank; none at all is no row."""
    rows = pa.concat_tables(parts) if parts else schema(contract).empty_table()
    write_table(rows, contract, path)
