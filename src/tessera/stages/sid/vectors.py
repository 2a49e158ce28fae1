"""What an item is, as one vector: blocks such as its content, side by side.

Everything learnt from the catalogue (terms, SVD, means and scales) is kept, so that an item that
comes later gets a vector of the same space.

Legend: N items, F terms, W content width, T topology measures, D vector width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import ibis
import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.components import component
from tessera.shared.codes.words import FIELDS, TEXT
from tessera.stages.sid import factors
from tessera.stages.sid.declared import LINKS, declared_links
from tessera.stages.sid.history import History
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.text import (
    fit_tfidf,
    item_terms,
    sentence_vectors,
    tfidf,
    unit,
)

MEASURES = ("degree", "pagerank", "core_number", "clustering")
STRUCTURE = (*MEASURES, "weighted_degree", "neighbour_degree", "neighbour_pagerank", "causal_in",
             "causal_out")  # fmt: skip
_SIGNED = ("causal_in", "causal_out")
_FACTORED = {"behaviour", "near_behaviour"}
NEIGHBOUR_KINDS = ("co_acquired", "transition")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items, sorted by id."""

    item_ids: list[str]
    terms_N: list[list[str]]
    sentence_N: list[str]
    topology_NT: Float64s
    """NaN for items without events."""
    neighbour_NN: sparse.csr_array
    """Edge weights; rows sum to 1, or to 0 for an item without neighbours."""
    structure_NS: Float64s = field(default_factory=lambda: np.empty((0, 0)))
    """NaN for items without events; this and what follows is empty while no block reads it."""
    link_NV: sparse.csr_array = field(default_factory=lambda: sparse.csr_array((0, 0)))
    """Declared links."""
    history: History | None = None
    behaviour_NZ: Float64s = field(default_factory=lambda: np.empty((0, 0)))
    """Factors; NaN for items that nobody acquired."""

    @property
    def price_NP(self) -> Float64s:
        """How prices moved; NaN for items without any."""
        return self.history.price_NP if self.history else np.full((len(self.item_ids), 1), np.nan)

    @property
    def query_NH(self) -> Float64s:
        """What was asked before a click; NaN for items that hardly anybody searched for."""
        return self.history.query_NH if self.history else np.full((len(self.item_ids), 1), np.nan)


@dataclass(frozen=True, slots=True)
class Space:
    """What turns items into vectors."""

    vocabulary: list[str]
    arrays: dict[str, Float64s]
    reference: list[str] = field(default_factory=list)
    """Items that factors were learnt from; none while no block reads factors."""


class Block(Protocol):
    """What a module of `blocks` has."""

    def rows(self, catalogue: Catalogue, content_NW: Float64s) -> Float64s:
        """Values [N, W] of this block, NaN where unknown; `content_NW` is every item's content."""

    def scale(self, block_NW: Float64s) -> tuple[Float64s, Float64s]:
        """Mean and scale, learnt once and kept with the codebook, that bring its spread to 1."""


def read_catalogue(
    items: ibis.Table, nodes: ibis.Table, edges: ibis.Table, history: History | None = None
) -> Catalogue:
    """Read items with their topology and neighbours; `history` is that of the same items."""
    rows = items.select("item_id", *TEXT, *FIELDS).order_by("item_id").to_pyarrow().to_pydict()
    item_ids = rows["item_id"]
    texts = list(zip(*(rows[name] for name in TEXT), strict=True))
    fields = list(zip(*(rows[name] for name in FIELDS), strict=True))
    return Catalogue(
        item_ids=item_ids,
        terms_N=[item_terms(text, field) for text, field in zip(texts, fields, strict=True)],
        sentence_N=[
            ". ".join(part for part in (*text, *field) if part)
            for text, field in zip(texts, fields, strict=True)
        ],
        topology_NT=_topology(nodes, item_ids, MEASURES),
        neighbour_NN=_neighbours(edges, item_ids),
        structure_NS=_topology(nodes, item_ids, STRUCTURE),
        link_NV=declared_links(list(zip(*(rows[name] for name in LINKS), strict=True))),
        history=history,
    )


