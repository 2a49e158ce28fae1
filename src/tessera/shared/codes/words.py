"""What a code means in words: the terms and fields that set its items apart from their siblings.

Weighted log-odds with an informative prior (Monroe, Colaresi and Quinn 2008, equations 15 to 22),
of whether an item has a term, so that a long text counts no more than a short one.

Legend: N items, F terms, L levels, G beginnings of codes, E terms of a beginning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from tessera.contracts.arrays import Bools, Float64s, Ints

TEXT = ("name", "text")
FIELDS = ("category", "subcategory", "sector", "issuer", "market_id")
MOST = 4
"""Words of a code that are kept."""
_LEAST_Z = 1.64
"""One-sided 5 % of the normal distribution: weaker ones may be chance."""
_LEAST_SHARE = 0.5
"""Of the items of a code that a word must be true of: it says what most of them are."""
_PRIOR = 1.0
"""Items that the share of a term among all siblings counts as."""
_LOOKED = 4
"""Candidates that are looked at for each word that is wanted."""
_WORD = re.compile(r"[^\W\d_]{3,}")

Prefix = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Words of every beginning of a code that two items or more have."""

    of: Mapping[Prefix, tuple[str, ...]]
    """The most telling first."""
    items: Mapping[Prefix, int]
    """Items that begin so."""


def item_terms(texts: Sequence[str | None], fields: Sequence[str | None]) -> frozenset[str]:
    """Terms of an item: values of its fields as they stand, and words of its text.

    >>> sorted(item_terms(["Fir covered bond 003"], ["bond", None, "real estate"]))
    ['bond', 'covered', 'fir', 'real estate']
    """
    words = set(_WORD.findall(" ".join(text for text in texts if text).lower()))
    return frozenset(words - ENGLISH_STOP_WORDS | {value.lower() for value in fields if value})


def rows_terms(rows: Mapping[str, Sequence[str | None]]) -> list[frozenset[str]]:
    """Terms of each row of a table of items, given as columns."""
    texts = zip(*(rows[name] for name in TEXT), strict=True)
    fields = zip(*(rows[name] for name in FIELDS), strict=True)
    return [item_terms(text, field) for text, field in zip(texts, fields, strict=True)]


def code_words(terms_N: Sequence[frozenset[str]], code_NL: Ints) -> Words:
    """Say what each beginning of a code means, beside the others of the same parent.

    Parameters
    ----------
    terms_N : Sequence
        Terms of each item.
    code_NL : Ints
        Their codes, without suffix.

    Returns
    -------
    Words
        At most `MOST` words each, none where nothing sets it apart: an only child says no more
        than its parent, and one item is told by its name.  Equal weights stand in the order of
        their letters; a word that stands within another one is left out.

    Three levels of meaning of five items:

    >>> terms = [{"bond", "bank"}, {"bond", "bank"}, {"bond", "rail"}, {"bond", "rail"},
    ...          {"loan"}, {"loan"}]
    >>> code_NL = np.array([[0, 1], [0, 1], [0, 2], [0, 2], [7, 3], [7, 3]])
    >>> code_words([frozenset(one) for one in terms], code_NL).of
    {(0,): ('bond',), (7,): ('loan',)}
    """
    vocabulary, has_NF = _incidence(terms_N)
    words: dict[Prefix, tuple[str, ...]] = {}
    items: dict[Prefix, int] = {}
    parent_N = np.zeros(len(code_NL), np.int64)
    for level in range(code_NL.shape[1]):
        prefix_GL, group_N = np.unique(code_NL[:, : level + 1], axis=0, return_inverse=True)
        group_N = group_N.reshape(-1)
        count_G = np.bincount(group_N)
        found = _telling(has_NF, group_N, parent_N)
        for group in np.flatnonzero(count_G > 1).tolist():
            prefix = tuple(prefix_GL[group].tolist())
            items[prefix] = int(count_G[group])
            if chosen := _choose(vocabulary[term] for term in found.get(group, ())):
                words[prefix] = chosen
        parent_N = group_N
    return Words(words, items)


