"""Closes are read alike in whatever order they lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import DAY_US
from tessera.model.sequences.catalogue import read_closes

IDS = ["a", "b", "c"]
START = datetime(2025, 1, 1, tzinfo=UTC)


def closes(item_P, day_P, close_P):
    times = [START + timedelta(days=int(day)) for day in day_P]
    rows = pa.table({"item_id": [[*IDS, "gone"][one] for one in item_P],
                     "price_ts": pa.array(times, pa.timestamp("us", tz="UTC")),
                     "close_eur": close_P})  # fmt: skip
    return read_closes(ibis.memtable(rows), IDS)


@pytest.mark.parametrize("seed", range(6))
def test_closes_lie_by_item_and_day_and_the_last_row_of_a_day_counts(seed):
    rng = np.random.default_rng(seed)
    item_P, day_P = rng.integers(0, 4, 40), rng.integers(0, 9, 40)
    close_P = rng.random(40)
    if seed % 2:  # as a bundle has them
        order = np.lexsort((day_P, item_P))
        item_P, day_P, close_P = item_P[order], day_P[order], close_P[order]
    found = closes(item_P, day_P, close_P)
    last = {(item, day): close for item, day, close in zip(item_P, day_P, close_P, strict=True)}
    first_day = int(START.timestamp()) * 1_000_000 // DAY_US
    assert [
        (item - 1, day - first_day, close)
        for item, day, close in zip(found.item_P, found.day_P, found.close_P, strict=True)
    ] == [(*key, last[key]) for key in sorted(last) if key[0] < 3]
