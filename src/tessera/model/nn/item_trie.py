"""The trie over the codes of some items as tensors, so that a whole batch walks down it at once.

Nodes of a depth lie in the order of their codes, the children of one in one run, and so do the
items below it: how many of them are open is one difference of running counts.  Below the codes, one
level deeper, lie the items: codes that several share are told apart there.

Legend: N items of the trie, B requests, R nodes, C children of one, V items with padding first,
C code levels of `codes_VC`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tessera.shared.codes.trie import NOWHERE, build_trie


@dataclass(frozen=True, slots=True)
class ItemTrie:
    """Children of every prefix and the items below it; build with `item_trie`."""

    first_child: tuple[Tensor, ...]
    """At depth d: each node's first child at depth d + 1, and one end mark."""
    codeword: tuple[Tensor, ...]
    """At depth d + 1: last codeword of each node, a row of the codebook of level d."""
    first_leaf: tuple[Tensor, ...]
    """At depth d: each node's first leaf, and one end mark."""
    item_N: Tensor
    """Row in the item table of each leaf."""
    leaf_V: Tensor
    """Leaf of each row of the item table; NOWHERE without a code."""
    widest: tuple[int, ...]
    """At depth d: most children of a node."""

    @property
    def levels(self) -> int:
        """Number of code levels; the level of the items comes after them."""
        return len(self.codeword) - 1

    def children(self, depth: int, node_R: Tensor) -> tuple[Tensor, Tensor]:
        """Return child_RC at depth + 1 and whether it is one; what is none repeats the last."""
        first_R1 = self.first_child[depth][node_R, None]
        last_R1 = self.first_child[depth][node_R + 1, None] - 1
        child_RC = first_R1 + torch.arange(self.widest[depth], device=node_R.device)
        return child_RC.clamp(max=last_R1), child_RC <= last_R1

    def node(self, depth: int, leaf_N: Tensor) -> Tensor:
        """Return the node at a depth that each leaf lies below."""
        return torch.searchsorted(self.first_leaf[depth], leaf_N, right=True) - 1

    def open_before(self, open_BV: Tensor) -> Tensor:
        """Return before_BN1, how many leaves before each one are open, of the rows of open_BV."""
        open_BN = open_BV[:, self.item_N]
        before_BN1 = open_BN.new_zeros(len(open_BN), open_BN.shape[1] + 1, dtype=torch.int32)
        torch.cumsum(open_BN, 1, dtype=torch.int32, out=before_BN1[:, 1:])
        return before_BN1

    def is_open(self, depth: int, node_BR: Tensor, before_BN1: Tensor) -> Tensor:
        """Return whether an open item lies below each node."""
        first_BR = self.first_leaf[depth][node_BR]
        last_BR = self.first_leaf[depth][node_BR + 1]
        before_BN1 = before_BN1.expand(len(node_BR), -1)
        return before_BN1.gather(1, last_BR) > before_BN1.gather(1, first_BR)


def item_trie(codes_VC: Tensor, item_N: Tensor) -> ItemTrie:
    """Build the trie over some items; those without a code are left out.

    Parameters
    ----------
    codes_VC
        Codewords of every row of the item table, from 1; 0 where there is none.
    item_N
        Distinct rows of the item table.

    >>> trie = item_trie(torch.tensor([[0, 0], [2, 1], [1, 3], [2, 1]]), torch.arange(4))
    >>> trie.item_N  # items 1 and 3 share a code
    tensor([2, 1, 3])
    >>> trie.children(0, torch.tensor([0]))[0], trie.codeword[0]
    (tensor([[0, 1]]), tensor([1, 2]))
    """
    row_N = item_N.cpu().numpy()
    code_NC = codes_VC.cpu().numpy()[row_N]
    is_coded_N = (code_NC > 0).all(axis=1)
    row_N, code_NC = row_N[is_coded_N], code_NC[is_coded_N]
    trie = build_trie(np.column_stack([code_NC, row_N]))
    first_leaf = [np.arange(len(row_N) + 1)]
    for first in reversed(trie.first_child):
        first_leaf.insert(0, first_leaf[0][first])
    leaf_V = np.full(len(codes_VC), NOWHERE)
    leaf_V[row_N[trie.item_N]] = np.arange(len(row_N))
    on = codes_VC.device
    return ItemTrie(
        tuple(torch.from_numpy(first).to(on) for first in trie.first_child),
        tuple(torch.from_numpy(code).to(on) for code in trie.codeword),
        tuple(torch.from_numpy(first).to(on) for first in first_leaf),
        torch.from_numpy(row_N[trie.item_N]).to(on),
        torch.from_numpy(leaf_V).to(on),
        tuple(int(np.diff(first).max(initial=0)) for first in trie.first_child),
    )
