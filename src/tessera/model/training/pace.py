"""How fast training goes."""

from __future__ import annotations

import time

from tessera.contracts.progress import Bar
from tessera.model.training.checkpoint import TrainingState


class Pace:
    """Moves the bar and shows loss and events a second behind it."""

    def __init__(self, place: TrainingState, bar: Bar, steps: int) -> None:
        self._place, self._bar, self._steps = place, bar, steps
        self._began_s, self._events = time.perf_counter(), 0

    def show(self, events: int) -> None:
        """Count one more step of so many events."""
        self._events += events
        speed = self._events / (time.perf_counter() - self._began_s)
        loss = self._place.loss_sum / self._place.step
        self._bar.advance(1 / self._steps)
        self._bar.note(f"loss {loss:.3f}, {speed:,.0f} events/s")
