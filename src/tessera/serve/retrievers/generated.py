"""Items by their codes, decoded level by level from the trunk's state over the trie of the bundle.

What may not be shown is left out inside the beam, at every level, so that every beam ends at an
item that may.  An item has a code before anybody met it, so it is found on its first day.  A bundle
decodes codes if its model was trained with `hstu.generate` (decision 47).

Legend: I items of the bundle, V items of the model with padding first, K found ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

if TYPE_CHECKING:  # torch takes seconds, and a bundle that decodes nothing needs none
    from tessera.model.trunk.decoding import Decoding

BEAMS = 50
"""Prefixes that a search keeps, unless a longer list is asked for."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The generative head of a bundle, and all items that have a code."""

    shelf: Shelf
    decoding: Decoding
    row_V: Ints
    """Row I of each item of the model; that of no item behind the last one."""
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the likeliest; an investor without a vector is left to others."""
        if who.vector_D is None:
            return None
        most = min(most, int(np.count_nonzero(eligible_I)))
        open_V = np.append(eligible_I, np.False_)[self.row_V]
        found = self.decoding.likeliest(who.vector_D, open_V, most, max(most, BEAMS))
        return Found.best(self.row_V[found[0]], found[1], self.shelf.rank_I, most)


def open_retriever(bundle: Path, shelf: Shelf) -> Generated | None:
    """Read the generative head; None if the model of the bundle has none."""
    config = bundle / "model" / "config.json"
    if not config.exists():
        return None
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its model cannot be read", "publish it again"
    ):
        if "generative_head" not in json.loads(config.read_text()):
            return None
    from tessera.model.trunk.decoding import Decoding

    decoding = Decoding.open(config.parent)
    if decoding is None:
        return None
    row_V = np.append(len(shelf.ids), shelf.rows_of(decoding.vocabulary))
    row_V[row_V < 0] = len(shelf.ids)
    return Generated(shelf, decoding, row_V)
