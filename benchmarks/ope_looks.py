"""Errors of the gate when nothing is better, under many looks and candidates; and its power.

One item a request and no difference between items (A/A): whatever is promoted is promoted wrongly.
The score, its floor and the bound are those of the gate.

Shapes: N requests, C items, K candidates.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.ope_world import CAP, Floats
from tessera.contracts.progress import progress_bar
from tessera.ope.bounds import normal, sequence_p_values
from tessera.ope.exposures import Requests
from tessera.ope.holm import holm, spent
from tessera.ope.replay import excess, logging_policy, replay, score_floor

ALPHA = 0.05
_LOOKS, _CANDIDATES, _A_DAY = 20, 10, 500
_DAYS, _STREAMS = 250, 5
_ITEMS, _RATE = 5, 0.1
_FLOOR = score_floor(1, CAP)
_POWER_REQUESTS, _POWER_ALPHA = 200_000, 0.005
_RATES = (_RATE, 0.05)
_LIFTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
_ASKED = (0.2, 0.8)
"""Lift, and the share of such candidates that is to be promoted."""
_POLICIES = {
    "ESS 70 %": np.array([0.4, 0.3, 0.15, 0.1, 0.05]),
    "ESS 10 %": np.array([0.7, 0.1, *[0.2 / 18] * 18]),
}


def _requests(rng: np.random.Generator, n: int, chance_C: Floats) -> Requests:
    """Log one item a request, each as likely as any other."""
    items = len(chance_C)
    chosen_N = rng.integers(0, items, n)
    clicked_N = rng.random(n) < chance_C[chosen_N]
    return Requests(
        request_ids=None,
        event_us_N=np.arange(n),
        user_N=np.arange(n),
        user_ids=None,
        risk_N=np.ones(n, dtype=np.int64),
        capacity_N=np.ones(n, dtype=np.int64),
        candidate_NC=np.broadcast_to(np.arange(items), (n, items)),
        chosen_NL=chosen_N[:, None],
        served_NLC=np.full((n, 1, items), 1 / items),
        propensity_NL=np.full((n, 1), 1 / items),
        reward_NL=clicked_N[:, None].astype(float),
        dismissed_NL=np.zeros((n, 1)),
    )


def _gain(log: Requests, wanted_C: Floats, rate: float = _RATE) -> Floats:
    """Score a policy against the one that served; the reward model knows the mean rate."""
    wanted_NLC = np.broadcast_to(wanted_C, log.served_NLC.shape)
    guess_NLC = np.full(log.served_NLC.shape, rate)
    return excess(log, replay(log, wanted_NLC), logging_policy(log), guess_NLC, CAP)


def looks(replications: int, seed: int) -> dict[str, Any]:
    """Count how often anything is promoted though all candidates are as good as the champion."""
    same_C = np.full(_ITEMS, _RATE)
    wrong = dict.fromkeys(("sequence_one", "holm_sequence", "normal_looks", "normal_best"), 0)
    with progress_bar("looks", replications) as bar:
        for i in range(replications):
            rng = np.random.default_rng((seed, 100, i))
            log = _requests(rng, _LOOKS * _A_DAY, same_C)
            gain_KN = [_gain(log, rng.dirichlet(np.ones(_ITEMS))) for _ in range(_CANDIDATES)]
            # The running minimum holds at every request, so at the 20 looks too.
            p_K = np.array(
                [sequence_p_values(g_N, _FLOOR, ALPHA / _CANDIDATES)[-1] for g_N in gain_KN]
            )
            wrong["sequence_one"] += bool(sequence_p_values(gain_KN[0], _FLOOR, ALPHA)[-1] < ALPHA)
            wrong["holm_sequence"] += bool(holm(p_K, ALPHA).any())
            wrong["normal_looks"] += any(_above(gain_KN[0][:n]) for n in _each_look())
            wrong["normal_best"] += any(_above(g_N) for g_N in gain_KN)
            bar.advance()
    shares = {name: round(count / replications, 4) for name, count in wrong.items()}
    return {"looks": _LOOKS, "candidates": _CANDIDATES, "requests": _LOOKS * _A_DAY, **shares,
            "stream": _stream(max(replications // _STREAMS, 1), seed)}  # fmt: skip


def _each_look() -> range:
    return range(_A_DAY, _LOOKS * _A_DAY + 1, _A_DAY)


def _above(gain_N: Floats) -> bool:
    return normal(gain_N, ALPHA).lower > 0


def _stream(streams: int, seed: int) -> dict[str, Any]:
    """Judge a new candidate every day, the k-th at its share of alpha."""
    same_C = np.full(_ITEMS, _RATE)
    wrong = 0
    with progress_bar("a candidate a day", streams) as bar:
        for i in range(streams):
            rng = np.random.default_rng((seed, 200, i))
            wrong += any(_promoted(rng, same_C, spent(ALPHA, day)) for day in range(1, _DAYS + 1))
            bar.advance()
    return {"days": _DAYS, "streams": streams, "promoted": round(wrong / streams, 4)}


def _promoted(rng: np.random.Generator, chance_C: Floats, alpha: float) -> bool:
    gain_N = _gain(_requests(rng, _A_DAY, chance_C), rng.dirichlet(np.ones(_ITEMS)))
    return bool(sequence_p_values(gain_N, _FLOOR, alpha)[-1] < alpha)


def power(replications: int, seed: int) -> dict[str, Any]:
    """Count how often a better candidate is promoted, by base rate, overlap and relative lift."""
    curves: dict[str, dict[str, float]] = {}
    runs = replications * len(_LIFTS) * len(_POLICIES) * len(_RATES)
    with progress_bar("power", runs) as bar:
        for rate, (overlap, wanted_C) in product(_RATES, _POLICIES.items()):
            curve = curves.setdefault(f"base rate {rate:.2f}, {overlap}", {})
            for lift in _LIFTS:
                promoted = 0
                for i in range(replications):
                    rng = np.random.default_rng((seed, 300, i))
                    promoted += _finds(rng, wanted_C, rate, lift)
                    bar.advance()
                curve[f"{lift:+.0%}"] = round(promoted / replications, 4)
    return {"requests": _POWER_REQUESTS, "alpha": _POWER_ALPHA, "replications": replications,
            "promoted": curves}  # fmt: skip


def _finds(rng: np.random.Generator, wanted_C: Floats, rate: float, lift: float) -> bool:
    lean_C = wanted_C - wanted_C.mean()
    log = _requests(rng, _POWER_REQUESTS, rate * (1 + lift * lean_C / float(wanted_C @ lean_C)))
    p_N = sequence_p_values(_gain(log, wanted_C, rate), _FLOOR, _POWER_ALPHA)
    return bool(p_N[-1] < _POWER_ALPHA)


def draw_power(found: dict[str, Any], path: Path) -> None:
    """Draw what `power` found, one line for each base rate and overlap."""
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
