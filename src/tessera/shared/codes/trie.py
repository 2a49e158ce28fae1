"""Which codes may follow a prefix, answered for a whole beam at once, so no invalid ID is decoded.

A trie as arrays, one level after the other: the nodes of a depth are the distinct prefixes of that
length, sorted; the children of a node are one contiguous run of the next depth.  numpy only.

Legend: N items, L code length, B beams, V codewords of a level, C children.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tessera.contracts.arrays import Ints

NOWHERE = -1
"""Node of a prefix that no item has."""


@dataclass(frozen=True, slots=True)
class Trie:
    """Children of every prefix; build with `build_trie`."""

    first_child: tuple[Ints, ...]
    """At depth d: index of each node's first child at depth d + 1, and one end mark."""
    codeword: tuple[Ints, ...]
    """At depth d + 1: last codeword of each node, ascending within a parent."""
    key: tuple[Ints, ...]
    """At depth d + 1: parent and codeword of each node as one ascending number."""
    item_N: Ints
    """Row of the item at each leaf."""

    @property
    def length(self) -> int:
        """Number of codes in a full ID."""
        return len(self.codeword)

    def children(self, prefix: tuple[int, ...]) -> Ints:
        """Codewords that may follow a prefix, ascending; empty if the prefix is no item's."""
        node = np.zeros(1, np.int64)
        for depth, code in enumerate(prefix):
            node = self.step(depth, node, np.array([code]))
        if node[0] == NOWHERE or len(prefix) == self.length:
            return np.zeros(0, np.int64)
        first = self.first_child[len(prefix)]
        return self.codeword[len(prefix)][first[node[0]] : first[node[0] + 1]]

    def step(self, depth: int, node_B: Ints, code_B: Ints) -> Ints:
        """Node at depth + 1 that each beam reaches with its code; NOWHERE if there is none."""
        key_C, width = self.key[depth], _width(self.codeword[depth])
        if len(key_C) == 0:
            return np.full(len(node_B), NOWHERE)
        wanted_B = node_B * width + code_B
        place_B = np.minimum(np.searchsorted(key_C, wanted_B), len(key_C) - 1)
        possible_B = (node_B >= 0) & (code_B >= 0) & (code_B < width)
        return np.where(possible_B & (key_C[place_B] == wanted_B), place_B, NOWHERE)

    def allowed(self, depth: int, node_B: Ints, width: int) -> NDArray[np.bool_]:
        """Mask [B, V] of the codewords that may follow each beam's node; V = `width`."""
        mask_BV = np.zeros((len(node_B), width), bool)
        first = self.first_child[depth]
        inside_B = np.where(node_B >= 0, node_B, 0)
        count_B = np.where(node_B >= 0, first[inside_B + 1] - first[inside_B], 0)
        beam_C = np.repeat(np.arange(len(node_B)), count_B)
        offset_C = np.arange(len(beam_C)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        mask_BV[beam_C, self.codeword[depth][first[inside_B[beam_C]] + offset_C]] = True
        return mask_BV

    def items(self, node_B: Ints) -> Ints:
        """Row of the item at each leaf node; NOWHERE stays NOWHERE."""
        return np.where(node_B >= 0, self.item_N[np.maximum(node_B, 0)], NOWHERE)


def build_trie(code_NL: Ints) -> Trie:
    """Build the trie of unique codes.

    Raises
    ------
    ValueError
        If a code is negative or two items share a code: the suffix must tell them apart.
    """
    if code_NL.size and code_NL.min() < 0:
        raise ValueError("a code is negative")
    order_N = np.lexsort(code_NL.T[::-1])
    sorted_NL = code_NL[order_N]
    n, length = code_NL.shape
    changed_N = np.zeros(n, bool)
    changed_N[:1] = True
    node_N = np.zeros(n, np.int64)
    first_child, codeword = [], []
    for level in range(length):
        changed_N[1:] |= sorted_NL[1:, level] != sorted_NL[:-1, level]
        start = np.flatnonzero(changed_N)
        parents = int(node_N[-1]) + 1 if n else 1
        first_child.append(np.searchsorted(node_N[start], np.arange(parents + 1)))
        codeword.append(sorted_NL[start, level])
        node_N = np.cumsum(changed_N) - 1
    if not changed_N.all():
        raise ValueError("two items share a code")
    return _trie(first_child, codeword, order_N)


def save_trie(trie: Trie, path: Path) -> None:
    """Write a trie as safetensors."""
    arrays = {"item": trie.item_N}
    for depth in range(trie.length):
        arrays[f"first_child.{depth}"] = trie.first_child[depth]
        arrays[f"codeword.{depth}"] = trie.codeword[depth]
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def load_trie(path: Path) -> Trie:
    """Read what `save_trie` wrote."""
    arrays = load_file(path)
    depths = range((len(arrays) - 1) // 2)
    return _trie(
        [arrays[f"first_child.{depth}"] for depth in depths],
        [arrays[f"codeword.{depth}"] for depth in depths],
        arrays["item"],
    )


def _trie(first_child: list[Ints], codeword: list[Ints], item_N: Ints) -> Trie:
    key = tuple(
        np.repeat(np.arange(len(first) - 1), np.diff(first)) * _width(code_C) + code_C
        for first, code_C in zip(first_child, codeword, strict=True)
    )
    return Trie(tuple(first_child), tuple(codeword), key, item_N)


def _width(code_C: Ints) -> int:
    return int(code_C.max(initial=0)) + 1
