"""Params of the index stage."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, Action, from_data


class IndexParams(BaseModel):
    """How the candidate bundle is packed."""

    model_config = STRICT

    neighbours: int = Field(default=20, ge=1, le=200)
    """Edges kept per item as evidence for explanations."""
    acquired: tuple[Action, ...] = from_data("acquired")
