"""What blocks read of the past: all of it up to the cut, and nothing after."""

from datetime import timedelta

import numpy as np
import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split
from tessera.stages.sid.history import RETURN_DAYS, acquired, price_measures, read_history
from tessera.stages.sid.params import SidParams
from tests.stages.sid.conftest import CUT

SPLIT = Split(CUT - timedelta(28), CUT, CUT + timedelta(28))
IDS = [f"i{k:03d}" for k in range(48)]
ALL = SidParams(price_weight=1.0, behaviour_weight=1.0)


def test_an_event_after_the_cut_is_an_error(catalogue):
    events = catalogue.events(late=[(0, 1)])
    with pytest.raises(BadInput, match="after the cut"):
        acquired(events, IDS, SPLIT, ALL)
    before = read_history(catalogue.events(), catalogue.prices(), IDS, SPLIT, ALL)
    after = read_history(events, catalogue.prices(), IDS, SPLIT, ALL)
    assert (before.acquired_UN != after.acquired_UN).nnz == 0


def test_a_close_after_the_cut_is_an_error(catalogue):
    closes = [("i000", 9, 1.0), ("i000", 8, 2.0)]
    late = catalogue.prices([*closes, ("i000", -1, 99.0)])
    with pytest.raises(BadInput, match="after the cut"):
        price_measures(late, IDS, SPLIT)
    plain = read_history(catalogue.events(), catalogue.prices(closes), IDS, SPLIT, ALL)
    found = read_history(catalogue.events(), late, IDS, SPLIT, ALL)
    np.testing.assert_array_equal(plain.price_NP, found.price_NP)


def test_the_close_of_the_day_of_the_cut_is_not_known_yet(catalogue):
    closes = [("i000", 9, 1.0), ("i000", 8, 2.0)]
    plain, more = (
        read_history(catalogue.events(), catalogue.prices(rows), IDS, SPLIT, ALL).price_NP
        for rows in (closes, [*closes, ("i000", 0, 99.0)])
    )
    np.testing.assert_array_equal(plain, more)


def test_a_price_that_is_no_number_is_passed_over(catalogue):
    closes = [("i000", 9, 1.0), ("i000", 7, 2.0)]
    bad = [("i000", 8, float("nan")), ("i001", 5, float("nan")), ("i002", 5, 1.0)]
    plain, found = (
        price_measures(catalogue.prices(rows), IDS, SPLIT) for rows in (closes, closes + bad)
    )
    np.testing.assert_array_equal(plain, found)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()


def test_returns_are_taken_from_the_last_close_before_each_span(catalogue):
    closes = [("i007", ago, price) for ago, price in ((400, 1.0), (100, 2.0), (40, 4.0), (1, 8.0))]
    found = price_measures(catalogue.prices(closes), IDS, SPLIT)[7]
    assert RETURN_DAYS == (30, 90, 365)
    assert np.exp(found[:3]) == pytest.approx([2.0, 4.0, 8.0])
    assert found[3:] == pytest.approx([0.0, 0.0, np.log(401)])


def test_the_fall_of_one_item_is_not_that_of_another(catalogue):
    falls = [("i001", 3, 4.0), ("i001", 2, 1.0), ("i002", 3, 1.0), ("i002", 2, 1.5)]
    found = price_measures(catalogue.prices(falls), IDS, SPLIT)
    assert np.exp(found[1, 4]) == pytest.approx(0.25)
    assert found[2, 4] == pytest.approx(0.0)


def test_what_no_block_reads_is_not_read(catalogue):
    found = read_history(catalogue.events(), catalogue.prices(), IDS, SPLIT, SidParams())
    assert found.acquired_UN.shape == (0, 48)
    assert np.isnan(found.price_NP).all()
