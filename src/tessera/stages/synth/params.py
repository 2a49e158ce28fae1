"""What a person may turn about the embedded market."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from tessera.contracts.errors import BadParams
from tessera.contracts.params import STRICT, from_data, from_root

_POSITIONS = 3
_VISITS_A_POSITION = 20_000
"""Visits that each further position takes until the gate has the sample that it asks for."""


class SynthParams(BaseModel):
    """Size, logging policy and planted effects of the market."""

    model_config = STRICT

    seed: int = from_root(7)
    """Same seed and params, same bytes."""
    users: int = Field(4_000, ge=50, le=200_000)
    """Investors; some join later, some change their risk class."""
    items: int = Field(400, ge=40, le=50_000)
    """Funds, stocks, bonds, cards and loans; some are born and die on the way."""
    requests: int = Field(220_000, ge=100, le=5_000_000)
    """Visits; each shows one slate."""
    days: int = Field(500, ge=60, le=3_650)
    """Days that the market lives, and length of the log."""
    log_days: int | None = Field(None, ge=30, le=3_650)
    """The log ends after so many days, while the market goes on for whoever plays it on; null: it
    ends with the market."""
    launch_day: int | None = Field(None, ge=1, le=3_650)
    """Day on which `launch_share` of the items come on sale together; null: none do."""
    launch_share: float = Field(0.1, ge=0, le=0.5)
    """Share of the items that come on sale on `launch_day`, beside those that come one by one."""
    countries: int = Field(0, ge=0, le=50)
    """Countries that issuers are declared to be of, in the table of links; 0 writes no links."""
    candidates: int = Field(10, ge=2, le=50)
    """Suitable live items that could be shown at one visit."""
    slate_size: int | None = Field(None, ge=1, le=10)
    """Positions of a slate; by default 3, of a log below 40,000 visits 2 and below 20,000 1: each
    position more leaves fewer requests that tell of a candidate."""
    explorer: Literal["softmax", "epsilon_greedy", "thompson"] = "softmax"
    """Logging policy: by chance among the best, the best for sure, or the best of a draw from what
    it believes of each item and learns from clicks; each with uniform exploration beside."""
    temperature: float = Field(1.0, gt=0, le=100)
    """Of the logging policy `softmax`."""
    epsilon: float = Field(0.3, ge=0.01, le=1)
    """Uniform exploration of the logging policy; above 0, so that every candidate has support."""
    top_k: int = Field(9, ge=1, le=50)
    """Breadth of the logging policy's softmax."""
    draws: int = Field(256, ge=1, le=10_000)
    """Of `thompson`: draws that its probabilities are made of."""
    explore_per_day: int | None = Field(None, ge=0)
    """Budget: visits of an investor and day that may explore, the first ones; others are shown the
    best for sure and judge nothing.  null: all may."""
    taste: float = Field(1.0, ge=0, le=3)
    """How much tastes decide; 0 makes every investor alike."""
    communities: int = Field(0, ge=0, le=64)
    """Communities of investors and items that buy within and that no text tells of; 0: none."""
    queries: float = Field(0.0, ge=0, le=1)
    """Share of the visits that begin with a search, in the table of queries; 0 writes none."""
    confounding: float = Field(1.0, ge=0, le=3)
    """How much popularity and wealth drive both what is shown and what is bought anyway."""
    effect: float = Field(0.025, ge=0, le=0.5)
    """Scale of the effect of being shown an item on buying it."""
    drift: float = Field(0.3, ge=0, le=1)
    """Share of investors whose taste moves to another one over the log."""
    organic_rate: float = Field(0.7, ge=0, le=20)
    """Mean purchases per visit that would have happened anyway."""
    view_rate: float = Field(0.4, ge=0, le=50)
    """Mean items looked up per visit."""
    window_days: float = from_data("window_days")
    dirty_rows: float = Field(0.002, ge=0, le=0.2)
    """Share of broken rows added to events and outcomes; exposures stay clean."""

    @property
    def positions(self) -> int:
        """Positions of a slate, as it was asked for or by default."""
        if self.slate_size is not None:
            return self.slate_size
        return min(_POSITIONS, 1 + self.requests // _VISITS_A_POSITION, self.candidates)

    @property
    def logged_days(self) -> int:
        """Length of the log."""
        return self.days if self.log_days is None else self.log_days

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.logged_days > self.days:
            raise BadParams(f"synth.log_days {self.log_days} is beyond synth.days {self.days}")
        if not self.positions <= self.candidates or self.items < 4 * self.candidates:
            message = "synth needs slate_size <= candidates and items >= 4 candidates"
            raise BadParams(message)
        return self
