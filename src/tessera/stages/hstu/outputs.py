"""The tables and files that the stage leaves behind, sorted so that equal runs give equal bytes.

Legend: R requests, C candidates, V items with padding first, U users, K list length.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from ibis import Table

from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.arrow import write_table
from tessera.contracts.tables import ITEM_VECTORS, SCORES, USER_VECTORS
from tessera.model.training.slate_figures import Scored
from tessera.model.trunk.inference import item_vectors
from tessera.model.trunk.model import SequenceModel


def write_item_vectors(model: SequenceModel, vocabulary: list[str], path: Path) -> None:
    """Write the unit vector of every item."""
    vector_VD = item_vectors(model)[1:]
    rows = {"item_id": pa.array(vocabulary, pa.string()), "vector": _vectors(vector_VD)}
    write_table(pa.table(rows), ITEM_VECTORS, path)


def write_user_vectors(
    user_ids: list[str], state_UD: Float32s, start_1D: Float32s, users: Table, path: Path
) -> None:
    """Write the state of every user, sorted by id; who has no history is given that of an empty."""
    listed = users.select("user_id").distinct().to_pyarrow()["user_id"].to_pylist()
    unknown = sorted(set(listed) - set(user_ids))
    vector_UD = np.concatenate([state_UD, np.repeat(start_1D, len(unknown), 0)])
    ids = pa.array([*user_ids, *unknown], pa.string())
    rows = pa.table({"user_id": ids, "vector": _vectors(vector_UD)})
    write_table(rows.sort_by("user_id"), USER_VECTORS, path)


def _vectors(vector_ND: Float32s) -> pa.Array:
    count, width = vector_ND.shape
    return _as_lists(np.arange(count + 1) * width, vector_ND.ravel())


def write_scores(rows: pa.Table, scored: Scored, published_C: Float32s | None, path: Path) -> None:
    """Write what both models say of the candidates of each request after the cut.

    The champion's scores are null when the champion is no model; chances without a ranking head.

    Parameters
    ----------
    rows
        Requests as `read_requests` gives them.
    scored
        What the model just trained says.
    published_C
        What the champion says; None if it is no model.
    path
        Where to.
    """
    first_R1, found = scored.requests.first_R1, scored.scores
    unknown = pa.nulls(len(rows), pa.list_(pa.float64()))
    chance_C = found.chance_C
    table = {
        "request_id": rows["request_id"],
        "candidate_ids": rows["candidate_ids"].combine_chunks(),
        "candidate_scores": _as_lists(first_R1, found.served_C),
        "candidate_chances": unknown if chance_C is None else _as_lists(first_R1, chance_C),
        "champion_scores": unknown if published_C is None else _as_lists(first_R1, published_C),
    }
    write_table(pa.table(table), SCORES, path)


def _as_lists(first_R1: Ints, value_C: Float32s) -> pa.Array:
    return pa.ListArray.from_arrays(first_R1.astype(np.int32), value_C.astype(np.float64))
