"""What a person may turn in `evaluate`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, Action, from_data, from_root


class EvaluateParams(BaseModel):
    """Parameters of the stage `evaluate`."""

    model_config = STRICT

    relevant_actions: tuple[Action, ...] = Field(("buy", "click", "rate"), min_length=1)
    """Actions that make an item relevant: baselines learn from them, and lists are held against
    them.  More than `data.acquired`, since a click tells of a taste and not of a holding."""
    least_rating: float = from_data("least_rating")
    future_items: bool = from_data("future_items")
    recent_days: int = Field(30, ge=1, le=3650)
    """Recent popularity counts acquisitions of so many days before the cut."""
    demand_days: float = from_data("demand_days")
    knn_neighbours: int = Field(100, ge=1, le=10_000)
    """Item-kNN: most similar items kept for each item."""
    knn_shrink: float = Field(10.0, ge=0.0)
    """Item-kNN: added to the denominator of the cosine, so that rare pairs count less."""
    ease_l2: float = Field(250.0, gt=0.0)
    """EASE: ridge penalty."""
    ease_items: int = Field(15_000, ge=10, le=50_000)
    """EASE: only so many items, the most popular, as its matrix is dense."""
    als_factors: int = Field(32, ge=1, le=1024)
    """ALS: width of the factors."""
    als_l2: float = Field(50.0, ge=0.0)
    """ALS: ridge penalty."""
    als_weight: float = Field(5.0, gt=0.0)
    """ALS: confidence of an acquired item over one that was not."""
    cold_days: int = Field(90, ge=0)
    """Slice: an item offered since fewer days before the cut, or never acquired before, is cold."""
    head_share: float = Field(0.8, gt=0.0, le=1.0)
    """Slice: the long tail lies outside the smallest head with this share of acquisitions."""
    draws: int = Field(500, ge=20, le=100_000)
    """Bootstrap resamples of the investors (of the assets for profit)."""
    level: float = Field(0.95, gt=0.5, lt=1.0)
    """Two-sided level of every interval."""
    seed: int = from_root(20240708)
    """Seed of the random baseline, ALS and the bootstrap."""
