"""Watches a canary by the log, and says when it has to end."""

from __future__ import annotations

import time
from pathlib import Path

from tessera.serve.erased import Erased
from tessera.serve.hours import sealed_hours
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.tail import Tail
from tessera.serve.trial import Trial, difference, exceeds

_RESTS, _SHORT_S = 30, 0.05
"""A look is followed by another after so many times what it took, unless that was short: its bounds
hold whenever one looks."""


class Guard:
    """The guardrail of one process: it reads what all processes log, each record once."""

    def __init__(self, service: Service, params: ServeParams) -> None:
        """Watch by the log of a service."""
        self._service, self._params = service, params
        self._trial: Trial | None = None
        self._tail = Tail(Path(), every=True)
        self._sealed: set[Path] = set()
        self._rests_until = 0.0
        self._erased, self._mark = Erased(Path()), ""

    def look(self, identity: str) -> str | None:
        """Read on; say why the canary has to end, None as long as it need not."""
        folder = self._service.log.path.parent
        if self._trial is None or self._trial.identity != identity:
            self._trial = Trial(identity, self._params.canary_days)
            self._tail, self._sealed = Tail(folder, every=True), set()
            self._erased, self._mark = Erased(folder), ""
        self._read(self._trial, folder)
        return self._fault(self._trial) if time.perf_counter() >= self._rests_until else None

    def _read(self, trial: Trial, folder: Path) -> None:
        mark = self._erased.mark
        trial.read(map(self._erased.masked, self._tail.news()))
        # Their segments may have gone before they were read.
        for hour in sealed_hours(folder, self._sealed):
            trial.read(map(self._erased.masked, hour.records()))
            self._sealed.add(hour.path)
        if mark != self._mark:  # what was read before knew nothing of it
            trial.leave_out(self._erased.covers)
            self._mark = mark

    def _fault(self, trial: Trial) -> str | None:
        params, begun = self._params, time.perf_counter()
        units = trial.dismissals()
        is_fault = exceeds(units, params.canary_margin, params.canary_alpha)
        took_s = time.perf_counter() - begun
        self._rests_until = begun + (_RESTS * took_s if took_s > _SHORT_S else 0.0)
        if not is_fault:
            return None
        found = difference(units, params.canary_alpha)
        return (
            f"of {found.units} investors, {found.canary:.2%} of what the canary shows is dismissed "
            f"and {found.champion:.2%} of the champion's: surely above it by more than "
            f"{params.canary_margin:.2%}"
        )
