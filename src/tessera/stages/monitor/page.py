"""The short page in front of the reports, and the summary that machines read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Template

from tessera.contracts.pages import templates
from tessera.contracts.split import Split
from tessera.stages.monitor.bias import Figure
from tessera.stages.monitor.frames import Window, is_timed

if TYPE_CHECKING:  # Evidently takes seconds to import
    from tessera.stages.monitor.drift import Drifted

Rows = dict[str, dict[str, int]]
"""Rows of each comparison, `reference` and `current`."""

REPORTS = {
    "events": "what investors did",
    "exposures": "what was shown",
    "lists": "what is recommended",
}
"""What each comparison is about."""
COLUMNS = {
    "action": "buy, sell, view and so on",
    "channel": "where it happened",
    "log_amount": "amount, as a power of ten of euros",
    "user_risk": "risk class of the investor, 1 to 4",
    "segment": "segment of the investor",
    "category": "fund, stock, bond and so on",
    "sector": "sector of the item",
    "item_risk": "risk class of the item, 1 to 4",
    "popularity": "how many held the item at the cut: top, middle, tail, nobody",
    "policy_id": "policy that chose what was shown",
    "log_propensity": "probability of being shown, as a power of ten",
    "candidates": "how many items could have been shown",
}
MEASURES = {"psi": "PSI", "wasserstein": "Wasserstein"}


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
    path: Path, window: Window, drifted: list[Drifted], bias: list[Figure], rows: Rows
) -> None:
    """Write one offline HTML page with the key numbers and links to the reports beside it."""
    text = _template("watch.html").render(
        split=window.split,
        watch=window.watch,
        model=window.params.model,
        sample_rows=window.params.sample_rows,
        timed=is_timed(window.split),
        alarms=alarms(drifted, bias),
        drifted=drifted,
        bias=bias,
        rows=rows,
        reports=REPORTS,
        columns=COLUMNS,
        measures=MEASURES,
        written=[name for name in REPORTS if (path.parent / f"{name}.html").exists()],
    )
    path.write_text(text)


def headed(report: str, name: str) -> str:
    """Give a report of Evidently a title, and say above its charts what they compare."""
    title = f"Tessera watch: distributions of {name}"
    head = _template("report_head.html").render(title=title, name=name, about=REPORTS[name])
    report = report.replace("<head>", f"<head>\n<title>{title}</title>", 1)
    return report.replace("<body>", f"<body>\n{head}", 1)


def _template(name: str) -> Template:
    environment = templates("tessera.stages.monitor")
    environment.filters["effect"] = _effect
    return environment.get_template(name)


def _effect(value: float) -> str:
    """Three decimals; what is not quite nothing does not look like nothing."""
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def metrics(drifted: list[Drifted], bias: list[Figure]) -> dict[str, float]:
    """Flatten all numbers for tracking."""
    flat = {"alarms": float(len(alarms(drifted, bias)))}
    flat |= {f"drift_{one.table}_{one.column}": one.effect for one in drifted}
    flat |= {f"lists_{one.name}": one.lists for one in bias}
    flat |= {f"interactions_{one.name}": one.interactions for one in bias}
    return flat
