"""Ids are looked up as one by one, whatever runs and chunks they come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.lookup import distinct_of, rows_of


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_those_of_a_look_at_each(seed):
    rng = np.random.default_rng(seed)
    known = [f"i{n}" for n in rng.permutation(20)]
    asked = np.repeat(rng.choice([*known, "gone", None], 30), rng.integers(1, 4, 30)).tolist()
    wanted = [known.index(one) if one in known else -1 for one in asked]
    whole = pa.array(asked, pa.string())
    parts = pa.chunked_array([whole[:7], whole[7:7], whole[7:]], pa.string())
    for column in (whole, parts, pa.chunked_array([], pa.string()), whole[5:20]):
        length = len(column)
        start = 5 if length == 15 else 0
        assert rows_of(column, known).tolist() == wanted[start : start + length]
    assert rows_of(whole.dictionary_encode().cast(pa.string()), pa.array(known)).tolist() == wanted


def test_other_types_are_looked_up_too():
    assert rows_of(pa.array([3, 3, None, 9]), pa.array([9, 3])).tolist() == [1, 1, -1, 0]


@pytest.mark.parametrize("numbers", [[], [5], [2, 1, 2], [np.iinfo(np.int64).min, 0, 0]])
def test_distinct_numbers_are_those_of_numpy(numbers):
    numbers = np.array(numbers, np.int64)
    np.testing.assert_array_equal(distinct_of(numbers), np.unique(numbers))
