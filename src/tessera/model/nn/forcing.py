"""What a decoder is fed while it learns: the true codewords, or those that the item chooses softly.

Soft teacher forcing of DGI (arXiv 2603.10409): at each level the item's own vector, less what was
chosen so far, is compared with the codewords that some item continues with, and a mixture of them
is drawn (Gumbel-softmax, Jang et al. 2017).  So what is lost on codes teaches the vectors of items,
which true codewords leave alone.  The codes that are to be decoded stay what they are.

Legend: N targets, C children of a node, K codewords of a level, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_COOLED = 0.1
"""What the temperature comes down to, as a share of where it starts."""


def softness_at(start: float, epoch: int, epochs: int) -> float:
    """Return the temperature of an epoch, which falls by equal factors; 0 stays 0.

    >>> [round(softness_at(1.0, epoch, 3), 3) for epoch in range(3)]
    [1.0, 0.316, 0.1]
    """
    return start * math.pow(_COOLED, min(epoch, epochs) / max(epochs - 1, 1))


def soft_codeword(
    left_ND: Tensor, codeword_KD: Tensor, word_NC: Tensor, is_child_NC: Tensor, scale: Tensor,
    temperature: float,
) -> Tensor:  # fmt: skip
    """Draw z_ND, a mixture of the codewords that a path may go on with.

    Parameters
    ----------
    left_ND
        The vector of each item, less what was drawn at the levels before.
    codeword_KD
        Unit codewords of the level.
    word_NC, is_child_NC
        Codewords that some item continues with; what is none counts nothing.
    scale
        Of the cosines.
    temperature
        Above 0; near 0 one codeword is nearly all of the mixture.
    """
    count_NK = torch.zeros(len(left_ND), len(codeword_KD), device=left_ND.device)
    may_NK = count_NK.scatter_add(1, word_NC, is_child_NC.to(count_NK.dtype)) > 0
    logit_NK = scale * (functional.normalize(left_ND, dim=-1) @ codeword_KD.T)
    logit_NK = logit_NK.masked_fill(~may_NK, -torch.inf)
    return functional.gumbel_softmax(logit_NK, tau=temperature, dim=1) @ codeword_KD
