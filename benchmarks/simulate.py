"""The closed loop over seeds: ends it ever below the log's policy, and promotes it wrongly.

Usage: python -m benchmarks.simulate [--seeds 0 1 2] [--scenario drift] [--days 30] [--users 1000]
       [--visits 1000] [--every 5] [--weighted] [--into data/simulations]

Each seed is a simulation of its own (`tessera simulate`) and goes on where it was killed; what is
told at the end holds for the seeds that were played.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tessera.platform.simulate.page import write_page
from tessera.platform.simulate.plan import SCENARIOS, Plan
from tessera.platform.simulate.simulate import simulate
from tessera.platform.workspace.paths import find_root

_LAST_DAYS = 3
"""Days whose mean says where a simulation ended."""
_MOST_WRONG = 0.05

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
        "seeds": len(results),
        "ended_below": sum(ended_above(found) < 0 for found in results),
        "least_above": min(ended_above(found) for found in results),
        "judged": sum(one["judged"] for one in promotions),
        "promoted": promoted,
        "truly_better": sum(one["truly_better"] for one in promotions),
        "wrong": wrong,
        "wrong_share": wrong / promoted if promoted else 0.0,
        "held_though_better": sum(one["held_though_better"] for one in promotions),
        "gini_first": float(np.mean([found["days"][0]["gini"] for found in results])),
        "gini_last": float(np.mean([found["days"][-1]["gini"] for found in results])),
        "value": float(np.mean([found["total"]["value"] for found in results])),
    }


def main() -> None:
    """Play the seeds, and say what holds."""
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
        found = simulate(folder, plan, root, print)
        write_page(found, folder / "simulation")
        results.append(found)
        print(f"seed {seed}: ended {ended_above(found):+.4f} above the policy of the log")
    said = told(results)
    for name, value in said.items():
        print(f"{name:20} {value:.4f}" if isinstance(value, float) else f"{name:20} {value}")
    below = "holds" if not said["ended_below"] else "does not hold"
    wrong = "holds" if said["wrong_share"] <= _MOST_WRONG else "does not hold"
    print(f"never ends below the policy of the log: {below}; wrong promotions <= 5 %: {wrong}")


if __name__ == "__main__":
    main()
