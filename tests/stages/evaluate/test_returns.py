"""Returns of the test period, from closes as a bank's table holds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.split import Split
from tessera.stages.evaluate.returns import measure_returns

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = [(1, 9, 1.0), (1, 17, 10.0), (181, 17, 12.0), (181, 9, 99.0)]
"""Day, hour and close: each day has two, and the later one counts."""


def _measured(rows, until):
    moments = [START + timedelta(days=day, hours=hour) for day, hour, _ in rows]
    prices = ibis.memtable(
        pa.table(
            {
                "item_id": ["i1"] * len(rows),
                "price_ts": pa.array(moments, pa.timestamp("us", "UTC")),
                "close_eur": [close for *_, close in rows],
            }
        )
    )
    holdout = SimpleNamespace(item_ids=pa.array(["i1"]), candidate_I=np.array([True]))
    return measure_returns(prices, holdout, Split(START, START, until))


def test_the_last_of_two_closes_of_a_day_counts():
    found = _measured(ROWS, START + timedelta(days=182))
    np.testing.assert_allclose(found.return_I, [0.2])
    assert found.flagged == ()


@pytest.mark.parametrize(("hours", "told"), [(23, False), (24, True)])
def test_a_period_within_a_day_has_no_return(hours, told):
    found = _measured([(0, 1, 10.0), (1, 1, 11.0)], START + timedelta(hours=hours))
    assert (found is not None) is told
