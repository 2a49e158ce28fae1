"""What was asked of the service on a day, failed or turned away: nobody notes who asked.

Shapes: M records of the log, each of a minute of one process.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.series import ALL
from tessera.stages.daily.frames import Frames
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.units import Level, ratio


def asked(day: Frames) -> Levels:
    """Measure errors, requests turned away, and how long slates waited for the disk."""
    rows = day.minutes
    minute_M = np.arange(len(rows))
    asked_M, logged_M = rows["asked"].to_numpy(), rows["logged"].to_numpy()
    found = {
        "error_rate": _share(rows["errors"].to_numpy(), asked_M, minute_M),
        "shed_rate": _share(rows["shed"].to_numpy(), asked_M, minute_M),
        "latency.log_ms": _of_requests(ratio(rows["log_ms"].to_numpy(), logged_M, minute_M),
                                       logged_M),
    }  # fmt: skip
    return {(series, ALL): level for series, level in found.items() if level is not None}


def _share(over_M: Float64s, under_M: Float64s, minute_M: Ints) -> Level | None:
    """Return a share of the requests; those of a minute fail together, a single one by chance."""
    level = _of_requests(ratio(over_M, under_M, minute_M), under_M)
    if level is None:
        return None
    by_chance = float(np.sqrt(level.value * (1 - level.value) / level.rows))
    return replace(level, stderr=max(level.stderr or 0.0, by_chance), is_size=True)


def _of_requests(level: Level | None, under_M: Float64s) -> Level | None:
    """Let requests stand for the investors whom nobody noted."""
    count = int(under_M.sum())
    return None if level is None else replace(level, rows=count, investors=count)
