"""Params of the index stage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT, Action, from_data


class IndexParams(BaseModel):
    """How the candidate bundle is packed."""

    model_config = STRICT

    neighbours: int = Field(default=20, ge=1, le=200)
    """Edges kept per item as evidence for explanations."""
    kind: Literal["auto", "flat", "lists", "hnsw", "pq"] = "auto"
    """How vectors are laid out for the search: `flat` looks at all, `lists` at those near, `hnsw`
    follows a graph, `pq` reads codes in lists and few whole vectors from the disk; `auto` is flat
    below 50,000 items and lists from there on."""
    acquired: tuple[Action, ...] = from_data("acquired")
