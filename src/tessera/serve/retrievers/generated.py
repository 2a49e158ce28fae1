"""Items by their codes, decoded level by level from the trunk's state over the trie of the bundle.

What may not be shown is left out inside the beam, at every level, so that every beam ends at an
item that may.  An item has a code before anybody met it, so it is found on its first day.  A bundle
decodes codes if its model was trained with `hstu.generate`.

Legend: I items of the bundle, V items of the model with padding first, K found ones, D width.
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
    from tessera.model.nn.generative import Decoder, ItemSpace

BEAMS = 50
"""Prefixes that a search keeps, unless a longer list is asked for."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The generative head of a bundle, and all items that have a code."""

    shelf: Shelf
    decoder: Decoder
    space: ItemSpace
    width: int
    """Of the trunk's state, which is the beginning of an investor's vector, but for its length."""
    row_V: Ints
    """Row I of each item of the model; that of no item behind the last one."""
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the likeliest; an investor without a vector is left to others.

        Scores are log probabilities among all items that have a code, open or not.
        """
        if who.vector_D is None:
            return None
        import torch

        from tessera.model.nn.device import threads

        most = min(most, int(np.count_nonzero(eligible_I)))
        open_V = np.append(eligible_I, np.False_)[self.row_V]
        state_1D = torch.from_numpy(np.asarray(who.vector_D[None, : self.width], np.float32))
        with threads(1), torch.inference_mode():
            before_1N1 = self.space.trie.open_before(torch.from_numpy(open_V[None]))
            found = self.decoder.beam_search(
                self.space, state_1D, before_1N1, most, max(most, BEAMS)
            )
        item_K, log_p_K = found.item_BK[0].numpy(), found.log_p_BK[0].double().numpy()
        is_item_K = np.isfinite(log_p_K)
        row_K = self.row_V[item_K[is_item_K]]
        return Found.best(row_K, log_p_K[is_item_K], self.shelf.rank_I, most)


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
    import torch

    from tessera.model.nn.generative import ItemSpace
    from tessera.model.nn.item_trie import item_trie
    from tessera.model.trunk.saved import load_model

    model, vocabulary = load_model(config.parent, mapped=True)
    if model.decoder is None:
        return None
    nothing = len(shelf.ids)
    row_V = np.append(nothing, shelf.rows_of(vocabulary))
    row_V[row_V < 0] = nothing
    with torch.inference_mode():
        known_V = model.warm_V.numpy() | (row_V < nothing)
        trie = item_trie(model.codes_VC, torch.from_numpy(np.flatnonzero(known_V)))
        item_VD = model.items()
        # One that is no number is never found, and the chances of others stay numbers.
        row_V[~item_VD.isfinite().all(1).numpy()] = nothing
        space = ItemSpace.of(trie, model.codebook(), item_VD.nan_to_num(0.0))
    return Generated(shelf, model.decoder, space, model.shape.width, row_V)
