"""What a part is worth is told from trainings with and without it, each done once."""

from __future__ import annotations

import json

import pytest

from tessera.contracts.errors import BadInput, BadParams
from tessera.model.params import HstuParams
from tessera.platform.pipeline import ablate as module
from tessera.platform.pipeline.ablate import ablate, parts
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.paths import open_workspace


def worth(params):
    """Return made-up figures: each part adds a known amount, a seed a little."""
    return {
        "hstu_validation_ndcg_at_10": 0.1 + 0.05 * params.time_bias + 0.001 * params.seed,
        "rank_auc_click": 0.6 + 0.02 * len(params.features),
    }


@pytest.fixture
def trainings(tmp_path, monkeypatch, repository):
    """Return the params of all trainings; nothing is trained."""
    monkeypatch.setenv("TESSERA_ROOT", str(tmp_path))
    (tmp_path / "params.yaml").write_text((repository / "params.yaml").read_text())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "market.yaml").write_text("")
    workspace = open_workspace("market")
    workspace.artifact("model").mkdir(parents=True)
    for name in find("hstu", stages("market")).reads:
        workspace.artifact(name).write_text(name)
    seen = []

    def call(stage, workspace, params, staging, scratch):
        assert scratch.is_dir()
        assert not scratch.is_relative_to(workspace.data / ".scratch"), "that is the pipeline's own"
        seen.append(params["hstu"])
        return worth(params["hstu"])

    monkeypatch.setattr(module, "call", call)
    return seen


def test_every_feature_group_and_every_switch_that_is_on_is_a_part():
    found = parts(HstuParams())
    assert found["feature: graph"] == {
        "features": [*HstuParams().features[:4], "causal", "sid", "cate"]
    }
    assert "causal" in found["feature: graph"]["features"]
    assert "causal" not in found["feature: causal"]["features"]
    assert found["time bias"] == {"time_bias": False}
    assert "edge bias" not in found, "it is off"
    assert not [part for part in found if part.startswith("with feature")], "all are on"
    assert not [part for part in parts(HstuParams(rank_weight=0.0)) if part.startswith("feature")]
    assert "edge bias" in parts(HstuParams(edge_bias=True))


def test_what_is_off_is_a_part_that_is_switched_on():
    params = HstuParams(features=("user", "graph"))
    found = parts(params)
    assert found["with feature: cate"] == {"features": ["user", "graph", "cate"]}
    assert found["with edge bias"] == {"edge_bias": True}
    assert "with edge bias" not in parts(HstuParams(edge_bias=True))
    assert found["with recency"] == {"recency_scales": 3}
    assert "recency" not in found
    on = parts(HstuParams(recency_scales=5))
    assert on["recency"] == {"recency_scales": 0}
    assert "with recency" not in on
    assert "with time bias" in parts(HstuParams(time_bias=False))
    assert "with demand" not in parts(HstuParams(demand_days=0.0)), "how many days nobody said"
    for change in found.values():
        HstuParams(**{**params.model_dump(), **change})


def test_what_these_inputs_do_not_allow_is_told_and_leaves_the_others(
    trainings, capsys, monkeypatch
):
    def refusing(stage, workspace, params, staging, scratch):
        if params["hstu"].edge_bias:
            raise BadParams("hstu.edge_bias needs fewer items")
        return worth(params["hstu"])

    monkeypatch.setattr(module, "call", refusing)
    for _ in range(2):
        ablate(open_workspace("market"), ["edge bias", "time bias"], seeds=1, epochs=1)
        told = capsys.readouterr()
        assert "with edge bias: hstu.edge_bias needs fewer items" in told.err
    lines = {line.split("│")[1].strip(): line for line in told.out.splitlines() if "│" in line}
    assert not any(digit in lines["with edge bias"] for digit in "0123456789")
    assert "-0.0500" in lines["without time bias"]


def test_the_difference_is_printed_and_nothing_is_trained_twice(trainings, capsys):
    ablate(open_workspace("market"), ["time bias", "graph"], seeds=2, epochs=1)
    assert len(trainings) == 6
    assert {params.epochs for params in trainings} == {1}
    assert not any(params.sasrec or params.two_tower for params in trainings)
    told = capsys.readouterr().out
    lines = {line.split("│")[1].strip(): line for line in told.splitlines() if "│" in line}
    assert "-0.0500 ± 0.0000" in lines["without time bias"]
    assert "-0.0200 ± 0.0000" in lines["without feature: graph"]
    assert "+0.0000" in lines["without feature: graph"]
    ablate(open_workspace("market"), ["time bias", "graph"], seeds=2, epochs=1)
    assert len(trainings) == 6
    assert capsys.readouterr().out == told
    open_workspace("market").artifact("events").write_text("other events")
    ablate(open_workspace("market"), ["time bias"], seeds=1, epochs=1)
    assert len(trainings) == 8, "other inputs, other figures"
    kept = json.loads((open_workspace("market").data / "ablation.json").read_text())
    assert sorted(one["part"] for one in kept.values()) == sorted(
        [*2 * ["everything", "feature: graph", "time bias"], "everything", "time bias"]
    )


def test_a_part_that_is_not_there_is_refused_before_any_training(trainings):
    with pytest.raises(BadParams, match="there is no part 'wings': choose one of feature: user"):
        ablate(open_workspace("market"), ["time bias", "wings"], seeds=1, epochs=None)
    assert not trainings


def test_a_profile_that_never_ran_is_refused(trainings):
    open_workspace("market").artifact("model").rmdir()
    with pytest.raises(BadInput, match="never ran"):
        ablate(open_workspace("market"), [], seeds=1, epochs=None)
    assert not trainings
