"""The door of the sequence model: train it, publish its vectors, rank, and score the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import pyarrow as pa
import torch

from tessera.contracts.errors import BadParams
from tessera.contracts.split import load_split
from tessera.hstu.device import chosen_device
from tessera.hstu.edges import read_edges
from tessera.hstu.fact_tables import save_facts
from tessera.hstu.fit import fit, threads
from tessera.hstu.histories import read_histories
from tessera.hstu.logged import Sources, read_log
from tessera.hstu.logscores import slate_figures
from tessera.hstu.outputs import (
    rank_strangers,
    rank_test_users,
    write_item_vectors,
    write_lists,
    write_scores,
    write_training,
    write_user_vectors,
)
from tessera.hstu.parallel import together
from tessera.hstu.params import HstuParams
from tessera.hstu.rerank import NO_EFFECTS, read_effects
from tessera.hstu.rivals import rival_figures
from tessera.hstu.saved import save_model
from tessera.hstu.two_tower import list_two_tower
from tessera.hstu.world import World, read_catalogue, read_closes, read_codes


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
    """Train HSTU (and SASRec beside it); `scratch` keeps checkpoints when a run is killed."""
    with threads(params.threads), together(chosen_device(params)):
        sources = Sources(users, items, prices, exposures, outcomes, edges, cate)
        world = read_world(events, codes, split, sources, scratch, params)
        world = _with_effects(world, cate, cate_later, params)
        parts: list[pa.Table] = []
        metrics: dict[str, float] = {}
        for kind in ("hstu", "sasrec") if params.sasrec else ("hstu",):
            trained = fit(kind, world, params, scratch)
            parts.append(rank_test_users(trained.model, world, params))
            write_training(trained.place, kind, training)
            metrics |= {f"{kind}_{name}": value for name, value in trained.figures().items()}
            if kind == "hstu":
                own = trained.model
                mix = own.closed_form.mix
                metrics |= {f"{kind}_mix_{name}": value for name, value in mix.items()}
                if params.session_minutes and not world.split.ordinal:
                    parts.append(rank_strangers(own, world, params))
        if params.two_tower:
            part, figures = list_two_tower(world, params, training)
            parts.append(part)
            metrics |= figures
        save_model(own, world.catalogue.vocabulary, model)
        ranks = own.rank is not None and own.shape.score != "recall"
        save_facts(events, sources.facts() if ranks else None, world.split, facts)
        write_item_vectors(own, world.catalogue.vocabulary, item_vectors)
        write_user_vectors(own, world, users, user_vectors)
        write_lists(parts, lists)
        scored = write_scores(own, world, events, exposures, champion, scores)
    metrics["requests_scored"] = float(len(scored.request_ids))
    metrics |= slate_figures(scored, world, params)
    return metrics | rival_figures(users, own, scored, world, params)


def _with_effects(
    world: World, cate: ibis.Table, cate_later: ibis.Table, params: HstuParams
) -> World:
    effects = read_effects(cate, cate_later)
    if params.uplift_weight and world.log and not len(effects.request_ids):
        raise BadParams(NO_EFFECTS)  # better said before training than after it
    return replace(world, effects=effects)


def read_world(
    events: ibis.Table,
    codes: ibis.Table,
    split: Path,
    sources: Sources,
    scratch: Path,
    params: HstuParams,
) -> World:
    """Read what a model is fitted on; what grows with the log lies in `scratch`."""
    periods = load_split(split)
    catalogue = read_catalogue(sources.items)
    codes_VC = read_codes(codes, catalogue.vocabulary)
    if not params.use_codes:
        codes_VC = torch.empty(len(codes_VC), 0, dtype=torch.long)
    scratch.mkdir(parents=True, exist_ok=True)
    histories = read_histories(
        events, periods, catalogue.vocabulary, tied_sets=params.tied_sets, folder=scratch
    )
    log = read_log(sources, histories, catalogue, codes_VC.numpy(), periods, params)
    edge_VV = read_edges(sources.edges, catalogue.vocabulary) if params.edge_bias else None
    closes = log.facts.closes if log else read_closes(sources.prices, catalogue.vocabulary)
    return World(periods, catalogue, codes_VC, histories, log, edge_VV, closes)
