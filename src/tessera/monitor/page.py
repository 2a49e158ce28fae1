"""The short page in front of the reports, and the summary that machines read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tessera.contracts.split import Split
from tessera.monitor.bias import Figure

if TYPE_CHECKING:  # Evidently takes seconds to import
    from tessera.monitor.report import Drifted

Rows = dict[str, dict[str, int]]
"""Rows of each comparison, `reference` and `current`."""

REPORTS = {
    "events": "what investors did, after the cut against before",
    "exposures": "what was shown, after the cut against before",
    "lists": "what is recommended, against what investors acquired before the cut",
}


def write_summary(
    path: Path, split: Split, drifted: list[Drifted], bias: list[Figure], rows: Rows
) -> None:
    """Write all numbers and the alarms as JSON."""
    summary = {
        "cut": split.cut.isoformat(),
        "rows": rows,
        "alarms": alarms(drifted, bias),
        "drift": [asdict(one) for one in drifted],
        "popularity_bias": [asdict(one) for one in bias],
    }
    path.write_text(json.dumps(summary, indent=2) + "\n")


def alarms(drifted: list[Drifted], bias: list[Figure]) -> list[str]:
    """Say in one line each what deserves a look."""
    found = [
        f"{one.table}.{one.column} moved: {one.method} {one.effect:.3f}, alarm at {one.alarm_at:g}"
        for one in drifted
        if one.alarm
    ]
    found += [
        f"{one.name} of the lists is {one.lists:.3f} ({one.interactions:.3f} in the interactions), "
        f"should be {one.limit}"
        for one in bias
        if one.alarm
    ]
    return found


def write_page(
    path: Path, split: Split, drifted: list[Drifted], bias: list[Figure], rows: Rows
) -> None:
    """Write one offline HTML page with the key numbers and links to the reports beside it."""
    environment = Environment(
        loader=PackageLoader("tessera.monitor"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("watch.html").render(
        cut=split.cut,
        test_until=split.test_until,
        alarms=alarms(drifted, bias),
        drifted=drifted,
        bias=bias,
        rows=rows,
        reports=REPORTS,
        written=[name for name in REPORTS if (path.parent / f"{name}.html").exists()],
    )
    path.write_text(text)


def metrics(drifted: list[Drifted], bias: list[Figure]) -> dict[str, float]:
    """Flatten all numbers for tracking."""
    flat = {"alarms": float(len(alarms(drifted, bias)))}
    flat |= {f"drift_{one.table}_{one.column}": one.effect for one in drifted}
    flat |= {f"lists_{one.name}": one.lists for one in bias}
    flat |= {f"interactions_{one.name}": one.interactions for one in bias}
    return flat
