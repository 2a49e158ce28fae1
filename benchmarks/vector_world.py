"""Vectors beyond memory, drawn in parts, and which of them are nearest by looking at all.

Vectors are unit vectors around centres, which lie around regions of which some are much more
popular; queries are drawn alike.  A filter lists each row by chance, or whole regions of the space,
as a risk class does.

Shapes: N vectors, Q queries, D width, R regions, C centres, K wanted rows, P rows of a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import spans
from tessera.contracts.arrays import Bools, Float32s, Ints

WIDTH, WANTED, QUERIES = 64, 100, 200
_REGIONS, _CENTRES = 400, 20_000
_AROUND_REGION, _AROUND_CENTRE = 0.7, 0.5
"""Lengths of the noise, beside vectors of length 1."""
_ROWS = 200_000
_FILTERS = (("none", 1.0), ("by chance", 0.5), ("by chance", 0.01),
            ("by region", 0.5), ("by region", 0.1))  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """Vectors in a file, and what is asked of them."""

    vector_ND: Float32s
    query_QD: Float32s
    region_N: Ints
    seed: int

    def filters(self) -> Iterator[tuple[str, float, Bools]]:
        """Yield filters by kind and share of rows that they are to list."""
        rng = np.random.default_rng([self.seed, 1])
        order_R = rng.permutation(_REGIONS)
        count_R = np.bincount(self.region_N, minlength=_REGIONS)[order_R]
        for kind, share in _FILTERS:
            if kind == "by region":
                stop = int(np.searchsorted(np.cumsum(count_R), share * len(self.region_N))) + 1
                yield kind, share, np.isin(self.region_N, order_R[:stop])
            else:
                yield kind, share, rng.random(len(self.region_N), np.float32) < share

    def nearest(self) -> dict[str, Ints]:
        """Return the rows [Q, K] that are nearest, by kind and share of each filter."""
        listed = {f"{kind} {share}": listed_N for kind, share, listed_N in self.filters()}
        best = {name: (np.zeros((QUERIES, 0), np.float32), np.zeros((QUERIES, 0), int))
                for name in listed}  # fmt: skip
        for begin, end in spans(len(self.vector_ND), _ROWS):
            score_QP = self.query_QD @ self.vector_ND[begin:end].T
            for name, listed_N in listed.items():
                at_P = np.flatnonzero(listed_N[begin:end])
                best[name] = _best(*best[name], score_QP[:, at_P], at_P + begin)
        return {name: row_QK for name, (_, row_QK) in best.items()}


def _best(score_QK: Float32s, row_QK: Ints, score_QP: Float32s, row_P: Ints) -> Any:
    """Keep the best of those so far and of a part."""
    keep_QK = np.argpartition(-score_QP, min(WANTED, len(row_P) - 1), axis=1)[:, :WANTED]
    score_QB = np.hstack([score_QK, np.take_along_axis(score_QP, keep_QK, 1)])
    row_QB = np.hstack([row_QK, row_P[keep_QK]])
    first_QK = np.argsort(-score_QB, axis=1)[:, :WANTED]
    return np.take_along_axis(score_QB, first_QK, 1), np.take_along_axis(row_QB, first_QK, 1)


def draw(count: int, seed: int, folder: Path) -> World:
    """Write so many vectors, a part at a time; return them mapped, with queries."""
    rng = np.random.default_rng(seed)
    chance_R = 1 / np.arange(1, _REGIONS + 1)
    region_C = rng.choice(_REGIONS, _CENTRES, p=chance_R / chance_R.sum())
    around_RD = _unit(rng.normal(size=(_REGIONS, WIDTH)))
    noise_CD = _AROUND_REGION / WIDTH**0.5 * rng.normal(size=(_CENTRES, WIDTH))
    centre_CD = _unit(around_RD[region_C] + noise_CD)

    def some(rows: int) -> tuple[Float32s, Ints]:
        at_P = rng.integers(0, _CENTRES, rows)
        noise_PD = _AROUND_CENTRE / WIDTH**0.5 * rng.standard_normal((rows, WIDTH), np.float32)
        return _unit(centre_CD[at_P] + noise_PD), region_C[at_P]

    query_QD, _ = some(QUERIES)
    region_N, path = np.empty(count, np.int64), folder / "drawn.f32"
    with path.open("wb") as file:
        for begin, end in spans(count, _ROWS):
            vector_PD, region_N[begin:end] = some(end - begin)
            vector_PD.tofile(file)
    return World(_mapped(path, count), query_QD, region_N, seed)


def _mapped(path: Path, count: int) -> Float32s:
    return np.memmap(path, np.float32, "r", shape=(count, WIDTH))


def _unit(vector_AD: Any) -> Float32s:
    return np.asarray(vector_AD / np.linalg.norm(vector_AD, axis=1, keepdims=True), np.float32)
