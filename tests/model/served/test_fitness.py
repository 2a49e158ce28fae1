"""What a bundle must be to take over, and that it leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from tessera.bundles.indexes.flat import Flat
from tessera.bundles.vectors import Search
from tessera.contracts.errors import BrokenBundle
from tessera.serve.engine import Engine
from tessera.serve.fitness import require_fit
from tessera.serve.log import ServedLog
from tessera.serve.online.investor import ME
from tessera.serve.service import Service
from tessera.serve.slate import greedy


def plant(name, engine):
    """Spoil one number of a bundle that is open."""
    if name == "weights":
        next(engine.scorer.ranker.model.parameters()).data[-1, 0] = float("nan")
        return engine
    if name == "vectors":
        vector_ND = engine.search.index.vectors(0, engine.search.index.count)
        vector_ND[-1, 0] = np.inf
        index = faiss.IndexFlatIP(vector_ND.shape[1])
        index.add(vector_ND)
        return replace(engine, search=Search(Flat(index), engine.search.ids))
    scored = engine.scorer.scored

    def spoiling(now, item_C):
        found = scored(now, item_C)
        return replace(found, score_M=found.score_M * (np.nan if now.user == ME else 1))

    spoilt = SimpleNamespace(
        **{
            each: getattr(engine.scorer, each)
            for each in ("ranker", "state", "vector", "now", "erased_until", "chances")
        },
        scored=spoiling,
    )
    return replace(engine, scorer=spoilt)


@pytest.mark.parametrize("name", ["weights", "vectors", "scores"])
def test_a_bundle_with_a_number_that_is_none_is_refused(bundle, engine, name, few):
    require_fit(engine, engine.acted(), 1.0)
    with pytest.raises(BrokenBundle, match=f"its {name} are not finite: train it again"):
        require_fit(plant(name, Engine.open(bundle, few)), set(), 1.0)


def test_scores_that_are_no_numbers_draw_nothing(engine, at_noon, users):
    spoilt = plant("scores", engine)
    old, new = (spoilt.answer("r1", user, at_noon(), 3) for user in ("u003", "new"))
    assert old.flags == ("degraded",)
    assert old.policy_id == greedy(new.policy_id)
    assert old.drawn.chosen_L.tolist() == [0, 1, 2]
    assert np.isfinite(old.drawn.score_C).all()
    assert np.isfinite(old.drawn.probability_LC).all()


def test_what_was_acted_on_are_the_items_of_the_histories(engine, told, split):
    before = told.events.filter(told.events.event_ts <= split.cut).item_id.to_pyarrow()
    assert engine.acted() == set(before.to_pylist()) & engine.item_row.keys()


def test_an_engine_that_is_swapped_out_leaves_nothing_behind(bundle, tmp_path, few, at_noon):
    service = Service(Engine.open(bundle, few), lambda: ServedLog(tmp_path / "1.log"))
    service.overshadow(Engine.open(bundle, few, "shadow"))
    service.try_out(Engine.open(bundle, few, "canary"), 0.5)
    for n in range(6):
        service.recommend(f"r{n}", f"u{n:03d}", at_noon(), 3)
    arms = service.arms
    seen = [weakref.ref(one) for one in arms.engines()]
    models = [weakref.ref(one.scorer.ranker.model) for one in arms.engines()]
    del arms
    service.swap(Engine.open(bundle, few, "next"))
    service.overshadow(None)
    service.try_out(None)
    gc.collect()
    assert [one() for one in (*seen, *models)] == [None] * 6
    service.close()
