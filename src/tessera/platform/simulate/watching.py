"""What watches the simulation: the daily measures of the served log, as any profile has them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

import pyarrow.parquet as pq

from tessera.platform.simulate.place import Place
from tessera.platform.watching.day import watch_day


def watch(place: Place, day: str) -> None:
    """Measure a day that is over."""
    watch_day(place.workspace, date.fromisoformat(day))


def alarms(place: Place, dates: dict[str, int]) -> dict[int, list[str]] | None:
    """Return what alarmed on each day of the simulation; None where nothing was measured."""
    folder = place.workspace.registry / "watched"
    paths = sorted(folder.glob("[0-9]*/series.parquet"))
    found: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        rows = pq.read_table(path, columns=["series", "slice", "alarm"]).to_pylist()
        if path.parent.name in dates:
            found[dates[path.parent.name]] += [
                f"{row['series']} ({row['slice']})" for row in rows if row["alarm"]
            ]
    return dict(found) if paths else None