def _incidence(terms_N: Sequence[frozenset[str]]) -> tuple[list[str], sparse.csr_array]:
    """Terms that two items or more have, in the order of their letters, and who has them."""
    items_with = Counter(term for terms in terms_N for term in terms)
    vocabulary = sorted(term for term, count in items_with.items() if count > 1)
    column = {term: at for at, term in enumerate(vocabulary)}
    held = [sorted(column[term] for term in terms if term in column) for terms in terms_N]
    start_N = np.cumsum([0] + [len(one) for one in held])
    term = np.array([at for one in held for at in one], dtype=np.int64)
    shape = (len(terms_N), len(vocabulary))
    return vocabulary, sparse.csr_array((np.ones(len(term)), term, start_N), shape=shape)


def _telling(has_NF: sparse.csr_array, group_N: Ints, parent_N: Ints) -> dict[int, list[int]]:
    """Terms of each group that set it apart within its parent, the most telling first."""
    counts, above = _by_group(has_NF, group_N), _by_group(has_NF, parent_N)
    parent_G = np.zeros(counts.shape[0], np.int64)
    parent_G[group_N] = parent_N
    size_G, size_P = np.bincount(group_N), np.bincount(parent_N)
    inside = counts.tocoo()
    group_E, term_E = inside.coords[0].astype(np.int64), inside.coords[1].astype(np.int64)
    with_E, among_E = inside.data, size_G[group_E].astype(np.float64)
    all_E = np.asarray(above[parent_G[group_E], term_E]).reshape(-1)
    beside_E = size_P[parent_G[group_E]].astype(np.float64)
    z_E = log_odds_z(with_E, among_E, all_E, beside_E)
    tells_E = (z_E >= _LEAST_Z) & (with_E >= _LEAST_SHARE * among_E)
    order = np.lexsort((term_E[tells_E], -np.round(z_E[tells_E], 9), group_E[tells_E]))
    found: dict[int, list[int]] = {}
    for group, term in zip(
        group_E[tells_E][order].tolist(), term_E[tells_E][order].tolist(), strict=True
    ):
        found.setdefault(group, []).append(term)
    return found


def _by_group(has_NF: sparse.csr_array, group_N: Ints) -> sparse.csr_array:
    shape = (int(group_N.max(initial=-1)) + 1, len(group_N))
    member_GN = sparse.csr_array((np.ones(len(group_N)), (group_N, np.arange(len(group_N)))), shape)
    return (member_GN @ has_NF).tocsr()


def log_odds_z(
    with_E: Float64s, among_E: Float64s, all_E: Float64s, beside_E: Float64s
) -> Float64s:
    """Z-score of the log-odds of a term in a group against the rest of its parent.

    Parameters
    ----------
    with_E, among_E : Float64s
        Items of the group that have the term, and items of the group.
    all_E, beside_E : Float64s
        The same of the parent, the group included.

    Returns
    -------
    Float64s
        0 where the group has no siblings.

    A term of all 10 of a group and of 10 of the 90 others; of half of everybody; without siblings:

    >>> log_odds_z(np.array([10.0, 5, 10]), np.array([10.0, 10, 10]), np.array([20.0, 50, 10]),
    ...            np.array([100.0, 100, 10])).round(2)
    array([3.82, 0.  , 0.  ])
    """
    rest_E, others_E = all_E - with_E, beside_E - among_E
    prior_E = _PRIOR * all_E / beside_E
    cells = (
        with_E + prior_E,
        among_E - with_E + _PRIOR - prior_E,
        rest_E + prior_E,
        others_E - rest_E + _PRIOR - prior_E,
    )
    safe = [np.maximum(cell, 1e-9) for cell in cells]  # a term that all have sets nobody apart
    ratio_E = np.log(safe[0] / safe[1]) - np.log(safe[2] / safe[3])
    has_rest: Bools = (others_E > 0) & (all_E < beside_E)
    return np.where(has_rest, ratio_E / np.sqrt(sum(1.0 / cell for cell in safe)), 0.0)


def _choose(candidates: Iterable[str]) -> tuple[str, ...]:
    """Take the first words that do not repeat each other."""
    chosen: list[str] = []
    for word, _ in zip(candidates, range(_LOOKED * MOST), strict=False):
        parts = set(word.split())
        if any(parts <= set(other.split()) for other in chosen):
            continue
        chosen = [other for other in chosen if not set(other.split()) <= parts]
        chosen.append(word)
    return tuple(chosen[:MOST])
