"""Which risk class of an investor was known when a slate was drawn: the bundle's, or a later one.

What the service ought to have known is read from what was told to it, not from what it says of
itself: a process that did not hear of a class is found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tessera.platform.watching.facts import Classed
from tessera.serve.classes import CLASS, InvestorClasses, class_of, counted
from tessera.serve.context_version import ContextVersion
from tessera.serve.erased import PSEUDONYM, Erased
from tessera.serve.events import Record
from tessera.serve.hours import CLASS_LINE, open_segments, sealed_hours, still


@dataclass(frozen=True, slots=True)
class Asked:
    """One slate."""

    user_id: str
    moment: int
    until: int
    """When the last class was told that it says it knew; 0 if it knew none."""


def asked_of(slate: Record) -> Asked:
    """Read whom a slate was for, and what it knew."""
    knew = ContextVersion.read(slate["context_version"])
    return Asked(str(slate["user_id"]), int(slate["moment"]), knew.classes)


def told_classes(folder: Path) -> InvestorClasses:
    """Read all classes that a log tells of, nobody's who was erased."""
    return InvestorClasses(map(class_of, _of_known(folder)))


def _of_known(folder: Path) -> Iterator[Record]:
    if not folder.is_dir():
        return
    masked = Erased(folder).masked
    with still(folder):
        for record in map(masked, _records(folder)):
            if not record["user_id"].startswith(PSEUDONYM):
                yield record


def _records(folder: Path) -> Iterator[Record]:
    for hour in sealed_hours(folder):
        if hour.classes:
            yield from hour.records(beginning=CLASS_LINE)
    for segment in open_segments(folder):
        yield from (one for one in segment.records if one["kind"] == CLASS)


def known_class(told: InvestorClasses, published: Mapping[str, Classed], asked: Asked) -> int:
    """Return the risk class that counts at a slate; 0 if nobody told of one.

    That is what was told before the moment of the slate, and what it says itself that it knew: a
    slate may be asked for as of an earlier time.
    """
    base = published.get(asked.user_id)
    tellings = told.of(asked.user_id)
    heard = (one for one in tellings if one.moment < asked.moment or one.moment <= asked.until)
    found = counted(heard, base.since if base else None, asked.moment)
    if found is not None:
        return found.risk_class
    return base.risk_class if base else 0
