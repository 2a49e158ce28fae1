"""What can be bought: its content tells its topic, its popularity does not tell its worth.

Shapes: I items, K topics, E planted effects an item can have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.policies.suitability import UNKNOWN_ITEM
from tessera.stages.synth.params import SynthParams


@dataclass(frozen=True, slots=True)
class Topic:
    """A latent theme that tastes and descriptions share."""

    name: str
    sector: str
    risk: float
    mix: tuple[float, float, float, float, float]
    """Odds of the categories, in their order."""
    words: str
    """Of which descriptions are made."""


CATEGORIES = ("fund", "stock", "bond", "card", "loan")
SUBCATEGORIES = (
    ("index fund", "active fund", "mixed fund"),
    ("large cap", "mid cap", "small cap"),
    ("government bond", "corporate bond", "covered bond"),
    ("debit card", "credit card"),
    ("consumer loan", "mortgage", "margin loan"),
)
CATEGORY_RISK = np.array([0.0, 1.2, -1.2, -0.8, -0.4])
RESPONSE_BY_CATEGORY = np.array([1.4, 1.0, 0.6, 1.3, 0.3])
"""How strongly buying a category reacts to its being shown."""
TRADED = ("fund", "stock", "bond")
TOPICS = (
    Topic("technology", "technology", 1.0, (4, 6, 1, 0, 0),
          "software chips cloud robots data network platform semiconductor"),
    Topic("green energy", "energy", 0.4, (4, 4, 3, 0, 1),
          "wind solar grid battery hydrogen climate renewable carbon"),
    Topic("health", "health care", 0.0, (4, 4, 2, 0, 0),
          "pharma biotech clinic vaccine device genome hospital therapy"),
    Topic("income", "financials", -1.0, (4, 1, 6, 1, 0),
          "dividend coupon yield quarterly payout savings stable treasury"),
    Topic("property", "real estate", -0.4, (4, 2, 3, 0, 3),
          "housing rent office warehouse land mortgage building tenant"),
    Topic("emerging markets", "industrials", 0.8, (5, 4, 3, 0, 0),
          "asia latin frontier export shipping infrastructure currency growth"),
    Topic("commodities", "materials", 0.6, (4, 4, 1, 0, 1),
          "gold copper lithium wheat mining metal oil futures"),
    Topic("everyday credit", "consumer", -1.2, (1, 1, 1, 5, 5),
          "payment cashback travel instalment budget shopping salary overdraft"),
)  # fmt: skip
SECTORS = tuple(topic.sector for topic in TOPICS)
ISSUERS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper",
           "Larch", "Maple", "Oak", "Pine", "Rowan", "Spruce")  # fmt: skip
_EDGE_STRENGTH = 1.2
"""Log-intensity that holding the cause adds to buying the effect; ours."""
_EDGES_PER_ITEM = 2
"""Planted effects of each item that has any; ours."""
_LAUNCH = 11
"""Number of the stream of chance that says what is launched."""
_FILLER = "with of exposure long term diversified strategy simple daily selected"


@dataclass(frozen=True, slots=True)
class Assets:
    """Everything that is true of items; risk 0 means that the source does not know it."""

    vector_IK: Float64s
    topic_I: Ints
    category_I: Ints
    subcategory_I: Ints
    sector_I: Ints
    issuer_I: Ints
    risk_I: Ints
    born_day_I: Ints
    dead_day_I: Ints
    """First day after its life; beyond the log for most."""
    popularity_I: Float64s
    trend_I: Float64s
    """Change of popularity over the whole log."""
    wealth_pull_I: Float64s
    """How much more popular it is with the wealthy."""
    target_IE: Ints
    """Items whose purchase is changed by holding this one; -1 where there is none."""
    strength_IE: Float64s
    """Added log-intensity."""

    @property
    def traded_I(self) -> npt.NDArray[np.bool_]:
        """Tell what has a price."""
        return np.isin(self.category_I, [CATEGORIES.index(name) for name in TRADED])


def draw_assets(params: SynthParams, rng: np.random.Generator) -> Assets:
    """Draw items with topic, life, popularity and planted effects on each other."""
    size = params.items
    topic_I = rng.permutation(np.arange(size) % len(TOPICS))
    vector_IK = np.eye(len(TOPICS))[topic_I] + 0.25 * np.abs(rng.normal(size=(size, len(TOPICS))))
    vector_IK /= np.linalg.norm(vector_IK, axis=1, keepdims=True)
    category_I = _pick(np.array([TOPICS[topic].mix for topic in topic_I]), rng)
    kinds_I = np.array([len(SUBCATEGORIES[category]) for category in category_I])
    sector_I = np.where(rng.random(size) < 0.85, topic_I, rng.integers(0, len(TOPICS), size))
    risk_I, born_day_I, dead_day_I = _lives(topic_I, category_I, params, rng)
    popularity_I = rng.normal(size=size)
    target_IE, strength_IE = _effects(topic_I, risk_I, popularity_I, params, rng)
    return Assets(
        vector_IK,
        topic_I,
        category_I,
        rng.integers(0, kinds_I),
        sector_I,
        rng.integers(0, len(ISSUERS), size),
        risk_I,
        born_day_I,
        dead_day_I,
        popularity_I,
        0.8 * rng.normal(size=size),
        0.6 * rng.normal(size=size),
        target_IE,
        strength_IE,
    )


def describe(assets: Assets, rng: np.random.Generator) -> list[str]:
    """Write a few words about each item, most of them of its topic."""
    texts = []
    for topic, category, sub, sector in zip(
        assets.topic_I, assets.category_I, assets.subcategory_I, assets.sector_I, strict=True
    ):
        own = rng.choice(TOPICS[topic].words.split(), 4, replace=False)
        stray = rng.choice(TOPICS[rng.integers(len(TOPICS))].words.split(), 1)
        filler = rng.choice(_FILLER.split(), 3, replace=False)
        words = [*own, *stray, *filler]
        head = f"{SUBCATEGORIES[category][sub]} {SECTORS[sector]}"
        texts.append(f"{head} {' '.join(rng.permutation(words))}")
    return texts


def _pick(odds_IM: Float64s, rng: np.random.Generator) -> Ints:
    share_IM = np.cumsum(odds_IM, axis=1) / odds_IM.sum(axis=1, keepdims=True)
    picked_I: Ints = (share_IM <= rng.random((len(odds_IM), 1))).sum(axis=1)
    return picked_I


def _lives(
    topic_I: Ints, category_I: Ints, params: SynthParams, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Risk classes by quartile, births and deaths; the safest items are always there."""
    size, days = params.items, params.days
    topic_risk_K = np.array([topic.risk for topic in TOPICS])
    danger_I = topic_risk_K[topic_I] + CATEGORY_RISK[category_I] + 0.5 * rng.normal(size=size)
    rank_I = np.argsort(np.argsort(danger_I))
    risk_I = 1 + rank_I * 4 // size
    born_I = np.where(rng.random(size) < 0.2, rng.integers(1, int(0.95 * days), size), 0)
    dies_I = rng.random(size) < 0.08
    dead_I = np.where(dies_I, rng.integers(days // 5, days, size), 100 * days)
    dead_I = np.maximum(dead_I, born_I + 30)
    # Even the most cautious investor must always find a full candidate set.
    evergreen_I = rank_I < params.candidates
    unknown_I = (rng.random(size) < 0.02) & ~evergreen_I
    if params.launch_day is not None:
        new_I = _launched(params) & ~evergreen_I
        born_I = np.where(new_I, params.launch_day, born_I)
        dead_I = np.where(new_I, 100 * days, dead_I)
    return (
        np.where(unknown_I, 0, risk_I),
        np.where(evergreen_I, 0, born_I),
        np.where(evergreen_I, 100 * days, dead_I),
    )


def _launched(params: SynthParams) -> npt.NDArray[np.bool_]:
    """Draw what is launched together, by a chance of its own: without it the market is the same."""
    chance = np.random.default_rng((params.seed, _LAUNCH))
    return chance.random(params.items) < params.launch_share


def _effects(
    topic_I: Ints,
    risk_I: Ints,
    popularity_I: Float64s,
    params: SynthParams,
    rng: np.random.Generator,
) -> tuple[Ints, Float64s]:
    """Plant effects between topics, where common taste cannot be mistaken for them."""
    size, width = params.items, _EDGES_PER_ITEM
    target_IE = np.full((size, width), -1, dtype=np.int64)
    strength_IE = np.zeros((size, width))
    class_I = np.where(risk_I == 0, UNKNOWN_ITEM, risk_I)
    for cause in np.flatnonzero(popularity_I > np.median(popularity_I)):
        fits = (class_I <= class_I[cause]) & (topic_I != topic_I[cause])
        pool = np.flatnonzero(fits)
        count = min(width, len(pool))
        target_IE[cause, :count] = rng.choice(pool, count, replace=False)
        sign = np.where(rng.random(count) < 0.75, 1.0, -1.0)
        strength_IE[cause, :count] = sign * _EDGE_STRENGTH * rng.uniform(0.7, 1.5, count)
    return target_IE, strength_IE
