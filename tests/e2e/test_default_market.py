"""The default market leaves room for a better policy: the gate promotes it, and rightly."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tessera.platform.release import pointer
from tessera.platform.workspace import files
from tessera.shared.policies.slate import SlatePolicy
from tessera.stages.synth.truth import load_truth, logging_value, true_value

pytestmark = pytest.mark.timeout(1200)
"""A whole run: a guard against what hangs, not a measure of speed."""
UNREAD = {"uplift": {"report_learners": [], "bootstrap": 10, "permutations": 9}}
"""What the report on effects beside the published ones costs; nothing below reads it."""


@pytest.fixture(scope="module")
def promoted(warm, new_checkout):
    checkout = new_checkout(tiny=False)
    (checkout.root / "profiles" / "market.yaml").write_text(yaml.safe_dump(UNREAD))
    return checkout.open_workspace(), checkout.must("tessera", "run")


def test_the_trained_model_is_promoted_and_published(promoted):
    workspace, printed = promoted
    assert "PROMOTE" in printed
    assert pointer.current_version(workspace) == "v1"
    assert files.read_json(workspace.artifact("verdict"))["champion"] == "logging policy"


def test_the_log_is_as_long_as_promised(promoted):
    exposures = pq.read_table(promoted[0].artifact("exposures"), columns=["position"])
    assert pc.sum(pc.equal(exposures["position"], 1)).as_py() >= 200_000


def test_the_model_beats_every_baseline(promoted):
    models = files.read_json(promoted[0].artifact("ranking"))["models"]
    trained = models.pop("hstu")["ndcg_10"]
    assert trained > max(metrics["ndcg_10"] for metrics in models.values())


def test_the_true_lift_lies_inside_the_bounds(promoted):
    workspace, _ = promoted
    verdict = files.read_json(workspace.artifact("verdict"))
    policy = SlatePolicy(
        **{name: verdict["params"][name] for name in ("temperature", "epsilon", "top_k")}
    )
    scores = pq.read_table(workspace.artifact("scores")).sort_by("request_id")
    requests = pq.read_table(workspace.artifact("exposures"), columns=["request_id"])["request_id"]
    known = np.unique(requests.to_numpy())
    row_N = np.searchsorted(known, scores["request_id"].to_numpy())
    assert (np.diff(row_N) == 1).all(), "the scored requests are the last of the log"
    part = slice(int(row_N[0]), int(row_N[-1]) + 1)
    score_NC = np.array(scores["candidate_scores"].to_pylist())
    truth = load_truth(workspace.artifact("source"))
    lift = true_value(truth, score_NC, policy, part) - logging_value(truth, part)
    assert verdict["primary"]["lower"] < lift < verdict["primary"]["upper"]
