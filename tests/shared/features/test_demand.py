"""What is expected of an item: its recent gains, and those of new items of its class."""

import numpy as np
import pytest

from tessera.contracts.arrow import DAY_US
from tessera.shared.features.demand import Acquired, Sale, expected_gains, mean_gains

HORIZON = 10.0
NOW = 100 * DAY_US
EVER = np.iinfo(np.int64).min


def acquired(*rows):
    """Rows of investor, item and day."""
    user_E, item_E, day_E = np.array(rows, np.int64).T
    return Acquired.of(user_E, item_E, day_E * DAY_US)


def gains_of(items, day, first_user=0):
    return [(first_user + n, item, day) for item, count in items.items() for n in range(count)]


def test_an_old_item_is_expected_to_gain_what_it_gained_lately():
    rows = gains_of({1: 8}, 95) + gains_of({2: 8}, 85)
    sale = Sale(np.full(3, EVER), np.array([0, 1, 1]))
    gain_V = expected_gains(acquired(*rows), sale, NOW, HORIZON)
    np.testing.assert_allclose(gain_V, [0.0, 8 / 1.25, 0.0])


def test_only_the_first_acquisition_of_a_pair_counts():
    rows = [(0, 1, 85), (0, 1, 95), (1, 1, 95)]
    sale = Sale(np.full(2, EVER), np.array([0, 0]))
    assert expected_gains(acquired(*rows), sale, NOW, HORIZON)[1] == pytest.approx(1 / 1.25)


def test_an_item_not_yet_on_sale_is_expected_to_gain_what_new_items_of_its_class_did():
    """Item 1 was new in the last horizon and item 2 in the one before; 3 and 4 are to come."""
    rows = gains_of({1: 30}, 95) + gains_of({2: 60}, 85) + gains_of({5: 1}, 20)
    since = np.array([0, 92, 82, 105, 105, -1]) * DAY_US
    since[[0, 5]] = EVER
    sale = Sale(since, np.array([0, 1, 1, 1, 2, 0]))
    gain_V = expected_gains(acquired(*rows), sale, NOW, HORIZON)
    assert gain_V[3] == pytest.approx((30 + 60) / (1 + 2))
    assert gain_V[4] == 0.0


def test_a_young_item_leans_on_its_class_the_more_the_younger_it_is():
    rows = gains_of({1: 60}, 85) + gains_of({2: 6, 3: 6}, 98) + gains_of({4: 1}, 20)
    since = np.array([0, 82, 91, 97, 0]) * DAY_US
    since[[0, 4]] = EVER
    sale = Sale(since, np.array([0, 1, 1, 1, 0]))
    gain_V = expected_gains(acquired(*rows), sale, NOW, HORIZON)
    like = (60 + 12) / (1 + 3)
    assert gain_V[2] == pytest.approx((6 + 0.25 * like) / (0.9 + 0.25))
    assert gain_V[3] == pytest.approx((6 + 0.25 * like) / (0.3 + 0.25))


def test_nothing_after_now_is_read():
    rows = gains_of({1: 8, 2: 3}, 95) + gains_of({3: 1}, 10)
    later = gains_of({1: 50, 2: 1, 3: 20}, 101, first_user=100)
    since = np.array([EVER, EVER, 92 * DAY_US, 103 * DAY_US])
    sale = Sale(since, np.array([0, 0, 1, 1]))
    known = expected_gains(acquired(*rows), sale, NOW, HORIZON)
    np.testing.assert_array_equal(
        known, expected_gains(acquired(*rows, *later), sale, NOW, HORIZON)
    )


def test_without_any_acquisition_nothing_is_expected():
    none = Acquired.of(*(np.empty(0, np.int64) for _ in range(3)))
    sale = Sale(np.full(3, EVER), np.zeros(3, np.int64))
    np.testing.assert_array_equal(expected_gains(none, sale, NOW, HORIZON), 0.0)


def test_mean_gains_spread_all_first_acquisitions_over_the_known_time():
    rows = gains_of({1: 8}, 60) + gains_of({2: 4}, 99) + gains_of({2: 9}, 101, first_user=50)
    found_V = mean_gains(acquired(*rows), 3, NOW, HORIZON)
    np.testing.assert_allclose(found_V, [0.0, 8 / 4, 4 / 4])
