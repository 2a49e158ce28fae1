"""What the code of one item says: the words of each level, and which items share it so far.

Shapes: N items with a code, L levels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tessera.bundles.words import CodeWords
from tessera.contracts.arrays import Ints
from tessera.contracts.errors import BadInput
from tessera.platform.watching.codes import read_codes
from tessera.serve.shelf import Shelf

SIBLINGS = 5
"""Siblings of a level that are named."""
_NEAR = 3
_MANY = 20_000
"""Ids that are all compared with one that is unknown; of more, those next to it by letters."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a code."""

    codeword: int
    words: tuple[str, ...]
    """What sets the codes that begin so apart from their siblings."""
    true: tuple[str, ...]
    """Those of them that are true of the item."""
    items: int
    """Items that begin so, itself included."""
    siblings: tuple[str, ...]
    """Names of some that share this level and not the next."""


@dataclass(frozen=True, slots=True)
class CodedItem:
    """An item and its code."""

    item_id: str
    name: str
    sid: str
    levels: tuple[Level, ...]
    told: bool
    """Whether the bundle carries words at all."""


def look_up(bundle: Path, item_id: str) -> CodedItem:
    """Read what the code of an item in a published bundle says.

    Raises
    ------
    BadInput
        If the bundle has no codes, or no such item; the nearest ids are named.
    """
    coded = read_codes(bundle)
    if coded is None:
        raise BadInput(
            f"{bundle.name} is the policy that wrote the log and has no codes: publish a model "
            "first, or see those of the last run by `tessera sid --page semantic_ids.html`"
        )
    ids, code_NL = coded
    if item_id not in ids:
        raise BadInput(f"no item {item_id!r} in {bundle.name}: {_nearest(item_id, ids)}")
    row = ids.index(item_id)
    items = pq.read_table(bundle / "items.parquet", columns=["item_id", "name"])
    name = dict(zip(items["item_id"].to_pylist(), items["name"].to_pylist(), strict=True))
    shelf = Shelf.of(items)
    words = CodeWords.open(bundle, shelf)
    shared_N = np.cumprod(code_NL[:, :-1] == code_NL[row, :-1], axis=1).sum(axis=1)
    levels = tuple(
        Level(
            int(code_NL[row, depth]),
            *_words(words, shelf, item_id, code_NL[row], depth),
            int((shared_N > depth).sum()),
            tuple(_siblings(shared_N, depth, ids, row, name)),
        )
        for depth in range(code_NL.shape[1] - 1)
    )
    sid = "-".join(map(str, code_NL[row].tolist()))
    return CodedItem(item_id, name.get(item_id) or item_id, sid, levels, words is not None)


def _words(
    words: CodeWords | None, shelf: Shelf, item_id: str, code_L: Ints, depth: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if words is None or item_id not in shelf.row:
        return (), ()
    row = shelf.row[item_id]
    all_of = words.words.get(tuple(code_L[: depth + 1].tolist()), ())
    true = words.true_of(row, depth + 1, int(words.bits_I[row]))
    return all_of, tuple(word for word in all_of if word in true)


def _siblings(
    shared_N: Ints, depth: int, ids: Sequence[str], row: int, name: dict[str, str]
) -> list[str]:
    """Names of items that share so many levels and no more; at the last, all that share it."""
    last = depth == int(shared_N.max()) - 1
    among_N = shared_N > depth if last else shared_N == depth + 1
    found = [ids[at] for at in np.flatnonzero(among_N).tolist() if at != row]
    return [name.get(item) or item for item in sorted(found)[:SIBLINGS]]


def _nearest(item_id: str, ids: Sequence[str]) -> str:
    ordered = sorted(ids)
    if len(ordered) > _MANY:
        at = bisect_left(ordered, item_id)
        ordered = ordered[max(at - 50, 0) : at + 50]
    near = get_close_matches(item_id, ordered, _NEAR, cutoff=0.0)
    return f"the nearest ids are {', '.join(near)}" if near else "it has no items"
