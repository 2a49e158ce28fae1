"""A generative head that answers one request at a time, from the vector of an investor.

Legend: V items with padding first, N items of the trie, K found ones, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from tessera.contracts.arrays import Bools, Float32s, Float64s, Ints
from tessera.model.nn.device import threads
from tessera.model.nn.generative import Decoder, ItemSpace
from tessera.model.nn.item_trie import item_trie
from tessera.model.trunk.saved import load_model


@dataclass(frozen=True, slots=True)
class Decoding:
    """The head and all items that it decodes; computed once."""

    decoder: Decoder
    space: ItemSpace
    width: int
    """Of the trunk's state, which is the beginning of an investor's vector, but for its length."""
    vocabulary: list[str]
    """Item of each row of the model, from row 1 on."""
    is_number_V: Bools
    """Whether the vector of an item is finite."""

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """Read the model of a bundle; None if it decodes nothing.

        All items that have a code are decoded, also those that nobody has met.  The vector of one
        that is no number is 0, so that the chances of the others stay numbers.

        Raises
        ------
        BrokenBundle
            If it cannot be read.
        """
        model, vocabulary = load_model(folder, mapped=True)
        if model.decoder is None:
            return None
        with torch.inference_mode():
            trie = item_trie(model.codes_VC, torch.arange(1, model.shape.items))
            item_VD = model.items()
            space = ItemSpace.of(trie, model.codebook(), item_VD.nan_to_num(0.0, 0.0, 0.0))
            is_number_V = item_VD.isfinite().all(1).numpy()
        return cls(model.decoder, space, model.shape.width, vocabulary, is_number_V)

    def likeliest(
        self, vector_D: Float32s, open_V: Bools, most: int, beams: int
    ) -> tuple[Ints, Float64s]:
        """Return the likeliest open items, best first, and the log probability of each.

        Probabilities are those among all items that have a code, open or not.

        Parameters
        ----------
        vector_D
            What asks for items: the trunk's state, and what closed forms say behind it.
        open_V
            Which items may be found.
        most
            Items wanted.
        beams
            Prefixes kept at each level; never fewer than `most`.
        """
        state_1D = torch.from_numpy(np.asarray(vector_D[None, : self.width], np.float32))
        open_1V = torch.from_numpy((open_V & self.is_number_V)[None])
        with threads(1), torch.inference_mode():
            before_1N1 = self.space.trie.open_before(open_1V)
            found = self.decoder.beam_search(self.space, state_1D, before_1N1, most, beams)
        item_K, log_p_K = found.item_BK[0].numpy(), found.log_p_BK[0].double().numpy()
        is_item_K = np.isfinite(log_p_K)
        return item_K[is_item_K], log_p_K[is_item_K]

    def sharing(self) -> Ints:
        """Return how many items have the code of each item, itself among them; 0 without a code."""
        trie = self.space.trie
        node_N = trie.node(trie.levels, torch.arange(len(trie.item_N))).numpy()
        sharing_V = np.zeros(len(trie.leaf_V), np.int64)
        sharing_V[trie.item_N.numpy()] = np.bincount(node_N)[node_N]
        return sharing_V
