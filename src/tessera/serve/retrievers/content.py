"""Items whose codes begin like those of what was acted on: content, for whoever is hardly known.

An item that nobody has met yet has a code as every other one.  Each further level that is shared
counts twice the one before it, and what was met last counts most.

Shapes: I items, M of them met, N leaves, K beginnings of codes, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf
from tessera.shared.codes.trie import Trie

_FADES = 0.9
"""What an item counts, beside one that was met just after it."""
_LOOKED = 4
"""Items that are looked at for each that is wanted."""


class _Nodes(NamedTuple):
    """Beginnings that what was met has, by what sharing them counts, the most first."""

    score_K: Float64s
    first_K: Ints
    stop_K: Ints
    """Leaves below each are `first_K : stop_K`."""


@dataclass(frozen=True, slots=True)
class Content:
    """The trie over the codes: what is alike lies side by side, so that few items are looked at."""

    shelf: Shelf
    trie: Trie
    row_N: Ints
    """Row I of the item at each leaf, that of no item behind the last one."""
    leaf_I: Ints
    """Leaf of each item, -1 of one without a code."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return what is most like all of it; None for whoever never did anything."""
        row_M = self.shelf.rows(who.recent or who.held)
        fades_M = _FADES ** np.arange(len(row_M), dtype=np.float64)[::-1]
        leaf_M = self.leaf_I[row_M]
        nodes = self._nodes(leaf_M[leaf_M >= 0], fades_M[leaf_M >= 0])
        if not len(nodes.score_K):
            return None
        below_K, wanted = np.cumsum(nodes.stop_K - nodes.first_K), _LOOKED * max(most, 1)
        while True:
            stop = min(int(np.searchsorted(below_K, wanted)) + 1, len(below_K))
            row_C, score_C = self._below(nodes, stop)
            is_open_C = np.append(eligible_I, np.False_)[row_C]
            if is_open_C.sum() >= most or stop == len(below_K):
                return Found.best(row_C[is_open_C], score_C[is_open_C], self.shelf.rank_I, most)
            wanted *= _LOOKED

    def _nodes(self, leaf_M: Ints, fades_M: Float64s) -> _Nodes:
        """Climb from the leaves to the root; each level that is shared counts twice the one above.

        The whole code is no beginning: it is that of one item alone.
        """
        first_child, parts, node_M = self.trie.first_child, [], leaf_M
        climbed = []
        for depth in range(self.trie.length - 1, 0, -1):
            node_M = np.searchsorted(first_child[depth], node_M, side="right") - 1
            climbed.append((depth, node_M))
        score_M = np.zeros(len(leaf_M))
        for depth, node_M in reversed(climbed):
            node_K, one_K, at_M = np.unique(node_M, return_index=True, return_inverse=True)
            weight_K = np.bincount(at_M, fades_M, len(node_K))
            score_M = score_M + 2.0 ** (depth - 1) * weight_K[at_M]
            first_K, stop_K = node_K, node_K + 1
            for below in range(depth, self.trie.length):
                first_K, stop_K = first_child[below][first_K], first_child[below][stop_K]
            parts.append((score_M[one_K], first_K, stop_K))
        if not parts or not len(leaf_M):
            return _Nodes(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
        score_K, first_K, stop_K = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(-score_K, kind="stable")
        return _Nodes(score_K[order], first_K[order], stop_K[order])

    def _below(self, nodes: _Nodes, stop: int) -> tuple[Ints, Float64s]:
        """Return the items below the first nodes, each with the best score it has there."""
        ends = zip(nodes.first_K[:stop], nodes.stop_K[:stop], strict=True)
        leaf_C = np.concatenate([np.arange(*one) for one in ends])
        count_K = nodes.stop_K[:stop] - nodes.first_K[:stop]
        leaf_C, first_C = np.unique(leaf_C, return_index=True)
        return self.row_N[leaf_C], np.repeat(nodes.score_K[:stop], count_K)[first_C]


def open_retriever(bundle: Path, shelf: Shelf) -> Content | None:
    """Read the codes; None if the bundle has none."""
    if not (bundle / "trie.safetensors").exists():
        return None
    from tessera.bundles.vectors import read_trie

    with translate_errors(
        BrokenBundle, f"{bundle.name}: its codes cannot be read", "publish it again"
    ):
        ids, trie = read_trie(bundle)
        row_N = shelf.rows_of(ids)[trie.item_N]
    leaf_I = np.full(len(shelf.ids) + 1, -1)
    leaf_I[row_N] = np.arange(len(row_N))
    return Content(shelf, trie, np.where(row_N < 0, len(shelf.ids), row_N), leaf_I[:-1])
