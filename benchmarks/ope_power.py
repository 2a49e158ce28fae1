"""How often the sequence of the gate finds a lift over the policy that served, by its size.

Usage: python -m benchmarks.ope_power [--replications 100] [--seed 0]
The world and the score are those of `benchmarks.ope_looks`; beside the sequence stands the one that
decided before, on its own score and on the same logs.

Shapes: N requests, C items.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT, write_result
from benchmarks.ope_before import flipped_floor, flipped_score, growing_bets
from benchmarks.ope_looks import RATE, draw_requests, gain, p_value
from benchmarks.ope_world import CAP, Floats
from tessera.contracts.progress import progress_bar
from tessera.ope.replay import logging_policy, replay

_PICTURE = ROOT / "docs" / "pictures" / "power.png"
_REQUESTS, _ALPHA = 200_000, 0.005
_RATES = (RATE, 0.05)
_LIFTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
_ASKED = (0.2, 0.8)
"""Lift, and the share of such candidates that is to be promoted."""
_POLICIES = {
    "ESS 70 %": np.array([0.4, 0.3, 0.15, 0.1, 0.05]),
    "ESS 10 %": np.array([0.7, 0.1, *[0.2 / 18] * 18]),
}


def power(replications: int, seed: int) -> dict[str, Any]:
    """Count how often a better candidate is promoted, by base rate, overlap and relative lift."""
    curves: dict[str, dict[str, dict[str, float]]] = {"now": {}, "before": {}}
    runs = replications * len(_LIFTS) * len(_POLICIES) * len(_RATES)
    with progress_bar("power", runs) as bar:
        for rate, (overlap, wanted_C) in product(_RATES, _POLICIES.items()):
            name = f"base rate {rate:.2f}, {overlap}"
            for lift in _LIFTS:
                found = np.zeros(2)
                for i in range(replications):
                    rng = np.random.default_rng((seed, 300, i))
                    found += _finds(rng, wanted_C, rate, lift)
                    bar.advance()
                for told, share in zip(curves.values(), found / replications, strict=True):
                    told.setdefault(name, {})[f"{lift:+.0%}"] = round(float(share), 4)
    return {"requests": _REQUESTS, "alpha": _ALPHA, "replications": replications,
            "promoted": curves["now"], "promoted_before": curves["before"]}  # fmt: skip


def _finds(
    rng: np.random.Generator, wanted_C: Floats, rate: float, lift: float
) -> tuple[bool, bool]:
    lean_C = wanted_C - wanted_C.mean()
    log = draw_requests(rng, _REQUESTS, rate * (1 + lift * lean_C / float(wanted_C @ lean_C)))
    policies = replay(log, np.broadcast_to(wanted_C, log.served_NLC.shape)), logging_policy(log)
    before_N = flipped_score(log, *policies, np.full(log.served_NLC.shape, rate), CAP)
    return (
        p_value(gain(log, wanted_C, rate)) < _ALPHA,
        growing_bets(before_N, flipped_floor(1, CAP), _ALPHA) > 0,
    )


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
            ylabel="share promoted",
            ylim=(-0.03, 1.03),
        )
        axes.legend(loc="lower right")
        figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write results/ope_power.json and draw docs/pictures/power.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = power(given.replications, given.seed)
    write_result("ope_power", {"seed": given.seed, **found})
    draw(found, _PICTURE)


if __name__ == "__main__":
    main()
