"""The tables and files that the stage leaves behind, sorted so that equal runs give equal bytes.

Legend: R requests, C candidates, V items with padding first, U users, K list length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrow import write_table
from tessera.contracts.tables import ITEM_VECTORS, LISTS, SCORES, STRANGERS, USER_VECTORS
from tessera.hstu.checkpoint import Place
from tessera.hstu.fit import load_champion
from tessera.hstu.histories import (
    TEST,
    VALIDATION,
    Bools,
    Ints,
    last_sessions,
    read_histories,
)
from tessera.hstu.logscores import Known, Scored, score_log
from tessera.hstu.model import SequenceModel
from tessera.hstu.params import HstuParams
from tessera.hstu.rerank import effects_of
from tessera.hstu.scoring import (
    Floats,
    Lists,
    encode,
    item_vectors,
    placed,
    top_items,
)
from tessera.hstu.sequences import Windows, last_windows
from tessera.hstu.world import World, as_requests, ask, read_requests, request_seconds, rows_of


def write_item_vectors(model: SequenceModel, vocabulary: list[str], path: Path) -> None:
    """Write the unit vector of every item."""
    vector_VD = item_vectors(model)[1:]
    rows = {"item_id": pa.array(vocabulary, pa.string()), "vector": _vectors(vector_VD)}
    write_table(pa.table(rows), ITEM_VECTORS, path)


def write_user_vectors(model: SequenceModel, world: World, users: Table, path: Path) -> None:
    """Write the state of every user at the end of the known history, sorted by id.

    A user without history has the learnt state of an empty one.
    """
    histories = world.histories
    windows = last_windows(
        histories.first_U1[:-1],
        histories.until(VALIDATION),
        request_seconds(histories, world.split, TEST),
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


def _vectors(vector_ND: Floats) -> pa.Array:
    count, width = vector_ND.shape
    return _as_lists(np.arange(count + 1) * width, vector_ND.ravel())


def rank_test_users(
    model: SequenceModel, world: World, params: HstuParams, suffix: str = ""
) -> pa.Table:
    """Return the top items, alive at the cut, of each test user with a known history."""

    def states(windows: Windows) -> Floats:
        return encode(model, world.histories, windows)

    items = item_vectors(model), placed(model)
    return rank_vectors(model.shape.kind + suffix, states, items, world, params)


def rank_strangers(model: SequenceModel, world: World, params: HstuParams) -> pa.Table:
    """Return the lists of the same people without an id: only their last session is known."""
    histories = last_sessions(world.histories, 60 * params.session_minutes)
    return rank_test_users(model, replace(world, histories=histories), params, STRANGERS)


def rank_vectors(
    name: str,
    states: Callable[[Windows], Floats],
    items: tuple[Floats, Bools],
    world: World,
    params: HstuParams,
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
    question = ask(world.histories, world.split, params, TEST)
    first_Q = world.histories.first_U1[question.user_Q]
    windows = last_windows(first_Q, question.stop_Q, question.request_Q, params.length)
    item_VD, placed_V = items
    lists = top_items(
        states(windows),
        item_VD,
        world.catalogue.candidates_V(world.split, world.split.cut, params) & placed_V,
        question.seen if params.filter_seen else None,
        params.top,
    )
    ids = [world.histories.user_id_U[user] for user in question.user_Q]
    return _list_rows(name, ids, lists, world.catalogue.vocabulary)


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


def write_lists(parts: list[pa.Table], path: Path) -> None:
    """Write the lists, one model after the other, by user and rank."""
    write_table(pa.concat_tables(parts), LISTS, path)


def write_scores(
    model: SequenceModel, world: World, events: Table, exposures: Table, champion: Path, path: Path
) -> Scored:
    """Score the candidates of each request after the cut by both models.

    The champion's scores are null when the champion is no model; chances without a ranking head.
    """
    rows = read_requests(exposures, world.split)
    candidates = rows["candidate_ids"].combine_chunks()
    own = as_requests(rows, world.histories, world.catalogue.vocabulary)
    person_R = rows_of(rows["user_id"], world.log.people) if world.log else own.user_R
    effect_C = None
    if world.effects and len(world.effects.request_ids):
        ids, items = rows["request_id"].combine_chunks(), pc.list_flatten(candidates)
        effect_C = effects_of(world.effects, ids, own.first_R1, items)
    known = Known(person_R, own.item_C, effect_C)
    facts = world.log.facts if world.log else None
    found = score_log(model, facts, world.histories, own, known)
    unknown = pa.nulls(len(rows), pa.list_(pa.float64()))
    chance_C = found.chance_C
    scored = {
        "request_id": rows["request_id"],
        "candidate_ids": candidates,
        "candidate_scores": _as_lists(own.first_R1, found.served_C),
        "candidate_chances": unknown if chance_C is None else _as_lists(own.first_R1, chance_C),
        "champion_scores": unknown,
    }
    rival = load_champion(champion)
    if rival:
        other, vocabulary = rival
        histories = read_histories(
            events,
            world.split,
            vocabulary,
            tied_sets=other.shape.tied_sets,
            folder=world.histories.folder,
        )
        theirs = as_requests(rows, histories, vocabulary)
        score_C = score_log(other, facts, histories, theirs, known).served_C
        scored["champion_scores"] = _as_lists(own.first_R1, score_C)
    write_table(pa.table(scored), SCORES, path)
    return Scored(rows["request_id"].combine_chunks(), own, found)


def _as_lists(first_R1: Ints, value_C: Floats) -> pa.Array:
    return pa.ListArray.from_arrays(first_R1.astype(np.int32), value_C.astype(np.float64))


def write_training(place: Place, model: str, folder: Path) -> None:
    """Write loss, validation nDCG@10 and, if it ranks, slate AUC by epoch, one CSV a model."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"loss": place.losses, "validation_ndcg_at_10": place.ndcgs}
    if place.aucs:
        columns["validation_auc"] = place.aucs
    rows = [
        ",".join([str(epoch + 1), *(_cell(column, epoch) for column in columns.values())])
        for epoch in range(len(place.losses))
    ]
    text = "\n".join([",".join(["epoch", *columns]), *rows])
    (folder / f"{model}.csv").write_text(text + "\n")


def _cell(column: list[float], epoch: int) -> str:
    return f"{column[epoch]:.6f}" if epoch < len(column) else ""
