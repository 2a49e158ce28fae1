"""How often the sequence of the gate finds a lift over the policy that served, by its size.

Usage: python -m benchmarks.ope_power [--replications 100] [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope_power.jsonl).
The world and the score are those of `benchmarks.ope_looks`; beside the sequence stands the one that
decided before, on its own score and on the same logs.

Shapes: N requests, C items.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT, Kept, each, spans, sum_of, write_result
from benchmarks.ope_before import flipped_floor, flipped_score, growing_bets
from benchmarks.ope_looks import RATE, draw_requests, every_request, gain, p_value
from benchmarks.ope_world import CAP
from tessera.contracts.arrays import Float64s
from tessera.offpolicy.replay import logging_policy, replay
from tessera.offpolicy.requests import Requests

_PICTURE = ROOT / "docs" / "pictures" / "power.png"
_REQUESTS, _ALPHA = 200_000, 0.005
_RATES = (RATE, 0.05)
_LIFTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
_ASKED = (0.2, 0.8)
"""Lift, and the share of such candidates that is to be promoted."""
_GROUP = 20
"""Logs that are kept together."""
_POLICIES = {
    "ESS 70 %": np.array([0.4, 0.3, 0.15, 0.1, 0.05]),
    "ESS 10 %": np.array([0.7, 0.1, *[0.2 / 18] * 18]),
}


def power(replications: int, seed: int, processes: int) -> dict[str, Any]:
    """Count how often a better candidate is promoted, by base rate, overlap and relative lift."""
    asked = list(product(_RATES, _POLICIES, _LIFTS))
    groups = spans(replications, _GROUP)
    pieces = [(*one, *group) for one in asked for group in groups]
    kept = Kept("ope_power", {"seed": seed})
    found = each(partial(_count, seed), pieces, "power", kept, processes)
    curves: dict[str, dict[str, dict[str, float]]] = {"now": {}, "before": {}}
    for number, (rate, overlap, lift) in enumerate(asked):
        total = sum_of(found[number * len(groups) : (number + 1) * len(groups)])
        for rule, curve in curves.items():
            shares = curve.setdefault(f"base rate {rate:.2f}, {overlap}", {})
            shares[f"{lift:+.0%}"] = round(total[rule] / replications, 4)
    return {"requests": _REQUESTS, "alpha": _ALPHA, "replications": replications,
            "promoted": curves["now"], "promoted_before": curves["before"]}  # fmt: skip


def _count(seed: int, piece: tuple[float, str, float, int, int]) -> dict[str, int]:
    """Count the logs, from one number to the one before another, in which a lift is found."""
    rate, overlap, lift, begin, end = piece
    wanted_C = _POLICIES[overlap]
    found = {"now": 0, "before": 0}
    for i in range(begin, end):
        log = _draw(np.random.default_rng((seed, 300, i)), wanted_C, rate, lift)
        before_N = _before(wanted_C, rate)[log.chosen_NL[:, 0], log.reward_NL[:, 0].astype(int)]
        found["now"] += p_value(gain(log, wanted_C, rate)) < _ALPHA
        found["before"] += growing_bets(before_N, flipped_floor(1, CAP), _ALPHA) > 0
    return {rule: int(count) for rule, count in found.items()}


def _draw(rng: np.random.Generator, wanted_C: Float64s, rate: float, lift: float) -> Requests:
    """Log requests in which the policy is better by a share of the rate that served."""
    lean_C = wanted_C - wanted_C.mean()
    return draw_requests(rng, _REQUESTS, rate * (1 + lift * lean_C / float(wanted_C @ lean_C)))


def _before(wanted_C: Float64s, rate: float) -> Float64s:
    """Score each item without and with a click as it was scored before."""
    each, wanted_NLC = every_request(wanted_C)
    policies = replay(each, wanted_NLC), logging_policy(each)
    score_N = flipped_score(each, *policies, np.full(wanted_NLC.shape, rate), CAP)
    return score_N.reshape(-1, 2)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw what `power` found: one line for each base rate and overlap."""
    with rc_context(rcParamsDefault):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for number, (name, curve) in enumerate(found["promoted"].items()):
            lifts, size = [float(lift.rstrip("%")) for lift in curve], 4 - number
            # Curves that coincide are told apart by their width.
            axes.plot(lifts, list(curve.values()), "o-", lw=size, ms=3 * size, label=name)
        lift, share = _ASKED
        axes.plot(100 * lift, share, "k*", fillstyle="none", ms=18, label="asked")
        axes.set(
            title=f"{found['requests']:,} requests, alpha {found['alpha']:g}",
            xlabel="relative lift, %",
            ylabel="share found",
            ylim=(-0.03, 1.03),
        )
        axes.legend(loc="lower right")
        figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write results/ope_power.json and draw docs/pictures/power.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if min(given.replications, given.processes) < 1:
        parser.error("at least one replication and one process")
    found = power(given.replications, given.seed, given.processes)
    write_result("ope_power", {"seed": given.seed, **found})
    draw(found, _PICTURE)


if __name__ == "__main__":
    main()
