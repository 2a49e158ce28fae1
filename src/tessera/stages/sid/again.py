"""The same items encoded once more from a little less, which tells how far their vectors tremble.

Between two snapshots a text is revised and the graph is built anew.  Both are stood in for by
leaving out each term and each edge with the same chance, so that the noise of a codebook is known
before a second snapshot exists.

Legend: N items, E edges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from tessera.stages.sid.vectors import Catalogue

LEFT_OUT = 0.1
"""Chance of each term and of each edge; `benchmarks/sid_health.py` sets it beside snapshots a
quarter of a year apart."""


def thinned(catalogue: Catalogue, seed: int) -> Catalogue:
    """Leave out some terms and edges of each item; what the graph measures of it stays.

    Parameters
    ----------
    catalogue : Catalogue
        Items, sorted by id: equal items and seed give equal losses.
    seed : int
        Of the losses.
    """
    rng = np.random.default_rng(seed)
    return replace(
        catalogue,
        terms_N=[_some(terms, rng) for terms in catalogue.terms_N],
        sentence_N=[" ".join(_some(told.split(" "), rng)) for told in catalogue.sentence_N],
        neighbour_NN=_fewer(catalogue.neighbour_NN, rng),
    )


def _some(parts: list[str], rng: np.random.Generator) -> list[str]:
    return [part for part, draw in zip(parts, rng.random(len(parts)), strict=True)
            if draw >= LEFT_OUT]  # fmt: skip


def _fewer(weight_NN: sparse.csr_array, rng: np.random.Generator) -> sparse.csr_array:
    """Drop edges; rows that keep one sum to 1 again."""
    rest = weight_NN.copy()
    rest.data = np.where(rng.random(rest.nnz) >= LEFT_OUT, rest.data, 0.0)
    rest.eliminate_zeros()
    total_N = rest.sum(axis=1)
    return (sparse.diags_array(1.0 / np.where(total_N > 0, total_N, 1.0)) @ rest).tocsr()
