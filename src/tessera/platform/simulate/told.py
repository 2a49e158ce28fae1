"""What a simulation came to, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tessera.platform.simulate.words import acts, change, promotions, total

Row = Mapping[str, Any]


def show(found: Row, console: Console | None = None) -> None:
    """Print the days, the runs, and what is to be said of them."""
    screen = console or Console()
    screen.print(_days(found), _runs(found))
    for line in (total(found), promotions(found), change(found), acts(found)):
        if line:
            screen.print(line, soft_wrap=True)


def _days(found: Row) -> Table:
    columns = (
        "day",
        "served by",
        "value",
        "house",
        "best fixed",
        "one who knows",
        "gini",
        "alarms",
    )
    table = Table(*columns, title="expected responses a request, by the planted probabilities")
    for day in found["days"]:
        figures = (day[name] for name in ("value", "house", "best_fixed", "oracle", "gini"))
        table.add_row(
            str(day["day"] + 1),
            ", ".join(day["versions"]),
            *(f"{figure:.4f}" for figure in figures),
            str(len(day["alarms"])) if found["watched"] else "not watched",
        )
    return table


def _runs(found: Row) -> Table:
    table = Table("after day", "verdict", "published", "lift told", "true lift", "truly")
    for run in found["runs"]:
        bounds = "" if run["lower"] is None else f" [{run['lower']:+.4f}, {run['upper']:+.4f}]"
        lift = "" if run["told_lift"] is None else f"{run['told_lift']:+.4f}{bounds}"
        true = ""
        if run["true_lift"] is not None:
            true = f"{run['true_lift']:+.4f} ± {run['give_or_take']:.4f}"
        by = " (override)" if run["override"] else ""
        published = f"{run['published'] or 'no'}{by}"
        table.add_row(str(run["day"] + 1), run["decision"], published, lift, true, run["truth"])
    return table
