"""ATE, AUUC and Qini against hand-computed values, the Hillstrom trial, and noise."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tessera.stages.uplift.curves import Arms, ate, auuc
from tessera.stages.uplift.params import UpliftParams
from tessera.stages.uplift.report import (
    Predicted,
    _deciles,
    _draws,
    _Measured,
    robust_effects,
    summary,
)
from tessera.stages.uplift.trials import Trials


def trials(treated_R, bought_R, users=500):
    user = np.arange(len(treated_R)) % users
    ids = pa.array([f"u{u}" for u in user])
    return Trials(
        rows=pa.table({"user_id": pa.chunked_array([ids])}),
        feature_RF=np.zeros((len(treated_R), 1), dtype=np.float32),
        treated_R=treated_R,
        weight_R=np.full(len(treated_R), 2.0),
        chance_R=np.full(len(treated_R), 0.5),
        bought_R=bought_R.astype(float),
    )


def told(found, effect_R, fold_R=None, **params):
    """Summary of one learner without an outcome model."""
    nothing_R = np.zeros(len(found))
    fold_R = nothing_R.astype(np.int64) if fold_R is None else fold_R
    predicted = Predicted({"x": effect_R}, nothing_R, nothing_R)
    return summary(found, predicted, fold_R, UpliftParams(**{"permutations": 1, **params}))


@pytest.mark.real_data
@pytest.mark.parametrize(("mail", "effect"), [("Mens", 0.076590), ("Womens", 0.045233)])
def test_the_hillstrom_trial_gives_its_known_effects(official, mail, effect):
    rows = pd.read_csv(official / "hillstrom" / "hillstrom_email.csv.gz")
    rows = rows[rows["segment"].isin([f"{mail} E-Mail", "No E-Mail"])]
    treated_R = (rows["segment"] != "No E-Mail").to_numpy()
    arms = Arms(treated_R, np.ones(len(rows)), rows["visit"].to_numpy(dtype=float))
    assert ate(arms) == pytest.approx(effect, abs=1e-6)


def test_weights_undo_an_unequal_chance():
    arms = Arms(
        treated_R=np.array([True, True, False, False]),
        weight_R=np.array([4.0, 1.0, 1.0, 1.0]),
        outcome_R=np.array([1.0, 0.0, 1.0, 0.0]),
    )
    assert ate(arms) == pytest.approx(0.8 - 0.5)


def test_the_area_under_the_uplift_curve_by_hand():
    # Shares .25 .5 .75 1; means of treated 1 1 .5 .5; of controls 0 0 0 0; trapezoids from 0.
    arms = Arms(
        treated_R=np.array([True, False, True, False]),
        weight_R=np.ones(4),
        outcome_R=np.array([1.0, 0.0, 0.0, 0.0]),
    )
    gains = [0.0, 0.25, 0.5, 0.375, 0.5]
    expected = sum((a + b) / 2 * 0.25 for a, b in pairwise(gains))
    assert auuc(arms, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(expected)


def test_a_perfect_ranking_beats_the_constant_row_and_its_reverse_does_not(rng):
    treated_R, responds_R = rng.random(8000) < 0.5, rng.random(8000) < 0.3
    found = trials(treated_R, rng.random(8000) < 0.1 + 0.4 * (treated_R & responds_R))
    best = told(found, responds_R * 0.4, bootstrap=50)
    worst = told(found, responds_R * -0.4, bootstrap=50)
    assert best["rows"]["x_learner"]["qini"]["low"] > 0 > worst["rows"]["x_learner"]["qini"]["high"]
    assert best["rows"]["constant_ate"]["auuc"]["value"] == pytest.approx(best["ate"]["value"] / 2)
    assert best["ate"]["value"] == pytest.approx(0.12, abs=0.03)
    assert 0.02 < best["ate"]["high"] - best["ate"]["low"] < 0.05


def test_the_interval_of_noise_holds_zero(rng):
    treated_R = rng.random(8000) < 0.5
    found = trials(treated_R, rng.random(8000) < 0.1 + 0.1 * treated_R)
    report = told(found, rng.random(8000), bootstrap=100)
    qini = report["rows"]["x_learner"]["qini"]
    assert qini["low"] < 0 < qini["high"]


def test_the_qini_is_the_gain_over_a_constant_effect_to_the_last_digit(rng):
    treated_R = rng.random(3000) < 0.5
    found = trials(treated_R, rng.random(3000) < 0.1 + 0.1 * treated_R)
    fold_R = np.arange(3000) % 3
    rows = told(found, rng.random(3000), fold_R, bootstrap=10)["rows"]
    gain = rows["x_learner"]["auuc"]["value"] - rows["constant_ate"]["auuc"]["value"]
    assert rows["x_learner"]["qini"]["value"] == pytest.approx(gain, abs=1e-15)


def test_an_investor_with_many_requests_counts_once_in_the_interval(rng):
    # One draw of outcome and arm for each investor, repeated: 20 times the rows, no new evidence.
    treated_U, bought_U = rng.random(400) < 0.5, rng.random(400) < 0.3
    once = trials(treated_U, bought_U, users=400)
    often = trials(np.tile(treated_U, 20), np.tile(bought_U, 20), users=400)
    widths = []
    for found in (once, often):
        report = told(found, np.zeros(len(found)), bootstrap=200)
        widths.append(report["ate"]["high"] - report["ate"]["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_the_tenths_hold_what_was_planted_whatever_the_outcome_model(rng):
    effect_R = np.repeat(np.arange(10) / 20, 2000)
    treated_R = rng.random(20_000) < 0.5
    found = trials(treated_R, rng.random(20_000) < 0.2 + treated_R * effect_R, users=20_000)
    wrong_R = np.full(20_000, 0.9)
    predicted = Predicted({"x": effect_R, "s": effect_R + 0.3}, wrong_R, wrong_R)
    params = UpliftParams(permutations=1, bootstrap=200, alpha=0.01)
    found = summary(found, predicted, np.zeros(20_000, dtype=np.int64), params)["deciles"]
    assert [row["predicted"] for row in found["x_learner"]] == pytest.approx(np.arange(10) / 20)
    for row, shifted in zip(found["x_learner"], found["s_learner"], strict=True):
        assert row["measured"]["low"] < row["predicted"] < row["measured"]["high"]
        assert shifted["measured"]["high"] < shifted["predicted"]


def test_doubly_robust_effects_by_hand():
    found = trials(np.array([True, False]), np.array([1.0, 0.0]))
    good_1, good_0 = np.array([0.8, 0.6]), np.array([0.1, 0.2])
    effect_R = robust_effects(found, Predicted({}, good_1, good_0))
    assert effect_R == pytest.approx([0.7 + 2 * 0.2, 0.4 - 2 * (-0.2)])


def test_the_row_of_a_constant_effect_stands_in_every_table(rng):
    treated_R = rng.random(400) < 0.5
    rows = told(trials(treated_R, rng.random(400) < 0.3), rng.random(400), bootstrap=10)["rows"]
    assert list(rows) == ["x_learner", "constant_ate", "outcome_only", "random_score"]
    assert rows["constant_ate"]["qini"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_tenth_of_one_investor_has_an_interval_though_resamples_miss_it():
    score_R = np.arange(20.0)
    cluster_R = np.repeat(np.arange(10), 2)
    measured = _Measured(np.full(20, 0.5), cluster_R, _draws(10, 50, np.random.default_rng(0)), 0.1)
    for tenth in _deciles(score_R, score_R, measured):
        assert tenth["measured"] == {"value": 0.5, "low": 0.5, "high": 0.5}
