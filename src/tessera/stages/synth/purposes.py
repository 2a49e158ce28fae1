"""What people search for: purposes that no topic tells of, in words that items hardly use.

An item serves one or two purposes, and says so by rare words at the end of its description; people
say the same in words of their own, so that mostly clicks tell which words belong together.

Shapes: I items, P purposes, F phrasings of a purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Bools
from tessera.stages.synth.params import SynthParams


@dataclass(frozen=True, slots=True)
class Purpose:
    """A search intent, independent of topics."""

    name: str
    said: str
    """Words of those who search for it."""
    signs: str
    """Rare words of the items that serve it."""


PURPOSES = (
    Purpose("retirement income", "pension retire old age work later monthly living",
            "annuity drawdown decumulation longevity lifetime vesting"),
    Purpose("first flat", "flat buy own home deposit young first keys",
            "equityloan prepayment notary downpayment starter occupancy"),
    Purpose("currency hedge", "dollar franc exchange abroad rate swing protect euro",
            "hedged overlay forwards unhedged crossrate parity"),
    Purpose("education of children", "school child university study daughter son fees grow",
            "minor custodial tuition bursary guardian eighteen"),
    Purpose("emergency fund", "broken car rainy day reserve anytime quick access",
            "overnight callable redeemable instant liquidity notice"),
    Purpose("tax relief", "tax save allowance return declare year less refund",
            "deductible exempt wrapper deferral withholding bracket"),
    Purpose("inheritance", "give heirs pass family will leave house after",
            "bequest beneficiary usufruct succession testament dynasty"),
    Purpose("conscience", "fair honest world good harm weapons animals planet",
            "exclusion stewardship screened bestinclass impact taxonomy"),
)  # fmt: skip
PHRASINGS, EARLY = 12, 8
"""Phrasings of a purpose; the first ones are in use all along, the last third comes late."""
_STREAM = 14
"""Number of the stream of chance that says what serves a purpose, and how it is said."""
_SECOND = 0.4
"""Share of the items that serve a second purpose; ours."""
_SAID, _SIGNS = 2, 2
"""Words of people in a phrasing, and rare words that an item says of a purpose; ours."""
_BORROWED = 0.3
"""Share of the phrasings that use a word of the items too; ours."""
_FILLER = "how best for my safe plan need simple"


@dataclass(frozen=True, slots=True)
class Wants:
    """What serves which purpose, and how each is said."""

    serves_IP: Bools
    mark_I: list[str]
    """What an item adds to its description."""
    phrasing_PF: list[list[str]]


def draw_wants(params: SynthParams) -> Wants:
    """Draw purposes of items, and phrasings; every purpose is served by as many items first."""
    rng = np.random.default_rng((params.seed, _STREAM))
    size, kinds = params.items, len(PURPOSES)
    first_I = rng.permutation(np.arange(size) % kinds)
    second_I = (first_I + rng.integers(1, kinds, size)) % kinds
    serves_IP = np.eye(kinds, dtype=bool)[first_I]
    serves_IP |= np.eye(kinds, dtype=bool)[second_I] & (rng.random(size) < _SECOND)[:, None]
    marks = [
        " ".join(word for p in np.flatnonzero(serves_P) for word in _some(PURPOSES[p].signs, rng))
        for serves_P in serves_IP
    ]
    return Wants(serves_IP, marks, [_phrasings(purpose, rng) for purpose in PURPOSES])


def marked(params: SynthParams, texts: list[str]) -> list[str]:
    """Let descriptions tell the purposes of their items; as they are where nobody searches."""
    if params.queries == 0:
        return texts
    return [f"{text} {mark}" for text, mark in zip(texts, draw_wants(params).mark_I, strict=True)]


def _some(words: str, rng: np.random.Generator) -> list[str]:
    return [str(word) for word in rng.choice(words.split(), _SIGNS, replace=False)]


def _phrasings(purpose: Purpose, rng: np.random.Generator) -> list[str]:
    """Draw phrasings of which no two have the same words."""
    found: dict[frozenset[str], str] = {}
    while len(found) < PHRASINGS:
        words = [*rng.choice(purpose.said.split(), _SAID, replace=False),
                 *rng.choice(_FILLER.split(), 1)]  # fmt: skip
        if rng.random() < _BORROWED:
            words += [*rng.choice(purpose.signs.split(), 1)]
        found.setdefault(frozenset(words), " ".join(str(word) for word in rng.permutation(words)))
    return list(found.values())
