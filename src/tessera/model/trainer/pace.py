"""How fast training goes."""

from __future__ import annotations

import time

from tessera.contracts.progress import Bar
from tessera.model.trainer.checkpoint import TrainingState


class Pace:
    """Moves the bar and shows loss and examples a second behind it."""

    def __init__(self, state: TrainingState, bar: Bar, steps: int) -> None:
        self._state, self._bar, self._steps = state, bar, steps
        self._began_s, self._events = time.perf_counter(), 0

    def show(self, events: int) -> None:
        """Count one more step of so many events."""
        self._events += events
        speed = self._events / (time.perf_counter() - self._began_s)
        loss = self._state.loss_sum / self._state.step
        self._bar.advance(1 / self._steps)
        self._bar.note(f"loss {loss:.3f}, {speed:,.0f} events/s")
