"""The entry point of the sequence model: train it, publish its vectors, rank, and score the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadParams
from tessera.contracts.split import TEST
from tessera.contracts.tables import BLEND, LISTS, STRANGERS, WALK
from tessera.model.nn.device import chosen_device, threads
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import rows_of
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.effects import NO_EFFECTS, Effects, effects_of, read_effects
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.fact_tables import save_facts
from tessera.model.sequences.laid_out import lay_out
from tessera.model.sequences.questions import action_codes
from tessera.model.sequences.reading import read_dataset
from tessera.model.sequences.requests import Requests, as_requests, read_requests
from tessera.model.sequences.windows import Windows
from tessera.model.trainer.parallel import together
from tessera.model.training.curves import write_training
from tessera.model.training.fit import fit
from tessera.model.training.slate_figures import Scored, slate_figures
from tessera.model.trunk.generated import sources
from tessera.model.trunk.inference import (
    encode,
    item_vectors,
    placed,
    serving_head,
    trunk_states,
)
from tessera.model.trunk.lists import rank_users, write_lists
from tessera.model.trunk.log_scores import Known, score_log
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import save_model
from tessera.stages.hstu.blended import AGAINST, blended, walked
from tessera.stages.hstu.outputs import write_item_vectors, write_scores, write_user_vectors
from tessera.stages.hstu.published import Happened, scores_of_published


def run(
    *,
    events: ibis.Table,
    items: ibis.Table,
    users: ibis.Table,
    prices: ibis.Table,
    exposures: ibis.Table,
    outcomes: ibis.Table,
    edges: ibis.Table,
    codes: ibis.Table,
    cate: ibis.Table,
    cate_later: ibis.Table,
    split: Path,
    champion: Path,
    model: Path,
    item_vectors: Path,
    user_vectors: Path,
    lists: Path,
    scores: Path,
    training: Path,
    facts: Path,
    scratch: Path,
    params: HstuParams,
) -> dict[str, float]:
    """Train the trunk; `scratch` keeps checkpoints when a run is killed."""
    shared = together(chosen_device(params.device), params.batch_parts, params.model_dump())
    with threads(params.threads), shared:
        tables = Sources(events, codes, users, items, prices, exposures, outcomes, edges, cate)
        dataset = read_dataset(tables, split, scratch, params)
        effects = read_effects(cate, cate_later)
        if params.uplift_weight and dataset.log and not len(effects.request_ids):
            raise BadParams(NO_EFFECTS)  # better said before training than after it
        trained = fit("hstu", dataset, params, scratch)
        own = trained.model
        parts = _lists(own, dataset, edges, params)
        write_training(trained.state, "hstu", training)
        save_model(own, dataset.catalogue.vocabulary, model)
        ranks = serving_head(own) is not None
        save_facts(events, tables.facts() if ranks else None, dataset.split, facts)
        if ranks:
            lay_out(facts, dataset.split, tied_sets=own.shape.tied_sets)
        write_item_vectors(own, dataset.catalogue.vocabulary, item_vectors)
        write_user_vectors(dataset.histories.user_id_U, *_states(own, dataset), users, user_vectors)
        write_lists(parts, LISTS, lists)
        scored = _score(own, dataset, tables, effects, champion, scores)
        had = action_codes(params.acquired)
        count_V = dataset.histories.counts(had, own.shape.items)
    metrics = {f"hstu_{name}": value for name, value in trained.figures().items()}
    metrics |= {f"hstu_mix_{name}": value for name, value in own.closed_form.mix.items()}
    metrics["requests_scored"] = float(len(scored.request_ids))
    return metrics | slate_figures(own, scored, dataset.log, count_V)


def _lists(
    model: SequenceModel, dataset: Dataset, edges: ibis.Table, params: HstuParams
) -> list[pa.Table]:
    """List by the published vectors, by each source where codes are decoded, and for strangers."""
    asked, histories = dataset.ask(TEST, params), dataset.histories
    asking_QD = encode(model, histories, asked.windows)
    found = {"": asked.lists(asking_QD, item_vectors(model), placed(model), params.top)}
    if model.decoder is not None:
        state_QD = trunk_states(model, histories, asked.windows)
        found |= sources(model, model.decoder, asked, state_QD, params)
    if params.blend:
        lately, vocabulary = dataset.lately(asked, AGAINST), dataset.catalogue.vocabulary
        found[WALK] = walked(asked, lately, vocabulary, edges, params.top)
        found[BLEND] = blended(found, params)
    kind = model.shape.kind
    parts = [dataset.listed(kind + end, asked, one) for end, one in found.items()]
    if params.session_minutes and not dataset.split.ordinal:
        visits = histories.last_sessions(60 * params.session_minutes)
        parts.append(rank_users(model, replace(dataset, histories=visits), params, STRANGERS))
    return parts


def _states(model: SequenceModel, dataset: Dataset) -> tuple[Float32s, Float32s]:
    """Return the state of every user at the end of the known history, and that of an empty one."""
    nowhere = np.zeros(1, np.int64)
    known, empty = dataset.windows(TEST, model.shape.length), Windows(nowhere, nowhere, nowhere)
    return encode(model, dataset.histories, known), encode(model, dataset.histories, empty)


def _score(
    model: SequenceModel,
    dataset: Dataset,
    tables: Sources,
    effects: Effects,
    champion: Path,
    path: Path,
) -> Scored:
    """Let both models score the candidates of each request after the cut; write what they say."""
    rows = read_requests(tables.exposures, dataset.split)
    histories, log = dataset.histories, dataset.log
    asked = as_requests(rows, histories.user_id_U, dataset.catalogue.vocabulary)
    person_R = rows_of(rows["user_id"], log.people) if log else asked.user_R
    known = Known(person_R, asked.item_C, _effect_C(rows, asked, effects))
    found = score_log(model, log.facts if log else None, histories, asked, known)
    happened = Happened(tables.events, tables.prices, tables.users)
    published_C = scores_of_published(champion, rows, happened, dataset.split, histories.folder)
    scored = Scored(rows["request_id"].combine_chunks(), asked, found)
    write_scores(rows, scored, published_C, path)
    return scored


def _effect_C(rows: pa.Table, asked: Requests, effects: Effects) -> Float32s | None:
    """Return the effect of each candidate of being shown; None if nobody estimated any."""
    if not len(effects.request_ids):
        return None
    items = pc.list_flatten(rows["candidate_ids"].combine_chunks())
    return effects_of(effects, rows["request_id"].combine_chunks(), asked.first_R1, items)
