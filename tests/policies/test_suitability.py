import numpy as np

from tessera.policies.suitability import suitable


def test_an_item_fits_whoever_may_bear_its_risk():
    table = suitable(np.arange(1, 5)[:, None], np.arange(1, 5)[None, :])
    assert (table == np.tril(np.ones((4, 4), dtype=bool))).all()


def test_the_unknown_investor_is_cautious_and_the_unknown_item_risky():
    assert suitable([None, np.nan, 4.0], [1, 2, None]).tolist() == [True, False, True]
    assert suitable(3, [None, 3]).tolist() == [False, True]
