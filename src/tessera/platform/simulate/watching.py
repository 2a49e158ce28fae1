"""What watches the simulation: the measures and alarms of a day, as any profile has them.

What a person does beside them stands here too: nobody else would let slates be drawn again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq

from tessera.platform.release import exploration, retraining
from tessera.platform.release.history import history
from tessera.platform.simulate.place import Place
from tessera.platform.watching.acting import asked_by
from tessera.platform.watching.day import watch_day
from tessera.platform.watching.raising import raise_alarms

_OPERATOR = "operator of the simulation"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_OF_ALARMS = (retraining.RETRAIN, exploration.STOP, exploration.RESUME, "rollback")
"""Acts that come of alarms alone: nobody else does them in a simulation."""


def watch(place: Place, day: str) -> bool:
    """Measure a day that is over, raise its alarms and do what they call for.

    Where slates are not drawn any more, they are again behind the first day that calls for no
    stop.  Returns whether an alarm asks for a run of the pipeline.
    """
    workspace, of = place.workspace, date.fromisoformat(day)
    midnight = datetime.combine(of, datetime.min.time(), UTC) + timedelta(days=1)
    raised = raise_alarms(workspace, watch_day(workspace, of), midnight, tells=False)
    calls = any(one.alarm.rule.action == "stop_exploration" and one.breach for one in raised)
    if not calls and not exploration.explores(workspace):
        exploration.resume(workspace, f"no alarm of {day} asks for a stop", _OPERATOR)
    return asked_by(workspace, of) is not None


def alarms(place: Place, dates: dict[str, int]) -> dict[int, list[str]] | None:
    """Return what alarmed on each day of the simulation; None where nothing was measured."""
    paths = sorted(place.workspace.watched.glob("[0-9]*/series.parquet"))
    found: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        rows = pq.read_table(path, columns=["series", "slice", "alarm"]).to_pylist()
        if path.parent.name in dates:
            found[dates[path.parent.name]] += [
                f"{row['series']} ({row['slice']})" for row in rows if row["alarm"]
            ]
    return dict(found) if paths else None


def acts(place: Place, dates: dict[str, int]) -> list[dict[str, Any]]:
    """Return what was done because of alarms, in the order of the history.

    The reason names the day whose alarm called for it, or the day that called for none.
    """
    found = []
    for entry in history(place.workspace):
        day = _DAY.search(str(entry.get("reason")))
        if entry.get("act") in _OF_ALARMS and day and day[0] in dates:
            told = {name: entry.get(name) for name in ("act", "from", "to", "reason")}
            found.append({"day": dates[day[0]], **told})
    return found
