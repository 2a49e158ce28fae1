"""Rolling cuts: who is redrawn, how few dates there are, and windows that never overlap."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from benchmarks import rolling_models
from benchmarks.rolling import (
    Measured,
    compare,
    ndcg_table,
    over_dates,
    over_investors,
    roi_table,
    weigh_profit,
)
from benchmarks.rolling_models import WEIGHTS, WINDOWS, Asked, Window, listed, profit_name


def measured(cut, investors, own, rival, roi=None):
    ndcg = {"hstu": np.array(own), "ease": np.array(rival)}
    return Measured(Window(cut, 92), investors, ndcg, roi or {}, {})


def test_windows_follow_each_other_and_the_last_is_set_apart():
    starts = [datetime.fromisoformat(one.cut) for one in WINDOWS]
    ends = [at + timedelta(days=one.test_days) for at, one in zip(starts, WINDOWS, strict=True)]
    assert all(end <= after for end, after in zip(ends, starts[1:], strict=False))
    assert [one.apart for one in WINDOWS] == [False] * (len(WINDOWS) - 1) + [True]


def test_the_dates_are_as_few_as_they_are():
    found = over_dates(np.array([0.01, 0.02, 0.03]))
    # Student's quantile with two degrees of freedom is 4.3027, the error .01 / sqrt(3).
    reach = 4.3027 * 0.01 / np.sqrt(3)
    assert found["mean"] == pytest.approx(0.02)
    assert [found["low"], found["high"]] == pytest.approx([0.02 - reach, 0.02 + reach], abs=1e-6)


def test_an_investor_who_comes_back_counts_once_in_the_interval(rng):
    """Each of 50 investors comes with the same value in 20 windows: no more is known than of 50."""
    value_U = rng.normal(size=50)
    rows = np.repeat(np.arange(50), 20)
    found = over_investors(value_U[rows], rows.astype(str))
    alone = over_investors(value_U, np.arange(50).astype(str))
    naive = over_investors(value_U[rows], np.arange(1000).astype(str))
    width = {name: one["high"] - one["low"] for name, one in
             {"found": found, "alone": alone, "naive": naive}.items()}  # fmt: skip
    assert width["found"] == pytest.approx(width["alone"], rel=1e-9)
    assert width["naive"] < 0.35 * width["found"]


def test_a_lead_is_paired_and_pooled_over_the_windows():
    one = measured("2020-07-01", ["a", "b"], [0.5, 0.5], [0.4, 0.6])
    two = measured("2020-10-01", ["b", "c", "d"], [0.9, 0.3, 0.3], [0.3, 0.3, 0.3])
    found = compare([one, two], "hstu", "ease")
    assert found["investors"]["mean"] == pytest.approx((0.1 - 0.1 + 0.6) / 5)
    assert found["dates"]["mean"] == pytest.approx((0.0 + 0.2) / 2)
    table = ndcg_table([one, two], "hstu")
    assert table["hstu"]["by_window"] == pytest.approx({"2020-07-01": 0.5, "2020-10-01": 0.5})
    assert "ahead" not in table["hstu"]


def test_profit_is_told_of_the_dates_with_prices_alone():
    dates = [("2020-07-01", {"hstu": 0.01, "market": 0.02}), ("2021-01-01", None),
             ("2021-07-01", {"hstu": 0.03, "market": 0.02})]  # fmt: skip
    found = roi_table([measured(cut, ["a"], [0.1], [0.1], roi) for cut, roi in dates])
    assert list(found["hstu"]["by_window"]) == ["2020-07-01", "2021-07-01"]
    assert found["hstu"]["ahead_of_market"]["mean"] == pytest.approx(0.0)
    assert found["hstu"]["ahead_of_market"]["low"] < 0 < found["hstu"]["ahead_of_market"]["high"]


def by_weight(cut, roi_W):
    """Return a window in which the weights return this and rank as well as their number says."""
    names = [profit_name(weight) for weight in WEIGHTS]
    roi = {**dict(zip(names, roi_W, strict=True)), "market": 0.0} if roi_W else {}
    ndcg = {name: np.array([float(place)]) for place, name in enumerate(names)}
    return Measured(Window(cut, 92), ["a"], ndcg, roi, {})


def test_how_much_profit_counts_is_told_by_earlier_windows_alone():
    found = [
        by_weight("2020-07-01", [0.1, 0.1, 0.1, 0.1, 0.1]),
        by_weight("2020-10-01", [0.1, 0.2, 0.5, 0.1, 0.1]),
        by_weight("2021-01-01", []),
        by_weight("2021-07-01", [0.1, 0.2, 0.1, 0.9, 0.1]),
        by_weight("2021-10-01", [0.0, 0.0, 0.0, 0.0, 0.9]),
    ]
    told, chosen = weigh_profit(found)
    # Nothing is known before the first window; what returned the same everywhere says nothing.
    assert list(chosen.values()) == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert [float(one.ndcg["hstu_profit"][0]) for one in told] == [0, 0, 2, 2, 3]
    assert [one.roi.get("hstu_profit") for one in told] == [0.1, 0.1, None, 0.1, 0.0]


def test_a_window_is_trained_before_its_tables_are_read(monkeypatch, tmp_path):
    """On a fresh clone nothing is there to be read until the stages before training have run."""

    def train(window, seed):
        raise InterruptedError

    monkeypatch.setattr(rolling_models, "ROOT", tmp_path)
    monkeypatch.setenv("TESSERA_DATA", str(tmp_path))
    monkeypatch.setattr(rolling_models, "trained", train)
    with pytest.raises(InterruptedError):
        listed(Asked(WINDOWS[0]), 0)
