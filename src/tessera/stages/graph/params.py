"""What a person may turn in `graph`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, Action, from_data, from_root


class GraphParams(BaseModel):
    """Parameters of the stage `graph`."""

    model_config = STRICT

    acquired: tuple[Action, ...] = from_data("acquired")
    least_rating: float = from_data("least_rating")
    half_life_days: float = Field(180.0, gt=0.0)
    """Age at which an acquisition counts half; not used where times are only an order."""
    neighbours: int = Field(50, ge=1, le=10_000)
    """At most so many edges of each kind leave an item, the heaviest."""
    least_support: int = Field(2, ge=1)
    """Item pairs with fewer investors behind them get no edge."""
    least_z: float = Field(1.0, ge=0.0)
    """A causal effect below so many standard errors gets no edge."""
    networkx_edges: int = Field(50_000, ge=0)
    """Above so many neighbour pairs the topology is computed by scipy instead of networkx."""
    engine: Literal["duckdb", "pyspark"] = "duckdb"
    """Where tables are read and edges are joined, to the same rows; pyspark needs the extra `spark`
    and Java."""
    threads: int = Field(2, ge=1, le=256)
    """Threads of Spark; the result does not depend on it."""
    seed: int = from_root(0)
    """Seed of the community search."""
