"""What a person may turn in `monitor`; what is compared stands in monitoring/watch.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, from_root


class MonitorParams(BaseModel):
    """Parameters of the stage `monitor`."""

    model_config = STRICT

    model: Literal["hstu", "sasrec"] = "hstu"
    """Model whose lists are watched."""
    sample_rows: int = Field(20_000, ge=100, le=1_000_000)
    """Rows drawn from each side of a comparison; popularity bias is measured on all lists."""
    seed: int = from_root(7)
    """Seed of the draw."""
