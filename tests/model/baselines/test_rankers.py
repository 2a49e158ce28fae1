"""DLRM and Wide & Deep learn what fields do together, and are judged as the ranking head is."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import ibis
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tessera.model.baselines.ranker_baselines import segments
from tessera.model.baselines.rankers import KINDS, Rows, fit_ranker
from tessera.model.nn.ranking import CLICK, TASKS
from tessera.model.params import HstuParams
from tessera.shared.metrics.calibration import expected_calibration_error

SIZES = (5, 2, 5)
PARAMS = HstuParams(learning_rate=0.01)
kinds = pytest.mark.parametrize("kind", KINDS)


def planted(rng, interaction, count=60_000):
    """Draw clicks from a segment, a category, a dense feature and what the two fields do together.

    Both fields are worth something alone; the interaction is a sign for each of their pairs.
    """
    segment, category = rng.integers(1, 5, count), rng.integers(1, 5, count)
    dense = rng.normal(size=count)
    sign = np.where((segment % 2) == (category % 2), 1.0, -1.0)
    logit = -1.0 + 0.4 * (segment - 2.5) - 0.4 * (category - 2.5) + 0.5 * dense
    logit += interaction * sign
    click = rng.random(count) < 1.0 / (1.0 + np.exp(-logit))
    label = np.zeros((count, len(TASKS)), np.float32)
    label[:, CLICK] = click
    return Rows(
        torch.tensor(dense[:, None], dtype=torch.float32),
        torch.from_numpy(np.column_stack([segment, np.ones_like(segment), category])),
        torch.ones(count, dtype=torch.long),
        torch.from_numpy(label),
        torch.ones(count, len(TASKS)),
    )


def parts(rows):
    index = torch.arange(len(rows))
    return [rows.take(index[index % 3 == part]) for part in range(3)]


def auc(ranker, rows):
    with torch.inference_mode():
        return roc_auc_score(rows.label_ST[:, CLICK].numpy(), ranker(rows)[:, CLICK].numpy())


def logistic_auc(learn, later):
    def told(rows):
        one_hot = torch.nn.functional.one_hot(rows.field_SK[:, [0, 2]], 5).flatten(1)
        return np.column_stack([rows.feature_SF.numpy(), one_hot.numpy()])

    model = LogisticRegression(max_iter=500).fit(told(learn), learn.label_ST[:, CLICK].numpy())
    chance = model.predict_proba(told(later))[:, 1]
    return roc_auc_score(later.label_ST[:, CLICK].numpy(), chance)


@kinds
def test_a_planted_interaction_is_found_where_logistic_regression_is_blind(rng, kind):
    learn, check, later = parts(planted(rng, interaction=1.5))
    found = auc(fit_ranker(kind, learn, check, SIZES, PARAMS), later)
    assert found > logistic_auc(learn, later) + 0.08


@kinds
def test_without_interaction_a_ranker_is_as_good_as_logistic_regression(rng, kind):
    learn, check, later = parts(planted(rng, interaction=0.0))
    found = auc(fit_ranker(kind, learn, check, SIZES, PARAMS), later)
    assert found == pytest.approx(logistic_auc(learn, later), abs=0.01)


def ece(ranker, rows, *, calibrated):
    with torch.inference_mode():
        logit_S = ranker(rows)[:, CLICK]
    chance_S = ranker.click_chance(logit_S) if calibrated else logit_S.sigmoid().double().numpy()
    return expected_calibration_error(chance_S, rows.label_ST[:, CLICK].double().numpy())


@kinds
def test_the_chance_of_a_click_is_calibrated_on_the_validation_rows(rng, kind):
    learn, check, later = parts(planted(rng, interaction=1.5))
    # Half of the clicks that there were before the validation period were never logged.
    learn.label_ST[:, CLICK] *= torch.from_numpy(rng.random(len(learn)) < 0.5)
    ranker = fit_ranker(kind, learn, check, SIZES, PARAMS)
    assert ece(ranker, later, calibrated=False) > 0.05
    assert ece(ranker, later, calibrated=True) < 0.02


@kinds
def test_without_both_answers_nothing_is_calibrated(rng, kind):
    learn, check, later = parts(planted(rng, interaction=0.0, count=3000))
    check.weight_ST[check.label_ST[:, CLICK] == 1.0, CLICK] = 0.0
    ranker = fit_ranker(kind, learn, check, SIZES, PARAMS)
    assert ranker.isotonic is None
    assert ece(ranker, later, calibrated=True) == ece(ranker, later, calibrated=False)


@kinds
def test_calibration_is_from_rows_not_learnt_from_even_with_refit(rng, kind):
    learn, check, _ = parts(planted(rng, interaction=0.0, count=3000))
    once, twice = (
        fit_ranker(kind, learn, check, SIZES, PARAMS.model_copy(update={"refit": refit}))
        for refit in (False, True)
    )
    np.testing.assert_array_equal(once.isotonic.X_thresholds_, twice.isotonic.X_thresholds_)


@kinds
def test_an_answer_that_nobody_knows_teaches_nothing(rng, kind):
    learn, check, _ = parts(planted(rng, interaction=1.0, count=3000))
    half = torch.arange(len(learn)) % 2 == 0
    learn.weight_ST[half] = 0.0
    one = fit_ranker(kind, learn, check, SIZES, PARAMS).state_dict()
    learn.label_ST[half] = 1.0
    two = fit_ranker(kind, learn, check, SIZES, PARAMS).state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@kinds
def test_refit_learns_from_the_validation_rows_too(rng, kind):
    learn, check, _ = parts(planted(rng, interaction=0.0, count=3000))
    twice = PARAMS.model_copy(update={"refit": True})
    check.feature_SF[:] += 100.0
    assert fit_ranker(kind, learn, check, SIZES, PARAMS).mean_F < 1
    assert fit_ranker(kind, learn, check, SIZES, twice).mean_F > 10


@kinds
def test_an_unknown_feature_counts_as_its_mean(rng, kind):
    learn, check, later = parts(planted(rng, interaction=0.0, count=3000))
    ranker = fit_ranker(kind, learn, check, SIZES, PARAMS)
    later.feature_SF[:] = float("nan")
    with torch.inference_mode():
        unknown = ranker(later)
        later.feature_SF[:] = ranker.mean_F
        assert torch.allclose(unknown, ranker(later), atol=1e-6)


@pytest.fixture
def ranked(run_baselines, slated, small):
    """Run the baselines with rankers or without on the slated market."""

    def stage(out, **changes):
        short = {"window_days": 2.0, "hold_days": 3.0, "sasrec": False, "slate_share": 1.0,
                 "epochs": 1}  # fmt: skip
        return run_baselines(slated, small.model_copy(update=short | changes), out)[1]

    return stage


def test_the_metrics_print_both_rankers(ranked):
    metrics = ranked("beside", rankers=True)
    for kind in ("dlrm", "wide_deep"):
        assert 0.0 <= metrics[f"rank_auc_click_{kind}"] <= 1.0
        assert 0.0 <= metrics[f"rank_ece_click_{kind}"] <= 1.0


def test_rankers_cost_nothing_unless_asked_for_and_are_the_same_again(ranked):
    assert not ranked("without")
    assert ranked("beside", rankers=True) == ranked("again", rankers=True)


def test_a_segment_is_read_as_of_the_request():
    day = timedelta(days=1)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    users = [("a", start, "retail"), ("a", start + 2 * day, "wealth"), ("b", start, None)]
    names = ("user_id", "valid_from", "segment")
    table = ibis.memtable([dict(zip(names, row, strict=True)) for row in users])
    asked = [("a", -1), ("a", 0), ("a", 1), ("a", 2), ("b", 2), ("c", 2)]
    moment_R = np.array([int((start + n * day).timestamp() * 1e6) for _, n in asked])
    log = SimpleNamespace(
        people=["a", "b", "c"],
        person_R=np.array(["abc".index(name) for name, _ in asked]),
        slates=SimpleNamespace(moment_R=moment_R),
    )
    assert segments(table, log).tolist() == [0, 1, 1, 2, 0, 0]
