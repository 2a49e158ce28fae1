"""How far one column moved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drifted:
    """How far one column moved."""

    table: str
    column: str
    method: str
    effect: float
    alarm_at: float
    alarm: bool
