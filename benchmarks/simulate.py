"""The closed loop over seeds: ends it ever below the log's policy, and promotes it wrongly.

Usage: python -m benchmarks.simulate [--seeds 0 1 2] [--scenario drift] [--days 30] [--users 1000]
       [--visits 1000] [--every 5] [--weighted] [--more] [--anew] [--into data/simulations]

Each seed is a simulation of its own (`tessera simulate`) and goes on where it was killed.  One that
was played to its end is only read, so that seeds can be played by several commands and summed up by
one that names them all; each tells the commit by which it came to its end.  With `--more` the seeds
of the same plan in results/simulate.json stay beside those that are named; with `--anew` what was
played is reckoned again, as by the code of now.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, commit, write_result
from tessera.platform.simulate.outcome import change_of
from tessera.platform.simulate.page import write_page
from tessera.platform.simulate.plan import SCENARIOS, Plan
from tessera.platform.simulate.simulate import RESULT, simulate, tell
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import find_root

_LAST_DAYS = 3
"""Days whose mean says where a simulation ended."""
_SETTINGS = ("scenario", "days", "users", "visits", "every", "weighted")
_COUNTED = ("judged", "promoted", "truly_better", "about_equal", "wrong", "held",
            "held_though_better")  # fmt: skip

Row = Mapping[str, Any]


def row(found: Row) -> dict[str, Any]:
    """Return what is kept of a seed: by how much the last days earned more than the log's policy.

    And the promotions, what was earned by mean, the acts, and how the change was met.
    """
    last, days = found["days"][-_LAST_DAYS:], found["days"]
    return {
        **{name: found[name] for name in ("plan", "commit", "promotions", "total", "change")},
        "ended_above": float(np.mean([day["value"] - day["house"] for day in last])),
        "gini_first": days[0]["gini"],
        "gini_last": days[-1]["gini"],
        "acts": [{"act": one["act"], "truth": one["truth"]} for one in found["acts"]],
        "seconds": {name: found["seconds"].get(name, 0.0)
                    for name in ("visits", "watch", "runs", "reckoning")},
    }  # fmt: skip


def told(rows: Sequence[Row]) -> dict[str, Any]:
    """Put the seeds together."""
    counts = {name: sum(one["promotions"][name] for one in rows) for name in _COUNTED}
    acts = [act for one in rows for act in one["acts"]]
    return {
        **{name: rows[0]["plan"][name] for name in _SETTINGS},
        "seeds": len(rows),
        "commits": sorted({one["commit"] for one in rows}),
        "ended_below": sum(one["ended_above"] < 0 for one in rows),
        "least_above": min(one["ended_above"] for one in rows),
        **counts,
        "wrong_share": counts["wrong"] / counts["promoted"] if counts["promoted"] else 0.0,
        "gini_first": _mean(rows, "gini_first"),
        "gini_last": _mean(rows, "gini_last"),
        "total": {name: _mean([one["total"] for one in rows], name)
                  for name in ("value", "house", "best_fixed", "oracle")},
        "acts": dict(Counter(act["act"] for act in acts)),
        "rollbacks": dict(Counter(act["truth"] for act in acts if act["act"] == "rollback")),
        "change": _change([one["change"] for one in rows if one["change"]]),
        "seconds": {name: _mean([one["seconds"] for one in rows], name)
                    for name in rows[0]["seconds"]},
        "each": list(rows),
    }  # fmt: skip


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([one[name] for one in rows]))


def _change(changes: Sequence[Row]) -> Row | None:
    """Put together how what happened was met: days by seed, None where they never came."""
    names = ("alarmed_before", "days_to_alarm", "acted_before", "days_to_act", "days_to_recovery")
    return {name: [one[name] for one in changes] for name in names} if changes else None


def kept(plan: Plan, seeds: Sequence[int], results: Path = RESULTS) -> list[Row]:
    """Return what was written of other seeds of the same plan."""
    path = results / "simulate.json"
    each = json.loads(path.read_text())["figures"]["each"] if path.exists() else []
    same = {name: value for name, value in plan.told().items() if name != "seed"}
    others = (one for one in each if one["plan"]["seed"] not in seeds)
    return [one for one in others if same.items() <= one["plan"].items()]


def played(folder: Path, plan: Plan, root: Path, *, anew: bool = False) -> dict[str, Any]:
    """Return what a simulation came to; one that was not played to its end is played."""
    path = folder / "simulation" / RESULT
    was: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    is_whole = was.get("plan") == plan.told() and "commit" in was
    if is_whole and not anew:
        return was
    made = was["commit"] if is_whole else commit()
    found = {**(tell if is_whole else simulate)(folder, plan, root, print), "commit": made}
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
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    root = find_root()
    into = asked.into or root / "data" / "simulations"
    rows: list[Row] = []
    for seed in asked.seeds:
        plan = Plan(asked.days, seed, asked.scenario, asked.users, asked.visits, asked.every,
                    asked.weighted)  # fmt: skip
        found = played(into / plan.name, plan, root, anew=asked.anew)
        change = change_of(plan, found["days"], found["acts"])  # as signs are read now
        rows.append(row({**found, "change": change}))
        above = rows[-1]["ended_above"]
        print(f"seed {seed}: ended {above:+.4f} above the policy of the log")
    if asked.more:
        rows.extend(kept(plan, asked.seeds))
    write_result("simulate", told(sorted(rows, key=lambda one: one["plan"]["seed"])))


if __name__ == "__main__":
    main()
