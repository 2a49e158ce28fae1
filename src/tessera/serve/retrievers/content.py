"""Items whose codes begin like those of what was acted on: content, for whoever is hardly known.

An item that nobody has met yet has a code as every other one.  Each further level that is shared
counts twice the one before it, and what was met last counts most.

Shapes: I items, N acted on, P beginnings of codes, L code length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

_FADES = 0.9
"""What an item counts, beside one that was met just after it."""


@dataclass(frozen=True, slots=True)
class Content:
    """Which beginnings the code of each item has, each with the root of what sharing it counts."""

    shelf: Shelf
    begin_IP: sparse.csr_matrix
    begin_PI: sparse.csr_matrix

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return what is most like all of it; None for whoever never did anything."""
        row_N = self.shelf.rows(who.recent or who.held)
        wanted_P = _FADES ** np.arange(len(row_N))[::-1] @ self.begin_IP[row_N]
        liked_P = np.flatnonzero(wanted_P)
        if not len(liked_P):
            return None
        score_I = wanted_P[liked_P] @ self.begin_PI[liked_P]
        row_C = np.flatnonzero(eligible_I & (score_I > 0))
        return Found.best(row_C, score_I[row_C], self.shelf.rank_I, most)


def open_retriever(bundle: Path, shelf: Shelf) -> Content | None:
    """Read the codes; None if the bundle has none."""
    if not (bundle / "trie.safetensors").exists():
        return None
    from tessera.bundles.vectors import read_codes

    with translate_errors(
        BrokenBundle, f"{bundle.name}: its codes cannot be read", "publish it again"
    ):
        ids, code_NL = read_codes(bundle)
    row_N = shelf.rows_of(ids)
    begin_IP = _beginnings(row_N[row_N >= 0], code_NL[row_N >= 0], len(shelf.ids))
    return Content(shelf, begin_IP, begin_IP.T.tocsr())


def _beginnings(row_N: Ints, code_NL: Ints, items: int) -> sparse.csr_matrix:
    """Lay out every beginning but the whole code, which is that of one item alone."""
    blocks = []
    for level in range(1, code_NL.shape[1]):
        _, begin_N = np.unique(code_NL[:, :level], axis=0, return_inverse=True)
        begin_N = begin_N.ravel()
        weight_N = np.full(len(row_N), np.sqrt(2.0 ** (level - 1)))
        shape = items, int(begin_N.max(initial=-1)) + 1
        blocks.append(sparse.csr_matrix((weight_N, (row_N, begin_N)), shape))
    return sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((items, 0))
