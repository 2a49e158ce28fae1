"""Ways to tell a ranker of an investor: not at all, by the dense vector, by codes of it.

Quantizing Intent (arXiv 2606.01396): RQ-FSQ cuts the vector into codes, and each codeword is looked
up in a table that learns with the ranker (HDE).  The paper's tables are those of prefixes; with a
thousand investors one of two codewords has fewer than twenty of them, so each level has a table of
its own.  A code can also be decoded again, which needs no table.

Legend: R requests, D width, L levels, K fields, U investors, X features of the investor, V items
with padding first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import fit_quantizer

WORDS = 32
"""Codewords of a level: five bits, and with a thousand investors about thirty in each."""
SHORT, LONG = 4, 8


@dataclass(frozen=True, slots=True)
class Told:
    """What a ranker is told of the investor of each request."""

    bits: int
    dense_RX: Float32s
    """NaN where nothing is known."""
    field_RK: Ints
    """Codewords from 1 on; 0 for who had done nothing yet."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of investors, and what quantizers learn from."""

    state_RD: Float32s
    events_R: Ints
    """What the investor had done by then; 0 for a stranger."""
    learn_UD: Float64s
    """Investors as they stood at the cut."""
    item_VD: Float32s
    seed: int

    def nothing(self) -> Told:
        """Tell nothing."""
        requests = len(self.state_RD)
        return Told(0, np.zeros((requests, 0), np.float32), np.zeros((requests, 0), np.int64))

    def dense(self) -> Told:
        """Tell the vector."""
        return replace(self.nothing(), bits=8 * self.state_RD[0].nbytes, dense_RX=self.state_RD)

    def codes(self, quantizer: str, levels: int) -> Told:
        """Tell the codewords of each level, for a table each."""
        code_RL = self._learnt(quantizer, levels).encode(self.state_RD.astype(np.float64))
        field_RL = np.where(self.events_R[:, None] > 0, code_RL + 1, 0)
        return replace(self.nothing(), bits=_bits(levels), field_RK=field_RL)

    def decoded(self, levels: int) -> Told:
        """Tell the vector that codes by RQ-FSQ stand for."""
        learnt = self._learnt("rq_fsq", levels)
        vector_RD = learnt.decode(learnt.encode(self.state_RD.astype(np.float64)))
        vector_RD = np.where(self.events_R[:, None] > 0, vector_RD, np.nan)
        return replace(self.nothing(), bits=_bits(levels), dense_RX=vector_RD.astype(np.float32))

    def shuffled(self) -> Told:
        """Tell each request the codes of another."""
        told = self.codes("rq_fsq", SHORT)
        order_R = np.random.default_rng(self.seed).permutation(len(self.state_RD))
        return replace(told, field_RK=told.field_RK[order_R])

    def _learnt(self, quantizer: str, levels: int) -> Quantizer:
        params = {"quantizer": quantizer, "levels": levels, "codebook_size": WORDS}
        return fit_quantizer(self.learn_UD, SidParams.model_validate({**params, "seed": self.seed}))


def _bits(levels: int) -> int:
    return levels * int(np.log2(WORDS))


WAYS: dict[str, Callable[[Vectors], Told]] = {
    "none": Vectors.nothing,
    "dense": Vectors.dense,
    "cluster": lambda vectors: vectors.codes("rkmeans", 1),
    "rkmeans": lambda vectors: vectors.codes("rkmeans", SHORT),
    "rq_fsq": lambda vectors: vectors.codes("rq_fsq", SHORT),
    "rq_fsq_long": lambda vectors: vectors.codes("rq_fsq", LONG),
    "decoded": lambda vectors: vectors.decoded(SHORT),
    "decoded_long": lambda vectors: vectors.decoded(LONG),
    "shuffled": Vectors.shuffled,
}
"""Simplest first; codes of another request are a sham."""
