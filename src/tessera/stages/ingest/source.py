"""What a source is, found by its name: which files are its own, and what it means by them.

A source is one module of `sources`: its `CONVENTIONS` stand where the params say nothing, and its
`drafts` reads its files (`reader.Reader`).  Params are checked when a command starts, so nothing
here, nor what a module of `sources` imports at its top, takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, cast

from tessera.contracts.components import component, names
from tessera.shared.policies.suitability import UNKNOWN_ITEM

if TYPE_CHECKING:
    import ibis.expr.types as ir

BASE, SERVED = "base", "served"
"""Of a source that goes on: folder of the files it goes on from, and folder of the log."""
Placed = Callable[["ir.Table", datetime, datetime], datetime]
"""Places one end of a period, from good events and two moments that are known already."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """What a source means where the params say nothing."""

    cut: Placed | None = None
    """From events, their first and their last moment; None = the usual one of `periods`."""
    validation_from: Placed | None = None
    """From events, their first moment and the cut."""
    test_until: Placed | None = None
    """From events, the cut and their last moment."""
    timed: bool = True
    """Whether events have times; where they have an order alone, each user's last is held out."""
    unknown_item_risk: int = UNKNOWN_ITEM
    """Risk class that an item without one counts as."""
    mapped: tuple[str, ...] = ()
    """Tables that `ingest.mapping` must name; none: the source knows its files by itself."""
    goes_on: bool = False
    """It has no files of its own: it goes on from another source, which `ingest.of` names."""
    official: tuple[str, ...] = ()
    """Patterns of files that tell a folder of this source, all of which must be there."""


def known_sources() -> list[str]:
    """List the sources that are there."""
    return names("tessera.stages.ingest.sources")


def find_source(name: str) -> ModuleType:
    """Import the module of a source.

    Raises
    ------
    BadParams
        If there is none of this name; those that are there are named.
    """
    return component("tessera.stages.ingest.sources", name)


def conventions(name: str) -> Conventions:
    """Return what a source means where the params say nothing."""
    return cast(Conventions, find_source(name).CONVENTIONS)


def at_quantile(events: ir.Table, share: float) -> datetime:
    """Return the whole second before which a share of the events lie."""
    seconds = events.event_ts.epoch_seconds().cast("float64").quantile(share)
    return datetime.fromtimestamp(int(events.agg(at=seconds).to_pyarrow()["at"][0].as_py()), UTC)
