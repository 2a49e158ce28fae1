"""A vector becomes a short code, coarse first, and back, by the quantizer that the params name.

Semantic IDs: TIGER, Rajput et al. 2023, arXiv 2305.05065.

Legend: N items, D vector width, L levels, K codewords of a level, C candidates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, cast

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.components import component
from tessera.contracts.errors import BadInput, BadParams
from tessera.shared.codes.health import capacity
from tessera.stages.sid.codebooks import Quantizer, ResidualKMeans
from tessera.stages.sid.params import SidParams

_SMALL = 256
"""Items below which a codebook is tried before it is taken."""
_ENOUGH = 0.6
"""Effective number of codes by the items that a small catalogue is given: the gate asks for .5."""
_LARGEST = 1e100
"""Larger values have no square."""
_ROWS = 8_192
"""So many vectors are looked at at once; all of them may lie on disk."""
NOTHING_BORN = "no item was born by the cut, so no code can be learnt: set an earlier one"


class Kind(Protocol):
    """What a module of `quantizers` has."""

    def fit(
        self, vector_ND: Float64s, size: int, params: SidParams, linked_NN: sparse.csr_array
    ) -> Quantizer:
        """Learn `params.levels` levels of `size` codewords; equal inputs, equal bytes.

        `linked_NN` are the edges between the items, for what learns from them; it may be empty.
        """

    def load(self, arrays: dict[str, Float64s]) -> Quantizer:
        """Rebuild it from its `arrays()`, without any library that only learning needs."""


def fit_quantizer(
    vector_ND: Float64s,
    params: SidParams,
    linked_NN: sparse.csr_array | None = None,
    coarse_D: Bools | None = None,
) -> Quantizer:
    """Learn the quantizer that the params name.

    `linked_NN` are the edges between the items, and `coarse_D` the columns that the first level
    is of, while all below are of the others; none by default.

    Raises
    ------
    BadInput
        If there is no vector, or one that holds no number, or if codewords came out that are none.
    """
    if len(vector_ND) == 0:
        raise BadInput(NOTHING_BORN)
    check_vectors(vector_ND)
    if linked_NN is None:
        linked_NN = sparse.csr_array((len(vector_ND), len(vector_ND)))
    if coarse_D is None:
        assert not params.coarse_blocks, "whoever turns coarse_blocks says which columns they are"
        coarse_D = np.zeros(vector_ND.shape[1], dtype=np.bool_)
    size = codebook_size(len(vector_ND), params)
    if params.codebook_size is None and len(vector_ND) < _SMALL:
        return _telling(vector_ND, size, params, linked_NN, coarse_D)
    return _fit(vector_ND, size, params, linked_NN, coarse_D)


def _telling(
    vector_ND: Float64s,
    size: int,
    params: SidParams,
    linked_NN: sparse.csr_array,
    coarse_D: Bools,
) -> Quantizer:
    """Double the codebook of a small catalogue until its codes tell the items apart.

    Few codewords suffice for few items on average, but not for these if they are much alike; a
    guardrail of the gate would hold every candidate then.
    """
    best = _fit(vector_ND, size, params, linked_NN, coarse_D)
    most = capacity(best.encode(vector_ND))
    while most < _ENOUGH and 2 * size <= len(vector_ND):
        size *= 2
        found = _fit(vector_ND, size, params, linked_NN, coarse_D)
        told = capacity(found.encode(vector_ND))
        best, most = (found, told) if told > most else (best, most)
    return best


def _fit(
    vector_ND: Float64s,
    size: int,
    params: SidParams,
    linked_NN: sparse.csr_array,
    coarse_D: Bools,
) -> Quantizer:
    if coarse_D.any():
        found: Quantizer = coarse_first(vector_ND, size, params, linked_NN, coarse_D)
    else:
        found = _kind(params.quantizer).fit(vector_ND, size, params, linked_NN)
    if not all(np.isfinite(array).all() for array in found.arrays().values()):
        # Frozen, they would give every item one code, for as long as the generation lives.
        raise BadInput(
            f"{params.quantizer} learnt codewords that are not finite: lower sid.learning_rate, "
            "or the weights of blocks and losses in sid"
        )
    return found


def coarse_first(
    vector_ND: Float64s,
    size: int,
    params: SidParams,
    linked_NN: sparse.csr_array,
    coarse_D: Bools,
) -> ResidualKMeans:
    """Learn the first level from coarse columns alone, and those below from all other columns.

    Codewords are zero in the columns that their level does not see, so which is nearest does not
    depend on these, and codes are given and decoded as ever.  Each part of the columns lies in
    memory, also where vectors lie on disk.

    Three items, of which the first column says where they stand in the graph and the second what
    they are:

    >>> vector_ND = np.array([[0.0, 1.0], [0.0, 3.0], [9.0, 1.0]])
    >>> params, linked_NN = SidParams(levels=2), sparse.csr_array((3, 3))
    >>> found = coarse_first(vector_ND, 2, params, linked_NN, np.array([True, False]))
    >>> found.encode(vector_ND)
    array([[1, 0],
           [1, 1],
           [0, 0]])
    """
    parts = []
    for levels, seen_D in ((1, coarse_D), (params.levels - 1, ~coarse_D)):
        some = params.model_copy(update={"levels": levels})
        seen_ND = np.where(seen_D, vector_ND, 0.0)
        parts.append(_kind(params.quantizer).fit(seen_ND, size, some, linked_NN))
    first = parts[0]
    assert isinstance(first, ResidualKMeans), "the params let no other kind leave columns out"
    return replace(first, codeword_LKD=np.concatenate([one.codeword_LKD for one in parts]))


def check_vectors(vector_ND: Float64s) -> None:
    """Refuse vectors that no codeword can be near to.

    Raises
    ------
    BadInput
        If one holds a value that is not finite, or so large that its square is not.
    """
    for begin in range(0, len(vector_ND), _ROWS):
        fits_N = (np.abs(vector_ND[begin : begin + _ROWS]) <= _LARGEST).all(axis=1)
        if not fits_N.all():
            raise BadInput(
                f"item vector {begin + int(np.argmin(fits_N))} holds a value that is not finite or "
                "too large: mend the edge weights and prices that it was made of"
            )


def load_quantizer(name: str, arrays: dict[str, Float64s]) -> Quantizer:
    """Rebuild a quantizer from its arrays.

    Raises
    ------
    BadInput
        If no quantizer has this name.
    """
    try:
        return _kind(name).load(arrays)
    except BadParams as error:
        raise BadInput(
            f"codebook of unknown quantizer {name}; raise sid.generation to learn a new one"
        ) from error


def _kind(name: str) -> Kind:
    return cast(Kind, component("tessera.stages.sid.quantizers", name))


def codebook_size(items: int, params: SidParams) -> int:
    """Codewords of a level: as asked, else the power of two nearest to items / 16, 4 to 256."""
    wanted = params.codebook_size or 2 ** round(np.log2(min(max(items / 16, 4), 256)))
    return max(min(int(wanted), items), 1)