def fit_space(catalogue: Catalogue, params: SidParams) -> Space:
    """Learn terms, SVD, factors, means and scales from a catalogue."""
    vocabulary: list[str] = []
    arrays: dict[str, Float64s] = {}
    reference: list[str] = []
    if params.text_encoder == "tfidf":
        vocabulary, arrays = fit_tfidf(catalogue.terms_N, params)
    if _FACTORED & params.block_weights.keys():
        acquired_UN = _history(catalogue).acquired_UN
        reference = catalogue.item_ids
        arrays["factors"] = factors.learn(acquired_UN, params.behaviour_width, params.seed)
    space = Space(vocabulary, arrays, reference)
    for name, block in _blocks(catalogue, space, params).items():
        arrays[f"{name}_mean"], arrays[f"{name}_scale"] = _block(name).scale(block)
    return space


def vectorise(catalogue: Catalogue, space: Space, params: SidParams) -> Float64s:
    """Vector [N, D] of every item: the blocks side by side, each scaled to its weight."""
    weight = params.block_weights
    scaled = [
        weight[name] * (block - space.arrays[f"{name}_mean"]) * space.arrays[f"{name}_scale"]
        for name, block in _blocks(catalogue, space, params).items()
    ]
    return np.nan_to_num(np.concatenate(scaled, axis=1))  # no topology yet: the average item


def coarse_columns(space: Space, params: SidParams) -> Bools:
    """Columns [D] of the vectors that the first level alone sees: those of `coarse_blocks`."""
    return np.concatenate([
        np.full(len(space.arrays[f"{name}_mean"]), name in params.coarse_blocks)
        for name in params.block_weights
    ])  # fmt: skip


def _blocks(catalogue: Catalogue, space: Space, params: SidParams) -> dict[str, Float64s]:
    if space.vocabulary:
        weight_NF = tfidf(catalogue.terms_N, space.vocabulary, space.arrays["idf"])
        content_NW = unit(weight_NF @ space.arrays["components"].T)
    else:
        content_NW = sentence_vectors(catalogue.sentence_N)
    if space.reference:
        behaviour_NZ = factors.place(_history(catalogue), space.reference, space.arrays["factors"])
        catalogue = replace(catalogue, behaviour_NZ=behaviour_NZ)
    return {name: _block(name).rows(catalogue, content_NW) for name in params.block_weights}


def _history(catalogue: Catalogue) -> History:
    assert catalogue.history is not None, "blocks of behaviour ask for a history"
    return catalogue.history


def _block(name: str) -> Block:
    return cast(Block, component("tessera.stages.sid.blocks", name))


def _topology(nodes: ibis.Table, item_ids: list[str], measures: tuple[str, ...]) -> Float64s:
    rows = nodes.select("item_id", *measures, "is_new").order_by("item_id").to_pyarrow()
    place = {item: k for k, item in enumerate(rows["item_id"].to_pylist())}
    seen_V = ~rows["is_new"].to_numpy()
    value_VT = np.stack([rows[name].to_numpy() for name in measures], axis=1)
    for name in ("pagerank", "neighbour_pagerank"):
        if name in measures:
            value_VT[:, measures.index(name)] *= seen_V.sum()  # 1 is an average item
    heavy = [k for k, name in enumerate(measures) if name not in ("clustering", *_SIGNED)]
    value_VT[:, heavy] = np.log1p(value_VT[:, heavy])
    value_VT[~seen_V] = np.nan
    known_VT = np.concatenate([value_VT, np.full((1, len(measures)), np.nan)])
    return np.asarray(known_VT[[place.get(item, -1) for item in item_ids]], dtype=np.float64)


def _neighbours(edges: ibis.Table, item_ids: list[str]) -> sparse.csr_array:
    rows = (
        edges.filter(edges.kind.isin(NEIGHBOUR_KINDS))
        .select("source_id", "target_id", "kind", "weight")
        .order_by("kind", "source_id", "target_id")
        .to_pyarrow()
    )
    place = {item: k for k, item in enumerate(item_ids)}
    source = np.array([place.get(item, -1) for item in rows["source_id"].to_pylist()], np.int64)
    target = np.array([place.get(item, -1) for item in rows["target_id"].to_pylist()], np.int64)
    known = (source >= 0) & (target >= 0)
    weight = rows["weight"].to_numpy()[known]
    shape = (len(item_ids), len(item_ids))
    weight_NN = sparse.csr_array((weight, (source[known], target[known])), shape=shape)
    total_N = weight_NN.sum(axis=1)
    return (sparse.diags_array(1.0 / np.where(total_N > 0, total_N, 1.0)) @ weight_NN).tocsr()
