import re

import numpy as np
import pytest

from tessera.contracts.tables import RISK_CLASSES
from tessera.policies.suitability import UNKNOWN, UNKNOWN_ITEM, UNKNOWN_USER, suitable


def test_an_item_fits_whoever_may_bear_its_risk():
    table = suitable(np.arange(1, 5)[:, None], np.arange(1, 5)[None, :])
    assert (table == np.tril(np.ones((4, 4), dtype=bool))).all()


def test_the_unknown_investor_is_cautious_and_the_unknown_item_risky():
    assert suitable([None, np.nan, 4.0], [1, 2, None]).tolist() == [True, False, True]
    assert suitable(3, [None, 3]).tolist() == [False, True]


def test_unknown_counts_as_the_lowest_investor_and_the_highest_item():
    classes = np.arange(1, len(RISK_CLASSES) + 1)
    assert (suitable(UNKNOWN, classes) == suitable(UNKNOWN_USER, classes)).all()
    assert (suitable(classes, UNKNOWN) == suitable(classes, UNKNOWN_ITEM)).all()
    assert suitable(UNKNOWN, classes).sum() == suitable(classes, UNKNOWN).sum() == 1


@pytest.mark.parametrize("module", ["index/facts.py", "serve/recommend.py", "ope/exposures.py"])
def test_what_unknown_means_is_said_nowhere_else(module, repository):
    text = (repository / "src" / "tessera" / module).read_text()
    assert "tessera.policies.suitability import" in text
    assert not re.search(
        r"fill_null\([1-9]|UNKNOWN\w* = |Investor\(user_id, [0-9]|less_equal", text
    )
