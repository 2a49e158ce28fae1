import numpy as np
import pytest

from tessera.shared.features.prices import (
    NAMES,
    PriceHistory,
    close_before,
    price_features,
    volatility,
)

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


@pytest.fixture
def walk(rng):
    """Closes of 30 items on 400 days, each a random walk with gaps."""
    item_P, day_P = (axis.ravel() for axis in np.mgrid[0:30, 1000:1400])
    kept_P = rng.random(len(item_P)) < 0.8
    close_P = np.exp(np.cumsum(rng.normal(0, 0.02, len(item_P))))
    return PriceHistory(item_P[kept_P], day_P[kept_P], close_P[kept_P])


@pytest.mark.parametrize("future", ["other prices", "none", "more items"])
def test_closes_of_the_future_leave_every_bit_as_it_is(walk, rng, future):
    item_Q, day_Q = rng.integers(0, 30, 5000), rng.integers(1000, 1301, 5000)
    later_P = walk.day_P >= 1300
    if future == "other prices":
        factor_P = np.where(later_P, rng.lognormal(0, 3, len(later_P)), 1.0)
        other = PriceHistory(walk.item_P, walk.day_P, walk.close_P * factor_P)
    elif future == "none":
        other = PriceHistory(walk.item_P[~later_P], walk.day_P[~later_P], walk.close_P[~later_P])
    else:
        parts = ((walk.item_P, [30, 30, 31]), (walk.day_P, [1310, 1320, 1330]),
                 (walk.close_P, [1.0, 1e6, 3.0]))  # fmt: skip
        other = PriceHistory(*(np.append(array_P, more) for array_P, more in parts))
    for told in (price_features, volatility):
        assert told(walk, item_Q, day_Q).tobytes() == told(other, item_Q, day_Q).tobytes()


def test_volatility_is_the_standard_deviation_of_the_log_returns_in_the_window(walk):
    item, day = 7, 1250
    inside_P = (walk.item_P == item) & (walk.day_P >= day - 90) & (walk.day_P < day)
    expected = np.diff(np.log(walk.close_P[inside_P])).std()
    found = volatility(walk, np.array([item]), np.array([day]))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
