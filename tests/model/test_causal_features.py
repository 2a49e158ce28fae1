"""What is estimated to be caused reaches the scores: a changed edge or effect moves them."""

from dataclasses import replace
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pytest
import torch

from tessera.contracts.arrow import schema
from tessera.contracts.tables import CATE, EDGES
from tessera.model.baselines.ranker_baselines import _rows
from tessera.model.baselines.rankers import KINDS, fit_ranker
from tessera.model.sequences.exposure_log import matured
from tessera.model.training.fit import fit
from tessera.model.trunk.inference import rank_requests

causes = pytest.mark.parametrize("cause", ["causal", "cate"])
GROUPS = ("user", "graph", "causal", "cate")


@pytest.fixture
def params(small):
    changes = {"window_days": 2.0, "hold_days": 3.0, "epochs": 1}
    return small.model_copy(update=changes | {"targets": ("buy",), "features": GROUPS})


def table(rows, layout):
    return ibis.memtable(pa.Table.from_pylist(rows, schema=schema(layout)))


@pytest.fixture
def world(slated, params, rng, logged_world):
    """Return a market whose investors buy, with causal edges and effects drawn at random."""
    items = [f"i{item:02d}" for item in range(12)]
    edges = [
        {"source_id": one, "target_id": other, "kind": "causal", "support": 3,
         "weight": rng.normal()}
        for one in items for other in items if one != other
    ]  # fmt: skip
    shown = slated.exposures.select("request_id", "item_id").to_pyarrow().to_pylist()
    effects = [row | {"shown": True, "effect": rng.uniform(-0.1, 0.1)} for row in shown]
    tables = SimpleNamespace(**{**vars(slated), "edges": table(edges, EDGES),
                                "events": slated.events.mutate(action=ibis.literal("buy")),
                                "cate": table(effects, CATE)})  # fmt: skip
    return logged_world(tables, params)


def shaken(log, cause):
    """Return the log of a world in which something else is caused."""
    facts = log.facts
    if cause == "causal":
        other = replace(facts, edges={**facts.edges, "causal": -facts.edges["causal"]})
    else:
        trials = replace(facts.trials, effect_X=-facts.trials.effect_X)
        other = replace(facts, trials=trials)
    return replace(log, facts=other)


def examples(world, cause, params):
    """Return slates to learn from and slates after the cut, these also as after a shake."""
    learn_R, _, later_R = matured(world.log.slates, world.split, params.window_days)
    logs = (world.log, learn_R), (world.log, later_R), (shaken(world.log, cause), later_R)
    return [log.examples(chosen_R, params.features)[1] for log, chosen_R in logs]


@causes
def test_a_changed_cause_moves_the_logits_of_the_head(world, params, cause):
    _, later, moved = examples(world, cause, params)
    model = fit("hstu", world, params, None).model
    one, two = (
        rank_requests(model, world.histories, slates).logit_RMT for slates in (later, moved)
    )
    real_RM = later.item_RM > 0
    assert np.mean(np.abs(one - two)[real_RM].max(-1) > 1e-4) > 0.5


@causes
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_cause_moves_the_logits_of_its_rivals(world, params, kind, cause):
    learn, later, moved = (
        _rows(slates, np.zeros(len(slates), np.int64), world.log)
        for slates in examples(world, cause, params)
    )
    sizes = (1, len(world.log.facts.category_I), int(world.log.facts.category_I.max()) + 2)
    ranker = fit_ranker(kind, learn, learn, sizes, params)
    with torch.inference_mode():
        far_S = (ranker(later) - ranker(moved)).abs().max(-1).values
    assert (far_S > 1e-4).float().mean() > 0.5
