import re

import numpy as np
import pytest

from tessera.contracts.errors import BadParams
from tessera.contracts.tables import RISK_CLASSES
from tessera.shared.policies.suitability import (
    UNKNOWN,
    UNKNOWN_ITEM,
    UNKNOWN_USER,
    Unknown,
    read_unknown,
    suitable,
    write_unknown,
)


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


def test_a_bank_may_say_what_unknown_counts_as():
    said = Unknown(user=3, item=2)
    assert suitable([None, 1, 2], [3, None, None], said).tolist() == [True, False, True]
    assert suitable([2, 3], [2, 4], said).tolist() == [True, False], "what is known stays"


@pytest.mark.parametrize("wrong", [{"user": 0}, {"item": 5}])
def test_there_is_no_class_beyond_the_four(wrong):
    with pytest.raises(BadParams, match="risk classes are 1 to 4"):
        Unknown(**wrong)


def test_what_unknown_counts_as_survives_its_file(tmp_path):
    write_unknown(Unknown(3, 2), {"nothing_suits": 7}, tmp_path / "suitability.json")
    assert read_unknown(tmp_path / "suitability.json") == Unknown(3, 2)


@pytest.mark.parametrize(
    "module",
    [
        "stages/index/facts.py",
        "serve/investors.py",
        "serve/recommend.py",
        "stages/ope/exposures.py",
    ],
)
def test_what_unknown_means_is_said_nowhere_else(module, repository):
    text = (repository / "src" / "tessera" / module).read_text()
    assert "tessera.shared.policies.suitability import" in text
    assert not re.search(
        r"fill_null\([1-9]|UNKNOWN\w* = |Investor\(user_id, [0-9]|less_equal", text
    )
