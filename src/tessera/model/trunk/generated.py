"""Lists by the generative head, and beside them those of the cosine of the trunk that it hangs on.

Legend: Q people who are asked, V items with padding first, K list length.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.tables import GENERATIVE, TRUNK
from tessera.model.nn.device import device_of
from tessera.model.nn.generative import Decoder, ItemSpace
from tessera.model.nn.item_trie import item_trie
from tessera.model.params import ModelParams
from tessera.model.sequences.questions import Lists, Question
from tessera.model.trunk.model import SequenceModel

_CELLS = 1 << 24
"""Requests times items at a time."""


def sources(
    model: SequenceModel,
    decoder: Decoder,
    asked: Question,
    state_QD: Float32s,
    params: ModelParams,
) -> dict[str, Lists]:
    """List what the decoder finds, and what is nearest to the trunk's states, by their names."""
    with torch.inference_mode():
        unit_VD = functional.normalize(model.items(), dim=-1).cpu().numpy()
        placed_V = model.placed_V().cpu().numpy()
    return {
        GENERATIVE: generate(model, decoder, asked, state_QD, params),
        TRUNK: asked.lists(state_QD, unit_VD, placed_V, params.top),
    }


def generate(
    model: SequenceModel,
    decoder: Decoder,
    asked: Question,
    state_QD: Float32s,
    params: ModelParams,
    codes_VC: Tensor | None = None,
) -> Lists:
    """Decode the likeliest items that may be listed and that each who asks does not have.

    Probabilities are those among all items that were seen while training or may be listed, so that
    an item is as likely whether others are closed or not.  `codes_VC` are decoded instead of those
    that the model was trained with; its states and the vectors of items stay what they are.
    """
    device, items = device_of(model), len(asked.allowed_V)
    with torch.inference_mode():
        known_V = model.warm_V | torch.from_numpy(asked.allowed_V).to(device)
        given_VC = model.codes_VC if codes_VC is None else codes_VC
        trie = item_trie(given_VC, known_V.nonzero()[:, 0])
        space = ItemSpace.of(trie, model.codebook(), model.items())
        parts, step = [], max(1, _CELLS // items)
        for start in range(0, len(state_QD), step):
            rows = np.arange(start, min(start + step, len(state_QD)))
            state_BD = torch.from_numpy(state_QD[rows]).to(device)
            before_BN1 = trie.open_before(torch.from_numpy(_open(asked, rows)).to(device))
            found = decoder.beam_search(space, state_BD, before_BN1, params.top, params.beams)
            parts.append((found.item_BK.cpu().numpy(), found.log_p_BK.cpu().numpy()))
    if not parts:
        return Lists(np.empty((0, params.top), np.int64), np.empty((0, params.top), np.float32))
    item_QK, log_p_QK = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Lists(item_QK, log_p_QK)


def _open(asked: Question, rows: Ints) -> Bools:
    """Return open_BV: what may be listed, without what each of these people has."""
    open_BV = np.repeat(asked.allowed_V[None], len(rows), 0)
    if asked.seen is not None:
        first, stop = np.searchsorted(asked.seen[0], [rows[0], rows[-1] + 1])
        open_BV[asked.seen[0][first:stop] - rows[0], asked.seen[1][first:stop]] = False
    return open_BV
