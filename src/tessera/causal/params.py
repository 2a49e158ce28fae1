"""What a person may turn in `causal`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT


class CausalParams(BaseModel):
    """Parameters of the stage `causal`."""

    model_config = STRICT

    actions: tuple[str, ...] = Field(("buy",), min_length=1)
    """Actions that count as acquiring an item; a source that has none of them (films, shops)
    counts every view, click and rating instead."""
    least_rating: float = Field(0.0, ge=0.0)
    """Ratings below this are no acquisition."""
    periods: int = Field(8, ge=1, le=100)
    """Trials: the known time is cut into so many periods of equally many acquisitions."""
    activity_bins: int = Field(3, ge=1, le=20)
    """Strata of investors by the number of events so far."""
    prognosis_bins: int = Field(20, ge=1, le=1000)
    """Finer bins of the same, within which investors are expected to acquire equally much."""
    tenure_bins: int = Field(2, ge=1, le=20)
    """Strata of investors by the time since their first event."""
    least_support: int = Field(3, ge=1)
    """Pairs with fewer investors who acquired both, in this order, are dropped."""
    pairs: int = Field(20_000, ge=1, le=10_000_000)
    """At most so many pairs are kept, those of largest support."""
