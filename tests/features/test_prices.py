import numpy as np
import pytest

from tessera.features.prices import NAMES, PriceHistory, close_before, price_features

HISTORY = PriceHistory(
    item_P=np.array([0, 0, 0, 1, 1]),
    day_P=np.array([100, 131, 161, 50, 100]),
    close_P=np.array([10.0, 11.0, 12.0, 3.0, 4.0]),
)


def ask(item, day):
    row = price_features(HISTORY, np.array([item]), np.array([day]))[0]
    return dict(zip(NAMES, row, strict=True))


def test_features_match_hand_computation():
    found = ask(0, 162)
    assert found["return_30d"] == pytest.approx(np.log(12 / 11))
    assert np.isnan(found["return_90d"])
    assert found["price_age_days"] == 1
    assert found["price_missing"] == 0


def test_the_close_of_the_day_itself_is_not_known_yet():
    assert ask(0, 161)["price_age_days"] == 30
    assert ask(0, 131)["price_missing"] == 1


def test_an_old_close_is_missing_not_filled_in():
    found = ask(1, 131)
    assert found["price_missing"] == 1
    assert np.isnan(found["return_30d"])
    assert np.isnan(found["price_age_days"])


def test_an_item_never_borrows_from_the_one_before():
    assert np.isnan(close_before(HISTORY, np.array([1]), np.array([50])))[0]
    assert ask(2, 162)["price_missing"] == 1


def test_later_closes_change_nothing(rng):
    item, day = rng.integers(0, 2, 200), rng.integers(90, 140, 200)
    later = HISTORY.day_P >= 140
    future = np.where(later, 999.0, HISTORY.close_P)
    changed = PriceHistory(HISTORY.item_P, HISTORY.day_P, future)
    np.testing.assert_array_equal(
        price_features(HISTORY, item, day), price_features(changed, item, day)
    )


def test_without_closes_everything_is_missing():
    empty = PriceHistory(np.empty(0, int), np.empty(0, int), np.empty(0))
    found = price_features(empty, np.array([0, 1]), np.array([5, 6]))
    assert found[:, NAMES.index("price_missing")].tolist() == [1.0, 1.0]
