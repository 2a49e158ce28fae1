import doctest

import pytest

from tessera.shared.features import prices
from tessera.shared.metrics import bootstrap, calibration, diversity, popularity, profit, ranking

MODULES = (bootstrap, calibration, diversity, popularity, prices, profit, ranking)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_in_the_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
