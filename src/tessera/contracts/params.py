"""How params.yaml becomes typed, frozen values that refuse what they do not know.

What is said once for all stages stands here: section `data`, and the root of every seed.  A stage
takes a value of either as a field of its own section, by `from_data` or `from_root`; in params.yaml
and in profiles it stands in its one place alone.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
"""Every params class sets `model_config = STRICT`: the docstring under a field documents it."""

Action = Literal["view", "click", "buy", "sell", "dismiss", "rate"]
_LARGEST_SEED = 2**31 - 1


class DataParams(BaseModel):
    """What is true of the data, said once; each stage runs again only for what it reads of it."""

    model_config = STRICT

    window_days: float = Field(7.0, gt=0.0, le=90.0)
    """Attribution window: what follows a request by so long at the latest is an outcome of it."""
    acquired: tuple[Action, ...] = Field(("buy", "rate"), min_length=1)
    """Actions after which an item counts as had.  Effects and edges between items are learnt from
    them, of a source that has none of them (films, shops) from every view, click and rating."""
    least_rating: float = Field(0.0, ge=0.0)
    """Ratings below this tell of no taste: effects, edges and measures pass over them."""
    future_items: bool = False
    """Items first offered after the cut are listed, candidates and relevant too, as in the
    published tables of FAR-Trans, although nobody could have bought them at the cut."""
    demand_days: float = Field(30.0, ge=0.0, le=3650.0)
    """How far one looks ahead for how many will want an item, also one that nobody had yet; 0 not
    at all, and so do times that are only an order."""


class RootParams(BaseModel):
    """What stands at the top of params.yaml, in no section."""

    model_config = STRICT

    seed: int = Field(0, ge=0, le=2_000_000_000)
    """Root of every draw: each stage adds it to a seed of its own.  Same root, same bytes."""


ROOT = "seed"
"""Name of the one param outside the sections."""
DATA = "data"
"""Section that no stage owns."""


@dataclass(frozen=True, slots=True)
class _FromData:
    """Marks a field that section `data` says, under the same name."""


@dataclass(frozen=True, slots=True)
class _FromRoot:
    """Marks a seed; the root is added to `base`."""

    base: int


def from_data(name: str) -> Any:
    """Return a field of a stage's params that section `data` says: bounds, default and meaning."""
    field = copy(DataParams.model_fields[name])
    field.metadata = [*field.metadata, _FromData()]
    return field


def from_root(base: int) -> Any:
    """Return the seed of a stage, which is `base` plus the root; so stages draw apart."""
    field: Any = Field(base, ge=0, le=_LARGEST_SEED)
    field.metadata = [*field.metadata, _FromRoot(base)]
    return field


@cache
def read_of_data(kind: type[BaseModel]) -> tuple[str, ...]:
    """Keys of section `data` that the stages of a section read."""
    return tuple(
        name
        for name, field in kind.model_fields.items()
        if any(isinstance(mark, _FromData) for mark in field.metadata)
    )


@cache
def seeds_of(kind: type[BaseModel]) -> dict[str, int]:
    """Seeds of a section, each with what the root is added to."""
    return {
        name: mark.base
        for name, field in kind.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, _FromRoot)
    }


def given(kind: type[BaseModel], data: DataParams, root: int) -> dict[str, Any]:
    """Values of a section that stand elsewhere in params.yaml."""
    return {name: getattr(data, name) for name in read_of_data(kind)} | {
        name: base + root for name, base in seeds_of(kind).items()
    }


def owned(kind: type[BaseModel]) -> list[str]:
    """Fields that stand in the section itself."""
    elsewhere = {*read_of_data(kind), *seeds_of(kind)}
    return [name for name in kind.model_fields if name not in elsewhere]
