import numpy as np
import pytest

from tessera.shared.metrics.profit import (
    Closes,
    market_roi,
    monthly,
    period_return,
    priced_at_both_ends,
    roi,
    roi_draws,
    suspicious_items,
)

START, END = 1000, 1183


def closes(*rows):
    item, day, close = zip(*rows, strict=True)
    return Closes(np.array(item), np.array(day), np.array(close, dtype=float))


def test_return_runs_from_the_first_close_near_the_start_to_the_last_before_the_end():
    prices = closes((0, 990, 10), (0, 1005, 11), (0, 1170, 14), (0, 1180, 15), (0, 1184, 99))
    assert period_return(prices, 1, START, END)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("start_day", "end_day", "usable"),
    [
        (985, 1183, False),  # the start window is open on the left
        (986, 1183, True),
        (1015, 1183, True),  # closed on the right
        (1016, 1183, False),
        (1000, 1168, False),  # the end window is open on the left
        (1000, 1169, True),
        (1000, 1184, False),  # and nothing after the end is read
    ],
)
def test_windows_include_exactly_their_days(start_day, end_day, usable):
    found = period_return(closes((0, start_day, 10), (0, end_day, 12)), 1, START, END)
    assert np.isfinite(found[0]) == usable


def test_the_priced_subset_takes_closes_on_either_side_of_both_ends():
    prices = closes((0, 985, 1), (0, 1168, 1), (1, 1000, 1), (1, 1199, 1))
    assert priced_at_both_ends(prices, 3, START, END).tolist() == [True, False, False]


def test_items_do_not_borrow_the_closes_of_their_neighbours():
    prices = closes((0, 1000, 10), (1, 1180, 12))
    assert np.isnan(period_return(prices, 2, START, END)).all()


def test_monthly_return_compounds_to_the_total():
    month = monthly(np.array([0.5, -1.0]), 183)
    assert (1 + month[0]) ** (183 / 30) == pytest.approx(1.5)
    assert month[1] == -1.0


def test_roi_averages_the_first_k_priced_items_and_counts_empty_lists_zero():
    returns = np.array([0.1, np.nan, 0.3, 0.9])
    lists = np.array([[1, 0, 2, 3], [-1, -1, -1, -1], [1, -1, -1, -1]])
    expected = [1.2 ** (30 / 60) - 1, 0.0, 0.0]
    np.testing.assert_allclose(roi(lists, returns, 60, 2), expected)


def test_market_is_the_mean_return_by_month():
    assert market_roi(np.array([0.1, np.nan, 0.32]), 60) == pytest.approx(0.1)
    assert market_roi(np.array([np.nan]), 60) == 0.0


def test_redrawn_assets_centre_on_the_roi_of_the_list(rng):
    returns = np.append(rng.normal(0.05, 0.2, 200), np.nan)
    lists = np.arange(200).reshape(20, 10)
    drawn = roi_draws(lists, returns, 180, 300, rng)
    assert drawn.mean() == pytest.approx(roi(lists, returns, 180, 10).mean(), abs=0.002)
    assert 0 < drawn.std() < 0.02


def test_a_jump_within_ten_days_is_flagged_even_through_small_steps():
    steps = [(2, day, 10.0 * 0.9**day) for day in range(10)]
    slow = [(3, 20 * day, 10.0 * 0.4**day) for day in range(4)]
    assert suspicious_items(closes((1, 1, 10), (1, 2, 14), *steps, *slow)).tolist() == [2]
