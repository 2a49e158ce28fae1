"""Records of one day as they are read: slates wait and are laid out many of one version at a time.

Shapes: B bins of propensities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.platform.watching.batches import BINS, Batch
from tessera.platform.watching.classes import Asked, asked_of
from tessera.platform.watching.facts import Facts
from tessera.serve.events import COUNT, EVENT, Record

_BATCH = 2_000
"""Slates whose probabilities are laid out at a time."""
Open = Callable[[str], Facts | None]
"""Finds what a version says of items and investors."""


@dataclass(slots=True)
class Gathered:
    """One day, record by record."""

    open_facts: Open
    gone: Container[str] = ()
    """Versions that were tried here and are not kept, as a canary that was trained again."""
    batches: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    bins_B4: Float64s = field(default_factory=lambda: np.zeros((BINS, 4)))
    users: list[str] = field(default_factory=list)
    """Investor of each slate."""
    requests: list[str] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    asked: dict[str, list[tuple[str, Asked]]] = field(default_factory=dict)
    """Request and what it knew, by the version that answered."""
    versions: Counter[str] = field(default_factory=Counter)
    items: list[str] = field(default_factory=list)
    """Item of each position."""
    events: list[Record] = field(default_factory=list)
    counts: list[Record] = field(default_factory=list)
    _waiting: list[Record] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Take in a slate, an event, or what was counted."""
        if record["kind"] in (EVENT, COUNT):
            (self.events if record["kind"] == EVENT else self.counts).append(record)
            return
        self._waiting.append(record)
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Lay out the slates that wait, those of each version together."""
        waiting, self._waiting = self._waiting, []
        by: dict[str, list[Record]] = {}
        for one in waiting:
            by.setdefault(self._version(one), []).append(one)
        for version, slates in sorted(by.items()):
            self._lay_out(version, slates)

    def _lay_out(self, version: str, slates: list[Record]) -> None:
        facts = self.open_facts(version)
        self.versions[version] += len(slates)
        batch = Batch.of(slates)
        first = len(self.users)
        self.users += [str(one["user_id"]) for one in slates]
        self.requests += [str(one["request_id"]) for one in slates]
        self.moments += [int(one["moment"]) for one in slates]
        told = [(str(one["request_id"]), asked_of(one)) for one in slates]
        self.asked.setdefault(version, []).extend(told)
        of_S = batch.slates(version, facts)
        of_S["unknown_policy"] = [facts is None and version not in self.gone] * len(slates)
        rows = batch.positions(facts)
        rows["slate"] = rows["slate"] + first
        self.items += rows.pop("item_id")
        self.batches.append((of_S, rows))
        self.bins_B4 += batch.bins()

    def _version(self, slate: Record) -> str:
        """Name what answered; a bundle that is another one than here of that name is told apart."""
        name = str(slate["policy_id"]).partition("/")[0]
        facts, told = self.open_facts(name), str(slate.get("context_version") or "")
        identity = told.partition("+")[0]
        if facts is None or facts.identity.startswith(identity):
            return name
        return f"{name}@{identity}"
