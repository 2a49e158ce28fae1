"""The tables and files that the stage leaves behind, sorted so that equal runs give equal bytes.

Legend: R requests, C candidates, V items with padding first, U users, K list length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.arrow import write_table
from tessera.contracts.split import TEST, VALIDATION
from tessera.contracts.tables import ITEM_VECTORS, SCORES, USER_VECTORS
from tessera.model.sequences.catalogue import rows_of
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.effects import Effects, effects_of
from tessera.model.sequences.requests import as_requests, read_requests
from tessera.model.sequences.windows import Windows, last_windows
from tessera.model.training.slate_figures import Scored
from tessera.model.trunk.inference import encode, item_vectors
from tessera.model.trunk.log_scores import Known, score_log
from tessera.model.trunk.model import SequenceModel
from tessera.stages.hstu.published import Happened, scores_of_published


def write_item_vectors(model: SequenceModel, vocabulary: list[str], path: Path) -> None:
    """Write the unit vector of every item."""
    vector_VD = item_vectors(model)[1:]
    rows = {"item_id": pa.array(vocabulary, pa.string()), "vector": _vectors(vector_VD)}
    write_table(pa.table(rows), ITEM_VECTORS, path)


def write_user_vectors(model: SequenceModel, dataset: Dataset, users: Table, path: Path) -> None:
    """Write the state of every user at the end of the known history, sorted by id.

    A user without history has the learnt state of an empty one.
    """
    histories = dataset.histories
    windows = last_windows(
        histories.first_U1[:-1],
        histories.until(VALIDATION),
        histories.asked_second(dataset.split, TEST),
        model.shape.length,
    )
    nowhere = np.zeros(1, np.int64)
    start_1D = encode(model, histories, Windows(nowhere, nowhere, nowhere))
    listed = users.select("user_id").distinct().to_pyarrow()["user_id"].to_pylist()
    unknown = sorted(set(listed) - set(histories.user_id_U))
    state_UD = [encode(model, histories, windows), np.repeat(start_1D, len(unknown), 0)]
    ids = pa.array([*histories.user_id_U, *unknown], pa.string())
    rows = pa.table({"user_id": ids, "vector": _vectors(np.concatenate(state_UD))})
    write_table(rows.sort_by("user_id"), USER_VECTORS, path)


def _vectors(vector_ND: Float32s) -> pa.Array:
    count, width = vector_ND.shape
    return _as_lists(np.arange(count + 1) * width, vector_ND.ravel())


@dataclass(frozen=True, slots=True)
class Later:
    """What was shown after the cut, what happened, and what being shown is thought to change."""

    exposures: Table
    happened: Happened
    effects: Effects


def write_scores(
    model: SequenceModel,
    dataset: Dataset,
    later: Later,
    champion: Path,
    path: Path,
) -> Scored:
    """Score the candidates of each request after the cut by both models.

    The champion's scores are null when the champion is no model; chances without a ranking head.
    """
    rows = read_requests(later.exposures, dataset.split)
    candidates = rows["candidate_ids"].combine_chunks()
    own = as_requests(rows, dataset.histories.user_id_U, dataset.catalogue.vocabulary)
    person_R = rows_of(rows["user_id"], dataset.log.people) if dataset.log else own.user_R
    effect_C = None
    if len(later.effects.request_ids):
        ids, items = rows["request_id"].combine_chunks(), pc.list_flatten(candidates)
        effect_C = effects_of(later.effects, ids, own.first_R1, items)
    known = Known(person_R, own.item_C, effect_C)
    facts = dataset.log.facts if dataset.log else None
    found = score_log(model, facts, dataset.histories, own, known)
    unknown = pa.nulls(len(rows), pa.list_(pa.float64()))
    chance_C = found.chance_C
    scored = {
        "request_id": rows["request_id"],
        "candidate_ids": candidates,
        "candidate_scores": _as_lists(own.first_R1, found.served_C),
        "candidate_chances": unknown if chance_C is None else _as_lists(own.first_R1, chance_C),
        "champion_scores": unknown,
    }
    published_C = scores_of_published(
        champion, rows, later.happened, dataset.split, dataset.histories.folder
    )
    if published_C is not None:
        scored["champion_scores"] = _as_lists(own.first_R1, published_C)
    write_table(pa.table(scored), SCORES, path)
    return Scored(rows["request_id"].combine_chunks(), own, found)


def _as_lists(first_R1: Ints, value_C: Float32s) -> pa.Array:
    return pa.ListArray.from_arrays(first_R1.astype(np.int32), value_C.astype(np.float64))
