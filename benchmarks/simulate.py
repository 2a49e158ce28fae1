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
_HELD_BY = (("fading", "fading"), ("dismissed more often", "dismissals"),
            ("differs too much", "too different"), ("needs > 0", "no lift shown"))  # fmt: skip
"""Words of a verdict's reason, and what held the candidate."""
_OTHER = "another guardrail"
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
        "acts": [{name: one[name] for name in ("act", "truth", "true_lift")}
                 for one in found["acts"]],
        "candidates": [_candidate(one, found["change"]) for one in found["runs"]
                       if one["champion"] not in (None, "v0")],
        "seconds": {name: found["seconds"].get(name, 0.0)
                    for name in ("visits", "watch", "runs", "reckoning")},
    }  # fmt: skip


def _candidate(run: Row, change: Row | None) -> dict[str, Any]:
    """Return what is kept of one that was judged against a model that served."""
    held_by = next((name for words, name in _HELD_BY if words in run["reason"]), _OTHER)
    return {
        "published": bool(run["published"]),
        "truth": run["truth"],
        "true_lift": run["true_lift"],
        "after_change": change is not None and run["day"] >= change["day"],
        "held_by": None if run["published"] else held_by,
    }


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
        "of_held": _of_held([one for seed in rows for one in seed["candidates"]]),
        "seconds": {name: _mean([one["seconds"] for one in rows], name)
                    for name in rows[0]["seconds"]},
        "each": list(rows),
    }  # fmt: skip


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([one[name] for one in rows]))


def _of_held(candidates: Sequence[Row]) -> dict[str, Any]:
    """Put together those that were held: which were truly better, by how much, by what held."""
    held = [one for one in candidates if not one["published"]]
    better = [one for one in held if one["truth"] == "better"]
    return {
        "worse": sum(one["truth"] == "worse" for one in held),
        "better_by": dict(Counter(one["held_by"] for one in better)),
        "better_lifts": sorted(one["true_lift"] for one in better),
        "after_change": sum(one["after_change"] for one in held),
        "better_after_change": sum(one["after_change"] for one in better),
    }


def _change(changes: Sequence[Row]) -> Row | None:
    """Put together how what happened was met: days by seed, None where they never came.

    `regained`, of what was lost, by the last five days: least, median and most of the seeds.
    """
    names = ("alarmed_before", "days_to_alarm", "acted_before", "days_to_act", "days_to_recovery")
    if not changes:
        return None
    lost = [one["attained_before"] - one["attained_after"] for one in changes]
    back = [one["attained_last"] - one["attained_after"] for one in changes]
    share = [part / whole for part, whole in zip(back, lost, strict=True) if whole > 0]
    regained = [min(share), float(np.median(share)), max(share)] if share else None
    return {**{name: [one[name] for one in changes] for name in names}, "regained": regained}


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
