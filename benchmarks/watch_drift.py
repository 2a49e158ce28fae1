"""Which faults of a served log alarm, how soon, and how often a day without any does.

Usage: python -m benchmarks.watch_drift [--seeds 20] [--clean 5]

Each seed is a world of 3,000 investors and 1,500 slates a day in which nothing changes but who
comes.  A fault lies in it from its 17th day on (14 days of reference, 2 days of gap) and is looked
at on its first two days, as `tessera monitor` would.  Days without a fault are judged the same way,
and days on which another version begins to answer, which is none.  Nothing here is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.watch_world import FAULTS, PUBLICATIONS, Days
from tessera.contracts.series import Point
from tessera.platform.watching.day import SPEC
from tessera.platform.watching.rules import Rules, load_rules
from tessera.platform.workspace.paths import open_workspace
from tessera.stages.daily.day import Summary, measure
from tessera.stages.daily.spec import Served, load_spec
from tessera.stages.daily.verdicts import rule_of

_WITHIN = 2
SIZES = {
    "covariate": "one segment comes three times as often (30 % of the visits become 56 %)",
    "preference": "60 % of the investors like another category",
    "price": "prices move three times as much",
    "broken": "the strongest feature is that of another investor",
    "stuck": "the strongest feature says one value",
    "misjoined": "each slate is logged with the probabilities of the one before",
    "feedback": "popularity weighs 1.3 instead of 0.5 in the score",
    "bot": "one investor buys one item 100 times a day, beside about 770 purchases",
}
"""What each fault does."""
BEGINS = {
    "sharper": "a version that leaves less to chance",
    "other model": "a version as good that believes other things",
    "worse model": "a version that knows no tastes",
}
"""What each publication brings."""
DETECTORS = ("exact", "bound", "level", "psi", "wasserstein", "c2st")


def detector(point: Point, spec: Served) -> str:
    """Name what a series is: a distance of distributions, a level, or a bound."""
    family = point.series.partition(".")[0]
    rule = rule_of(point.series, spec.series)
    kind = rule.kind if rule else "level"
    if family in DETECTORS:
        return family
    return kind if kind in ("exact", "bound") else "level"


def alarmed(days: list[Summary], spec: Served) -> dict[str, list[str]]:
    """Return the series that alarm on the last of some days, by detector."""
    found: dict[str, list[str]] = {}
    for one in measure(days[-1], days[-1 - spec.window_days : -1], spec).points:
        if one.alarm:
            found.setdefault(detector(one, spec), []).append(f"{one.series} {one.slice}")
    return found


def acting(lines: dict[str, list[str]], rules: Rules) -> set[str]:
    """Name the actions that alarms of the first days of another version call for."""
    pairs = [line.partition(" ")[::2] for found in lines.values() for line in found]
    families = [(rules.families[rules.family_of(series)], of) for series, of in pairs]
    return {family.of_new or family.action for family, of in families if family.calls(of)}


def of_seed(clean: int, seed: int) -> dict[str, Any]:
    """Judge the clean days of one world, and the first days of each fault."""
    spec = load_spec(ROOT / SPEC)
    with tempfile.TemporaryDirectory() as folder:
        world = Days.of(seed, Path(folder), spec)
        first = spec.window_days
        days = [world.summary(number) for number in range(first + clean)]
        quiet = [alarmed(days[: last + 1], spec) for last in range(first, len(days))]
        faults = {}
        for fault in (*FAULTS, *PUBLICATIONS):
            begun = [world.summary(first + late, fault) for late in range(_WITHIN)]
            faults[fault] = [
                alarmed([*days[:first], *begun[: late + 1]], spec) for late in range(_WITHIN)
            ]
    return {"clean": quiet, "faults": faults}


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count seeds by fault and detector, and false alarms by day."""
    faults: dict[str, Any] = {}
    for fault in FAULTS:
        of_fault = [row["faults"][fault] for row in rows]
        told = {
            name: sum(any(name in day for day in days) for days in of_fault) for name in DETECTORS
        }
        most = Counter(
            line.partition(" ")[0]
            for days in of_fault
            for line in {one for day in days for lines in day.values() for one in lines}
        )
        faults[fault] = {
            "size": SIZES[fault],
            "any": sum(any(days) for days in of_fault),
            "first_day": sum(bool(days[0]) for days in of_fault),
            "by": told,
            "series": [name for name, _ in most.most_common(3)],
        }
    quiet = [day for row in rows for day in row["clean"]]
    rules = load_rules(open_workspace("market", ROOT))
    published = {name: _published(name, rows, rules) for name in PUBLICATIONS}
    return {
        "seeds": len(rows),
        "faults": faults,
        "published": published,
        "clean_days": len(quiet),
        "false_days": sum(bool(day) for day in quiet),
        "false_alarms": sum(len(lines) for day in quiet for lines in day.values()),
        "false_by": {name: sum(len(day.get(name, ())) for day in quiet) for name in DETECTORS},
    }


def _published(name: str, rows: list[dict[str, Any]], rules: Rules) -> dict[str, Any]:
    """Count worlds in which what another version brought alarms, and in a family that acts."""
    days = [row["faults"][name] for row in rows]
    called = [set.union(*(acting(day, rules) for day in both)) for both in days]
    series = Counter(
        line.partition(" ")[0]
        for both in days
        for line in {one for day in both for lines in day.values() for one in lines}
    )
    return {
        "what": BEGINS[name],
        "any": sum(any(both) for both in days),
        "calls": {action: sum(action in one for one in called)
                  for action in ("retrain", "stop_exploration", "roll_back")},
        "series": [one for one, _ in series.most_common(3)],
    }  # fmt: skip


def main() -> None:
    """Count, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean", type=int, default=5)
    asked = parser.parse_args()
    spec = (ROOT / SPEC).read_text()
    kept = Kept("watch_drift", {"clean": asked.clean, "spec": spec})
    rows = each(partial(of_seed, asked.clean), range(asked.seeds), "worlds", kept)
    write_result("watch_drift", summed(rows))


if __name__ == "__main__":
    main()
