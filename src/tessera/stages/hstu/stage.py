"""The entry point of the sequence model: train it, publish its vectors, rank, and score the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import pyarrow as pa

from tessera.contracts.errors import BadParams
from tessera.contracts.tables import LISTS, STRANGERS
from tessera.model.nn.device import chosen_device, threads
from tessera.model.params import HstuParams
from tessera.model.sequences.dataset import Dataset, read_dataset
from tessera.model.sequences.effects import NO_EFFECTS, read_effects
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.fact_tables import save_facts
from tessera.model.sequences.laid_out import lay_out
from tessera.model.sequences.questions import action_codes
from tessera.model.trainer.parallel import together
from tessera.model.training.curves import write_training
from tessera.model.training.fit import fit
from tessera.model.training.slate_figures import slate_figures
from tessera.model.trunk.generated import sources
from tessera.model.trunk.inference import serving_head
from tessera.model.trunk.lists import rank_users, write_lists
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import save_model
from tessera.stages.hstu.blended import blended
from tessera.stages.hstu.outputs import Later, write_item_vectors, write_scores, write_user_vectors
from tessera.stages.hstu.published import Happened


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
    with threads(params.threads), together(chosen_device(params.device)):
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
        write_user_vectors(own, dataset, users, user_vectors)
        write_lists(parts, LISTS, lists)
        later = Later(exposures, Happened(events, prices, users), effects)
        scored = write_scores(own, dataset, later, champion, scores)
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
    parts = [rank_users(model, dataset, params)]
    if model.decoder is not None:
        parts += sources(model, model.decoder, dataset, params)
    if params.blend:
        parts += blended(model, dataset, edges, params)
    if params.session_minutes and not dataset.split.ordinal:
        visits = dataset.histories.last_sessions(60 * params.session_minutes)
        parts.append(rank_users(model, replace(dataset, histories=visits), params, STRANGERS))
    return parts
