"""monitoring/watch.yaml as a typed value: what is compared with what, and when it alarms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from tessera.contracts.params import STRICT
from tessera.contracts.specs import read_spec
from tessera.contracts.tables import ACTIONS

EventColumn = Literal[
    "action",
    "channel",
    "log_amount",
    "user_risk",
    "segment",
    "category",
    "sector",
    "item_risk",
    "popularity",
]
ExposureColumn = Literal[
    "policy_id",
    "log_propensity",
    "candidates",
    "user_risk",
    "segment",
    "category",
    "sector",
    "item_risk",
    "popularity",
]
ListColumn = Literal["category", "sector", "item_risk", "popularity"]
Bias = Literal["average_popularity", "top_share", "tail_share", "gini", "coverage"]
NUMERICAL = ("log_amount", "log_propensity", "candidates")
"""Columns that are numbers; all others are categories."""


class Rule(BaseModel):
    """How the drift of a column is measured and from where on it is an alarm."""

    model_config = STRICT

    method: Literal["psi", "wasserstein"]
    """Population stability index, or Wasserstein distance in standard deviations."""
    alarm: float = Field(gt=0, le=100)
    """Alarm at this effect and above."""


class Bound(BaseModel):
    """When a figure of popularity bias is an alarm."""

    model_config = STRICT

    above: float | None = Field(None, ge=0)
    """Alarm above this."""
    below: float | None = Field(None, ge=0)
    """Alarm below this."""
    amplified: float | None = Field(None, gt=0)
    """Alarm if more than so many times the figure of the interactions."""


class Drift(BaseModel):
    """Columns to compare, by table."""

    model_config = STRICT

    events: Mapping[EventColumn, Rule] = {}
    """After the cut against before."""
    exposures: Mapping[ExposureColumn, Rule] = {}
    """After the cut against before."""
    lists: Mapping[ListColumn, Rule] = {}
    """Recommendations against interactions before the cut."""


class Watch(BaseModel):
    """All that monitoring/watch.yaml says."""

    model_config = STRICT

    reference_days: int = Field(ge=1, le=36_500)
    """Days before the cut that the present is compared with."""
    current_days: int = Field(ge=1, le=36_500)
    """Days after the cut that count as the present."""
    list_length: int = Field(ge=1, le=1000)
    """Positions of a recommendation list that are looked at."""
    head_percent: float = Field(gt=0, le=100)
    """The most popular items whose share is watched."""
    tail_head_share: float = Field(gt=0, lt=1)
    """The long tail lies outside the smallest head with this share of interactions."""
    interactions: tuple[str, ...] = Field(min_length=1)
    """Actions that make an item popular."""
    drift: Drift
    popularity_bias: dict[Bias, Bound]

    @field_validator("interactions")
    @classmethod
    def _actions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(names) - set(ACTIONS)
        if unknown:
            raise ValueError(f"unknown action {min(unknown)!r}, known: {', '.join(ACTIONS)}")
        return names


def load_watch(path: Path) -> Watch:
    """Read and check the specification.

    Raises
    ------
    BadParams
        If it is missing, no YAML, or holds something unknown or out of bounds; one line.
    """
    return read_spec(path, Watch)
