"""What the codes of a bundle mean in words, and which of the words are true of which item.

Two tables: `code_words.parquet`, a row for each beginning of a code that two items or more have;
and `item_words.parquet`, a row an item with its code (the suffix left out) and a bit for each word
of each of its beginnings that is true of it.

Shapes: I items in the order of a bundle's table, L levels, S items shown, H items held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrays import Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors

CODES, ITEMS = "code_words.parquet", "item_words.parquet"
WIDTH = 4
"""Bits of a level: one for each of its words."""
_SAID = 3
"""Words that are told of what two items share."""

Prefix = tuple[int, ...]


class Rows(Protocol):
    """Where items stand in a bundle's table."""

    @property
    def ids(self) -> list[str]:
        """Items in the order of the table."""

    def rows_of(self, items: list[str]) -> Ints:
        """Return the row of each of many items, -1 of what is none."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What an item has in common with one that is held."""

    held: int
    """Row I of what is held."""
    levels: int
    """Leading codewords that both have."""
    words: tuple[str, ...]
    """Words of these codewords that are true of both."""


@dataclass(frozen=True, slots=True)
class CodeWords:
    """The words of a bundle, for items by their row."""

    words: Mapping[Prefix, tuple[str, ...]]
    items: Mapping[Prefix, int]
    """Items that begin so."""
    code_IL: Ints
    """-1 of an item without a code."""
    bits_I: Ints

    @classmethod
    def open(cls, bundle: Path, rows: Rows) -> CodeWords | None:
        """Read what `index` wrote; None if the bundle has no words.

        Raises
        ------
        BrokenBundle
            If it cannot be read.
        """
        if not (bundle / ITEMS).exists():
            return None
        with translate_errors(
            BrokenBundle,
            f"{bundle.name}: the words of its codes cannot be read",
            "publish it again",
        ):
            return cls.of(pq.read_table(bundle / CODES), pq.read_table(bundle / ITEMS), rows)

    @classmethod
    def of(cls, codes: pa.Table, items: pa.Table, rows: Rows) -> CodeWords:
        """Take both tables."""
        prefixes = [tuple(one) for one in codes["prefix"].to_pylist()]
        words = dict(zip(prefixes, map(tuple, codes["words"].to_pylist()), strict=True))
        counts = dict(zip(prefixes, codes["items"].to_pylist(), strict=True))
        flat = items["code"].combine_chunks()
        levels = len(flat.flatten()) // max(len(items), 1)
        code_IL = np.full((len(rows.ids), levels), -1, np.int64)
        bits_I = np.zeros(len(rows.ids), np.int64)
        row_N = rows.rows_of(items["item_id"].to_pylist())
        known_N = row_N >= 0
        code_IL[row_N[known_N]] = flat.flatten().to_numpy().reshape(-1, levels)[known_N]
        bits_I[row_N[known_N]] = items["bits"].to_numpy()[known_N]
        return cls(words, counts, code_IL, bits_I)

    def shared(self, held: Ints, shown: Ints) -> dict[int, Shared]:
        """Return what each row shown has in common with the one held that is most like it.

        Only words that are true of both are told, and where there is none, nothing is.  Of equally
        long beginnings the item that stands first among those held is taken.
        """
        if not len(held) or not len(shown):
            return {}
        same_SHL = self.code_IL[shown][:, None] == self.code_IL[held][None]
        same_SHL &= self.code_IL[shown][:, None] >= 0
        depth_SH = np.logical_and.accumulate(same_SHL, axis=2).sum(axis=2)
        found = {}
        for row, depth_H in zip(shown.tolist(), depth_SH, strict=True):
            for at in np.argsort(-depth_H, kind="stable").tolist():
                depth, source = int(depth_H[at]), int(held[at])
                told = self.true_of(row, depth, int(self.bits_I[row] & self.bits_I[source]))
                if told and source != row:
                    found[row] = Shared(source, depth, told[:_SAID])
                    break
                if not depth:
                    break
        return found

    def true_of(self, row: int, levels: int, bits: int) -> tuple[str, ...]:
        """Words of the first levels of an item's code whose bit is set, coarse first."""
        code = self.code_IL[row].tolist()
        return tuple(dict.fromkeys(
            word
            for level in range(levels)
            for place, word in enumerate(self.words.get(tuple(code[: level + 1]), ()))
            if bits >> (WIDTH * level + place) & 1
        ))  # fmt: skip
