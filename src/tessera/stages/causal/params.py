"""What a person may turn in `causal`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, Action, from_data


class CausalParams(BaseModel):
    """Parameters of the stage `causal`."""

    model_config = STRICT

    acquired: tuple[Action, ...] = from_data("acquired")
    least_rating: float = from_data("least_rating")
    periods: int = Field(8, ge=1, le=100)
    """Trials: the known time is cut into so many periods of equally many acquisitions."""
    taste_components: int = Field(24, ge=0, le=500)
    """Main directions of what is held that count as confounders, beside risk, capacity, activity
    and tenure."""
    least_support: int = Field(3, ge=1)
    """Pairs with fewer investors who acquired both, in this order, are dropped."""
    pairs: int = Field(20_000, ge=1, le=10_000_000)
    """At most so many pairs are kept, those of largest support."""
