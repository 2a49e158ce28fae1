"""The next item, codeword by codeword: exact probabilities over a trie, and the beam that finds it.

TIGER: Rajput et al. 2023, arXiv 2305.05065; cosine logits with a learnt scale and the codebook as
output matrix: DGI, arXiv 2603.10409.  At each level a state asks for a direction, every codeword
that some item continues with is compared with it, and the chance of an item is the product of the
chances on its path; they add up to 1 over the items of the trie.  Items that share a code are told
apart by the cosine of their own vectors with the state.

Legend: N targets or items of the trie, R rows (a state and how far it has come), B requests,
W beams of one, C children of a node, K codewords, or items of a list, D width, L levels, V items
with padding first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.batch import PADDING
from tessera.model.nn.forcing import soft_codeword
from tessera.model.nn.item_trie import ItemTrie

_SCALE = 20.0
"""Where the scales of the cosines start: a temperature of .05."""


@dataclass(frozen=True, slots=True)
class ItemSpace:
    """Items that can be decoded: their trie, and the unit vectors that states are compared with."""

    trie: ItemTrie
    codewords: tuple[Tensor, ...]
    """Codebook of each level; row 0 is `no code`."""
    item_VD: Tensor

    @staticmethod
    def of(trie: ItemTrie, codebook: Sequence[Tensor], item_VD: Tensor) -> ItemSpace:
        """Take the codebook that items are read with, and their vectors, of any length.

        Raises
        ------
        ValueError
            If the codebook is not that of the codes, or of another width than the items.
        """
        if trie.levels != len(codebook):
            raise ValueError(
                f"codes have {trie.levels} levels and the codebook has {len(codebook)}: decode "
                "with the codebook that gave the codes"
            )
        for level, codeword_KD in enumerate(codebook):
            _check_codebook(trie, level, codeword_KD, item_VD.shape[1])
        units = [functional.normalize(one, dim=-1) for one in (*codebook, item_VD)]
        return ItemSpace(trie, tuple(units[:-1]), units[-1])


def _check_codebook(trie: ItemTrie, level: int, codeword_KD: Tensor, width: int) -> None:
    if codeword_KD.shape[1] != width:
        raise ValueError(
            f"the codebook of level {level} is {codeword_KD.shape[1]} wide and items are {width}: "
            "decode with the codebook of the same model"
        )
    code_N = trie.codeword[level]
    if len(code_N) and int(code_N.amax()) >= len(codeword_KD):
        raise ValueError(
            f"code {int(code_N.amax())} of level {level} is not among the {len(codeword_KD) - 1} "
            "codewords: decode with the codebook that gave the codes"
        )


@dataclass(frozen=True, slots=True)
class Beams:
    """The likeliest open items of each request."""

    item_BK: Tensor
    """Rows of the item table, the likeliest first; padding where fewer are open."""
    log_p_BK: Tensor
    """Log probability of each among all items of the trie; -inf where fewer are open."""


class Decoder(nn.Module):
    """Compares what a net asks for with the codewords of each level, and last with items."""

    def __init__(self, asks: nn.Module, levels: int) -> None:
        super().__init__()
        self.asks = asks
        self.log_scale_L = nn.Parameter(torch.full((levels + 1,), math.log(_SCALE)))
        self.softness = 0.0  # of what is fed while training, see `log_p`; no weight, so not saved

    def child_log_p(
        self,
        space: ItemSpace,
        level: int,
        node_R: Tensor,
        came_R: tuple[Tensor, Tensor],
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        """Return log_p_RC of the children of nodes, -inf where there is none, and child_RC.

        Parameters
        ----------
        space, level, node_R
            Where each row stands: a node of the trie at depth `level`.
        came_R
            Unit state_RD, and prefix_RD, the sum of the codewords on the way.
        temperature
            Divides the logits.
        """
        trie, (state_RD, prefix_RD) = space.trie, came_R
        child_RC, is_child_RC = trie.children(level, node_R)
        if level == trie.levels:
            cosine_RC = _item_cosines(space, state_RD, child_RC)
        else:
            asking_RD = functional.normalize(self.asks(state_RD, prefix_RD, level), dim=-1)
            cosine_RK = asking_RD @ space.codewords[level].T
            cosine_RC = cosine_RK.gather(1, trie.codeword[level][child_RC])
        logit_RC = cosine_RC * self.log_scale_L[level].exp()
        if temperature != 1.0:  # which would change no chance, but last bits
            logit_RC = _tempered(logit_RC, temperature)
        return logit_RC.masked_fill(~is_child_RC, -torch.inf).log_softmax(1), child_RC

    def log_p(
        self,
        space: ItemSpace,
        state_ND: Tensor,
        item_N: Tensor,
        temperature: float = 1.0,
        softness: float = 0.0,
    ) -> Tensor:
        """Return log_p_N, how likely each state is to find one item among all of the trie.

        Parameters
        ----------
        space
            What is decoded.
        state_ND
            Of any length.
        item_N
            Rows of the item table.
        temperature
            Divides the logits of every level.
        softness
            Temperature at which the codewords that lead on are drawn by the item's own vector; 0
            takes the true ones.  Whatever is not training leaves it at 0.

        Raises
        ------
        ValueError
            If an item is not in the trie, a state is not finite, or a temperature is none.
        """
        _check(state_ND, temperature)
        leaf_V = space.trie.leaf_V
        is_row_N = (item_N >= 0) & (item_N < len(leaf_V))
        is_known_N = is_row_N & (leaf_V[torch.where(is_row_N, item_N, PADDING)] >= 0)
        if not is_known_N.all():
            row = int(item_N[~is_known_N][0])
            raise ValueError(f"item row {row} is not in the trie: it has no code or was left out")
        return self._log_p(space, state_ND, item_N, temperature, softness)

    def _log_p(
        self,
        space: ItemSpace,
        state_ND: Tensor,
        item_N: Tensor,
        temperature: float,
        softness: float,
    ) -> Tensor:
        trie, state_ND = space.trie, functional.normalize(state_ND, dim=-1)
        leaf_N = trie.leaf_V[item_N]
        prefix_ND, total_N = torch.zeros_like(state_ND), state_ND.new_zeros(len(state_ND))
        for level in range(trie.levels + 1):
            node_N, next_N = trie.node(level, leaf_N), trie.node(level + 1, leaf_N)
            log_p_NC, child_NC = self.child_log_p(
                space, level, node_N, (state_ND, prefix_ND), temperature
            )
            taken_N1 = (next_N - child_NC[:, 0])[:, None]
            total_N = total_N + log_p_NC.gather(1, taken_N1)[:, 0]
            if level == trie.levels:
                break
            codeword_KD, word = space.codewords[level], trie.codeword[level]
            if softness:
                is_child_NC = ~log_p_NC.isneginf()
                told = codeword_KD, word[child_NC], is_child_NC, self.log_scale_L[level].exp()
                left_ND = space.item_VD[item_N] - prefix_ND
                prefix_ND = prefix_ND + soft_codeword(left_ND, *told, softness)
            else:
                prefix_ND = prefix_ND + codeword_KD[word[next_N]]
        return total_N

    def loss(self, space: ItemSpace, state_ND: Tensor, item_N: Tensor) -> Tensor:
        """Return the mean cross-entropy of targets; one without a code teaches nothing."""
        is_coded_N = space.trie.leaf_V[item_N] >= 0
        if not len(space.trie.item_N):
            return state_ND[:0].sum()
        coded = state_ND[is_coded_N], item_N[is_coded_N]
        # Not checked: training ends by itself at a loss that is not finite.
        log_p_N = self._log_p(space, *coded, temperature=1.0, softness=self.softness)
        return -log_p_N.sum() / max(1, len(item_N))

    @torch.no_grad()
    def beam_search(
        self,
        space: ItemSpace,
        state_BD: Tensor,
        before_BN1: Tensor,
        top: int,
        beams: int,
        temperature: float = 1.0,
    ) -> Beams:
        """Find the likeliest open items of each request.

        A node is left out as soon as no open item lies below it, so that every beam ends at one.
        With as many beams as items the answer is that of scoring every item.

        Parameters
        ----------
        space
            What is decoded.
        state_BD
            Of any length.
        before_BN1
            Which items may be found: `open_before` of the trie; a single row serves all requests.
        top
            Items wanted of each request.
        beams
            Prefixes kept at each level; never fewer than `top`.
        temperature
            Divides the logits of every level.

        Raises
        ------
        ValueError
            If a state is not finite, or a temperature is none.
        """
        _check(state_BD, temperature)
        trie, state_BD = space.trie, functional.normalize(state_BD, dim=-1)
        if not len(trie.item_N):
            return Beams(torch.zeros(len(state_BD), 0).long(), state_BD[:, :0])
        node_BW = torch.zeros(len(state_BD), 1, dtype=torch.long, device=state_BD.device)
        log_p_BW, prefix_BWD = (
            torch.zeros_like(state_BD[:, :1]),
            torch.zeros_like(state_BD)[:, None],
        )
        for level in range(trie.levels + 1):
            came_R = (state_BD.repeat_interleave(node_BW.shape[1], 0), prefix_BWD.flatten(0, 1))
            found_RC, child_RC = self.child_log_p(
                space, level, node_BW.flatten(), came_R, temperature
            )
            found_BN = (log_p_BW.flatten()[:, None] + found_RC).view(len(state_BD), -1)
            child_BN = child_RC.view(len(state_BD), -1)
            is_open_BN = trie.is_open(level + 1, child_BN, before_BN1)
            found_BN = found_BN.masked_fill(~is_open_BN, -torch.inf)
            log_p_BW, kept_BW = found_BN.topk(min(max(beams, top), found_BN.shape[1]), dim=1)
            node_BW = child_BN.gather(1, kept_BW)
            if level < trie.levels:
                parent_BW1 = (kept_BW // found_RC.shape[1])[..., None]
                prefix_BWD = prefix_BWD.gather(1, parent_BW1.expand(-1, -1, state_BD.shape[1]))
                prefix_BWD = prefix_BWD + space.codewords[level][trie.codeword[level][node_BW]]
        return _ordered(trie.item_N[node_BW], log_p_BW, top)


def _check(state_RD: Tensor, temperature: float) -> None:
    if not 0.0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature} is none: take a finite one above 0")
    if not state_RD.isfinite().all():
        raise ValueError("a state is not finite: look for the input of the model that is not")


def _tempered(logit_RC: Tensor, temperature: float) -> Tensor:
    """Divide what each logit lies below the highest of its row, which is finite however cold."""
    gap_RC = logit_RC - logit_RC.amax(1, keepdim=True)
    return (gap_RC / temperature).masked_fill(gap_RC == 0, 0.0)


def _item_cosines(space: ItemSpace, state_RD: Tensor, leaf_RC: Tensor) -> Tensor:
    """Compare states with the items at some leaves.

    Where many share a code, all items are compared: their vectors, once for each state, would not
    fit into memory.
    """
    item_N = space.trie.item_N
    if leaf_RC.shape[1] * state_RD.shape[1] > len(item_N):
        return (state_RD @ space.item_VD[item_N].T).gather(1, leaf_RC)
    return torch.einsum("rd,rcd->rc", state_RD, space.item_VD[item_N[leaf_RC]])


def _ordered(item_BW: Tensor, log_p_BW: Tensor, top: int) -> Beams:
    """Put the likeliest first, ties in the order of the items."""
    item_BW, order_BW = item_BW.sort(dim=1)
    log_p_BW, kept_BW = log_p_BW.gather(1, order_BW).sort(dim=1, descending=True, stable=True)
    item_BW = item_BW.gather(1, kept_BW).masked_fill(log_p_BW.isneginf(), PADDING)
    return Beams(item_BW[:, :top], log_p_BW[:, :top])
