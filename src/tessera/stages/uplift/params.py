"""Params of the uplift stage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, from_data, from_root

Kind = Literal["s", "t", "x", "dr"]


class UpliftParams(BaseModel):
    """What counts as an effect, and how much of the log is used to find it."""

    model_config = STRICT

    window_days: float = from_data("window_days")
    train_requests: int = Field(default=40_000, ge=100, le=5_000_000)
    """Requests before the cut that are learnt from and, held back by fold, scored; sampled."""
    test_requests: int = Field(default=20_000, ge=100, le=5_000_000)
    """Requests after the cut that the report is repeated on, sampled."""
    folds: int = Field(default=3, ge=2, le=20)
    """Groups of investors; each is scored by the model that has learnt from the others."""
    learner: Kind = "x"
    """Learner whose effects are published; the report may show others beside it."""
    report_learners: tuple[Kind, ...] = ("s", "t", "x", "dr")
    """Learners of the report beside the published one; T is always there, as the outcome model."""
    score_later: bool = False
    """Score every request after the cut too, as `hstu.uplift_weight` needs: their candidates are
    read whole into memory."""
    trees: int = Field(default=20, ge=1, le=1000)
    """Boosting rounds of each base model."""
    leaves: int = Field(default=8, ge=2, le=255)
    """Leaves of each tree; effects are faint, so few."""
    bootstrap: int = Field(default=100, ge=10, le=10_000)
    """Resamples of investors behind each interval."""
    permutations: int = Field(default=199, ge=1, le=100_000)
    """Permutations of investors behind each p-value."""
    alpha: float = Field(default=0.05, gt=0.0, le=0.5)
    """Intervals hold with 1 - alpha, two-sided."""
    seed: int = from_root(7)
    """Seed of samples, base models and resamples."""
