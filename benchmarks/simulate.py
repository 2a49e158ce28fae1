"""The closed loop over seeds: ends it ever below the log's policy, and promotes it wrongly.

Usage: python -m benchmarks.simulate [--seeds 0 1 2] [--scenario drift] [--days 30] [--users 1000]
       [--visits 1000] [--every 5] [--weighted] [--into data/simulations]

Each seed is a simulation of its own (`tessera simulate`) and goes on where it was killed.  One that
was played to its end is only read, so that seeds can be played by several commands and summed up by
one that names them all; each tells the commit by which it came to its end.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import commit, write_result
from tessera.platform.simulate.page import write_page
from tessera.platform.simulate.plan import SCENARIOS, Plan
from tessera.platform.simulate.simulate import RESULT, simulate
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import find_root

_LAST_DAYS = 3
"""Days whose mean says where a simulation ended."""
_SETTINGS = ("scenario", "days", "users", "visits", "every", "weighted")
_COUNTED = ("judged", "promoted", "truly_better", "about_equal", "wrong", "held",
            "held_though_better")  # fmt: skip

Row = Mapping[str, Any]


def ended_above(found: Row) -> float:
    """Return by how much the last days earned more than the policy that wrote the log."""
    last = found["days"][-_LAST_DAYS:]
    return float(np.mean([day["value"] - day["house"] for day in last]))


def told(results: Sequence[Row]) -> dict[str, Any]:
    """Put the seeds together."""
    promotions = [found["promotions"] for found in results]
    promoted = sum(one["promoted"] for one in promotions)
    wrong = sum(one["wrong"] for one in promotions)
    return {
        **{name: results[0]["plan"][name] for name in _SETTINGS},
        "seeds": len(results),
        "commits": sorted({found["commit"] for found in results}),
        "ended_below": sum(ended_above(found) < 0 for found in results),
        "least_above": min(ended_above(found) for found in results),
        **{name: sum(one[name] for one in promotions) for name in _COUNTED},
        "wrong_share": wrong / promoted if promoted else 0.0,
        "gini_first": float(np.mean([found["days"][0]["gini"] for found in results])),
        "gini_last": float(np.mean([found["days"][-1]["gini"] for found in results])),
        "total": {name: float(np.mean([found["total"][name] for found in results]))
                  for name in ("value", "house", "best_fixed", "oracle")},
        "acts": dict(Counter(one["act"] for found in results for one in found["acts"])),
        "rollbacks": dict(Counter(one["truth"] for found in results for one in found["acts"]
                                  if one["act"] == "rollback")),
        "change": _change([found["change"] for found in results if found["change"]]),
        "seconds": {name: float(np.mean([found["seconds"].get(name, 0.0) for found in results]))
                    for name in ("visits", "watch", "runs", "reckoning")},
        "each": [_seed(found) for found in results],
    }  # fmt: skip


def _change(changes: Sequence[Row]) -> Row | None:
    """Put together how what happened was met: days by seed, None where they never came."""
    names = ("alarmed_before", "days_to_alarm", "acted_before", "days_to_act", "days_to_recovery")
    return {name: [one[name] for one in changes] for name in names} if changes else None


def _seed(found: Row) -> Row:
    promotions = found["promotions"]
    return {
        "seed": found["plan"]["seed"],
        "value": found["total"]["value"],
        "house": found["total"]["house"],
        "ended_above": ended_above(found),
        "promoted": promotions["promoted"],
        "wrong": promotions["wrong"],
    }


def played(folder: Path, plan: Plan, root: Path) -> dict[str, Any]:
    """Return what a simulation came to; one that was not played to its end is played."""
    path = folder / "simulation" / RESULT
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["plan"] == plan.told() and "commit" in found:
            return found
    found = {**simulate(folder, plan, root, print), "commit": commit()}
    files.write_json(found, path)
    write_page(found, folder / "simulation")
    return found


def main() -> None:
    """Play the seeds that were not played, and write results/simulate.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenario", choices=SCENARIOS, default="drift")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--visits", type=int, default=1_000)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--weighted", action="store_true")
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    root = find_root()
    into = asked.into or root / "data" / "simulations"
    results = []
    for seed in asked.seeds:
        plan = Plan(asked.days, seed, asked.scenario, asked.users, asked.visits, asked.every,
                    asked.weighted)  # fmt: skip
        folder = into / plan.name
        found = played(folder, plan, root)
        results.append(found)
        print(f"seed {seed}: ended {ended_above(found):+.4f} above the policy of the log")
    write_result("simulate", told(results))


if __name__ == "__main__":
    main()
