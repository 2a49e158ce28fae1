"""What two items have in common is said only in words that are true of both."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.bundles.words import CODES, ITEMS, WIDTH, CodeWords, Shared
from tessera.contracts.errors import BrokenBundle
from tessera.serve.shelf import Shelf

IDS = ["a", "b", "c", "d", "e"]
SHELF = Shelf.of(pa.table({"item_id": IDS}))
WORDS = [{"prefix": [3], "items": 4, "words": ["bond", "covered", "short"]},
         {"prefix": [3, 1], "items": 2, "words": ["elm"]},
         {"prefix": [7], "items": 2, "words": []}]  # fmt: skip


def bits(*levels):
    """Bits of the places that are true, level by level."""
    return sum(1 << (WIDTH * level + place) for level, places in enumerate(levels)
               for place in places)  # fmt: skip


ROWS = [
    {"item_id": "a", "code": [3, 1], "bits": bits([0, 1, 2], [0])},
    {"item_id": "b", "code": [3, 1], "bits": bits([0, 1], [0])},
    {"item_id": "c", "code": [3, 2], "bits": bits([0, 2])},
    {"item_id": "d", "code": [7, 1], "bits": bits([0])},
]


def words(rows=ROWS, codes=WORDS):
    return CodeWords.of(pa.Table.from_pylist(codes), pa.Table.from_pylist(rows), SHELF)


def shared(held, shown, **tables):
    found = words(**tables).shared(SHELF.rows(held), SHELF.rows(shown))
    return {IDS[row]: (IDS[one.held], one.levels, one.words) for row, one in found.items()}


def test_the_held_item_with_the_longest_common_beginning_is_told():
    assert shared(["c", "b"], "a") == {"a": ("b", 2, ("bond", "covered", "elm"))}
    assert shared(["c"], "a") == {"a": ("c", 1, ("bond", "short"))}


def test_a_word_that_is_not_true_of_both_is_not_said_and_without_any_nothing_is():
    rows = [dict(row) for row in ROWS]
    rows[2]["bits"] = bits([2])
    assert shared(["c"], "a", rows=rows) == {"a": ("c", 1, ("short",))}
    assert shared(["c"], "b", rows=rows) == {}
    assert shared(["c"], "a", codes=[WORDS[0] | {"words": []}]) == {}


def test_another_code_no_code_and_the_item_itself_have_nothing_in_common():
    assert shared(["d"], "a") == {}
    assert shared(["e"], ["a", "e"]) == {}
    assert shared(["a"], "a") == {}
    assert shared([], "a") == {}


def test_a_later_item_is_told_by_its_own_words():
    assert words().true_of(0, 2, ROWS[0]["bits"]) == ("bond", "covered", "short", "elm")
    assert words().items[3,] == 4


def test_a_bundle_without_words_has_none_and_a_damaged_one_says_so(tmp_path):
    assert CodeWords.open(tmp_path, SHELF) is None
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / ITEMS)
    pq.write_table(pa.Table.from_pylist(WORDS), tmp_path / CODES)
    found = CodeWords.open(tmp_path, SHELF)
    assert found.shared(np.array([1]), np.array([0])) == {
        0: Shared(1, 2, ("bond", "covered", "elm"))
    }
    (tmp_path / CODES).write_bytes(b"no table")
    with pytest.raises(BrokenBundle, match="words of its codes cannot be read"):
        CodeWords.open(tmp_path, SHELF)
