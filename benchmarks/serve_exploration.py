"""What uniform candidates cost today, and what they let a later model show: `serve.uniform`.

Usage: python -m benchmarks.serve_exploration [--requests 2000] [--seed 0]     after `make run`

Visits of the embedded market after the published cut, whose true answers are known, are served with
several numbers of uniform candidates.  A later model is judged on the log of each, by the paired
score of the gate.  Investors stay as they were at the cut.  Nothing here is timed.

Shapes: N requests, I items of the bundle, C candidates, L positions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT, write_result
from benchmarks.serve_sets import Sets, candidate_sets, judged
from benchmarks.serve_truth import Visitors, visitors
from tessera.contracts.arrays import Bools, Float64s
from tessera.offpolicy.sequences import stakes
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace
from tessera.serve.engine import Engine
from tessera.serve.params import ServeParams
from tessera.shared.policies.slate import SlatePolicy, sample_slates, step_probabilities
from tessera.stages.ope.params import OpeParams

_PICTURE = ROOT / "docs" / "pictures" / "exploration.png"
_UNIFORM = (0, 3, 5, 10, 20, 40, 80)
_LATER = ("outside", "truth")
"""Later models: one whose favourites are never retrieved today, one that knows the truth."""
_FAVOURITES, _SHOWN_WORTH = 3, 1.3
_WORTHS = (1.1, 1.2, 1.3, 1.5, 2.0, 3.0)
"""What each favourite of the first is worth, as a share of what today's model likes best."""
_ALPHA = 0.05
_A_MONTH, _MONTHS = 15_000, 12
_YEAR = _A_MONTH * _MONTHS
"""Requests of the embedded market, and how long a later model waits to be found and then earns."""
_DRAWS = 10
"""Slates that are drawn of each request where a mean is estimated."""


def earned(
    score_NI: Float64s, reward_NLI: Float64s, sets: Sets, policy: SlatePolicy, seed: int
) -> Float64s:
    """Return the expected reward of each request, given what stands above each position."""
    rng, length = np.random.default_rng(seed), reward_NLI.shape[1]
    reward_NLC = np.stack([sets.of(reward_NLI[:, k]) for k in range(length)], axis=1)
    total_N = np.zeros(len(score_NI))
    for _ in range(_DRAWS):
        chance_NLC = sample_slates(
            sets.of(score_NI), sets.is_there_NC, policy, length, rng
        )[2]  # fmt: skip
        total_N += (chance_NLC * reward_NLC).sum(axis=(1, 2))
    return total_N / _DRAWS


def retrieved(sets: Sets, items: int) -> Bools:
    """Mark what was retrieved for each request, among all items."""
    among_NC = sets.is_there_NC & (np.arange(sets.row_NC.shape[1]) < sets.found_N[:, None])
    n_R, c_R = np.nonzero(among_NC)
    found_NI = np.zeros((len(sets.row_NC), items), bool)
    found_NI[n_R, sets.row_NC[n_R, c_R]] = True
    return found_NI


def favourites(seen: Visitors, found_NI: Bools, seed: int) -> Bools:
    """Draw what the first later model likes best, from what suits and is not retrieved."""
    left_NI = np.random.default_rng(seed).random(found_NI.shape)
    left_NI[found_NI | ~seen.open_NI] = 2.0
    chosen_NF = np.argsort(left_NI, axis=1)[:, :_FAVOURITES]
    likes_NI = np.zeros(found_NI.shape, bool)
    np.put_along_axis(likes_NI, chosen_NF, np.take_along_axis(left_NI, chosen_NF, axis=1) < 1, 1)
    return likes_NI


def hidden(seen: Visitors, likes_NI: Bools, worth: float) -> tuple[Float64s, Float64s]:
    """Score as a model that knows some items to be worth more; return with it what is true then."""
    best_N = np.argmax(np.where(seen.open_NI, seen.score_NI, -np.inf), axis=1)
    worth_NL1 = np.take_along_axis(seen.reward_NLI, best_N[:, None, None], axis=2)
    worth_NLI = np.minimum(worth * worth_NL1, 0.99)
    above_N1 = 1.0 + np.where(seen.open_NI, seen.score_NI, -np.inf).max(axis=1, keepdims=True)
    return (
        np.where(likes_NI, above_N1, seen.score_NI),
        np.where(likes_NI[:, None], worth_NLI, seen.reward_NLI),
    )


def planted(seen: Visitors) -> tuple[Float64s, Float64s]:
    """Return the planted log odds in the spread of today's scores, and what is true."""
    logit_NI = np.log(seen.reward_NLI[:, 0] / (1 - seen.reward_NLI[:, 0]))
    of_open = logit_NI[seen.open_NI]
    spread = float(seen.score_NI[seen.open_NI].std() / of_open.std())
    return (logit_NI - of_open.mean()) * spread, seen.reward_NLI


def own_sets(later_NI: Float64s, open_NI: Bools, sets: Sets) -> Sets:
    """Return what a later model would be served with: its own best, and what was drawn evenly."""
    most = int(sets.found_N.max())
    order_NC = np.argsort(np.where(open_NI, -later_NI, np.inf), axis=1, kind="stable")[:, :most]
    is_best_NC = np.take_along_axis(open_NI, order_NC, axis=1)
    is_best_NI = np.zeros(open_NI.shape, bool)
    np.put_along_axis(is_best_NI, order_NC, is_best_NC, axis=1)
    drawn_NC = sets.is_there_NC & (np.arange(sets.row_NC.shape[1]) >= sets.found_N[:, None])
    drawn_NC &= ~np.take_along_axis(is_best_NI, sets.row_NC, axis=1)
    row_NC = np.concatenate([order_NC, sets.row_NC], axis=1)
    there_NC = np.concatenate([is_best_NC, drawn_NC], axis=1)
    return Sets(row_NC, there_NC, is_best_NC.sum(axis=1))


def mean_of(value_N: Float64s) -> dict[str, float]:
    """Return a mean and its standard error."""
    return {"mean": round(float(value_N.mean()), 6),
            "error": round(float(value_N.std() / len(value_N) ** 0.5), 6)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """One bundle with its visits."""

    engine: Engine
    seen: Visitors
    seed: int
    cap: float

    def at(self, uniform: int) -> tuple[dict[str, Any], Float64s]:
        """Tell of one number of uniform candidates; with it what today's model earns a request."""
        sets, seen = candidate_sets(self.engine, self.seen.asked, uniform), self.seen
        likes_NI = favourites(seen, retrieved(sets, seen.score_NI.shape[1]), self.seed)
        told: dict[str, Any] = {"candidates": round(float(sets.is_there_NC.sum(axis=1).mean()), 1)}
        told["truth"] = self._later(*planted(seen), sets)
        by_worth = [self._later(*hidden(seen, likes_NI, worth), sets) for worth in _WORTHS]
        told["outside"] = by_worth[_WORTHS.index(_SHOWN_WORTH)]
        told["detectable"] = detectable(by_worth)
        return told, self._earned(seen.score_NI, seen.reward_NLI, sets)

    def _later(self, later_NI: Float64s, reward_NLI: Float64s, sets: Sets) -> dict[str, Any]:
        """Tell what a later model earns, on the logged candidates and on its own, and when."""
        now_N = self._earned(self.seen.score_NI, reward_NLI, sets)
        own_N = self._earned(later_NI, reward_NLI, own_sets(later_NI, self.seen.open_NI, sets))
        seen_N = self._earned(later_NI, reward_NLI, sets) - now_N
        best_N = np.argmax(np.where(self.seen.open_NI, later_NI, -np.inf), axis=1)
        there_N = (sets.is_there_NC & (sets.row_NC == best_N[:, None])).any(axis=1)
        now, own = float(now_N.mean()), float((own_N - now_N).mean())
        found = self._found(later_NI, reward_NLI, sets)
        waits = min(found.get("requests") or _YEAR, _YEAR)
        return {
            "favourite_there": round(float(there_N.mean()), 4),
            "shown_lift": mean_of(seen_N), "own_lift": mean_of(own_N - now_N),
            "own_share": round(own / now, 4), **found,
            "year": round(_YEAR * now + (_YEAR - waits) * own),
        }  # fmt: skip

    def _earned(self, score_NI: Float64s, reward_NLI: Float64s, sets: Sets) -> Float64s:
        return earned(score_NI, reward_NLI, sets, self.engine.slate, self.seed)

    def _found(self, later_NI: Float64s, reward_NLI: Float64s, sets: Sets) -> dict[str, Any]:
        """Let the bettor of the gate look for the lift at the top, over all that may come of it.

        Its stakes are those of a whole slate.
        """
        length = reward_NLI.shape[1]
        now_NI, policy = self.seen.score_NI, self.engine.slate
        reward_NC = sets.of(reward_NLI[:, 0])
        chance_NC = step_probabilities(sets.of(now_NI), sets.is_there_NC, policy)
        guess = float((chance_NC * reward_NC).sum(axis=1).mean())
        one = judged(now_NI, later_NI, sets, policy, self.cap, guess)
        grows = [
            float((one.chance_NC * (reward_NC * np.log1p(stake * one.hit_NC) +
                   (1 - reward_NC) * np.log1p(stake * one.missed_NC))).sum(axis=1).mean())
            for stake in stakes(length * one.floor).tolist()
        ]  # fmt: skip
        growth = max(grows)
        return {
            "weighs": round(1 / float((one.chance_NC * one.weight_NC**2).sum(axis=1).mean()), 4),
            "requests": round(np.log(len(grows) / _ALPHA) / growth) if growth > 1e-9 else None,
        }


def detectable(by_worth: list[dict[str, Any]]) -> float | None:
    """Return the least lift of a later model that is found in a month, between what was tried."""
    known = [(one["requests"], one["own_share"]) for one in by_worth if one.get("requests")]
    known = sorted(pair for pair in known if pair[1] > 0)
    if not known or known[0][0] > _A_MONTH:
        return None
    logs = np.log(np.array(known))
    return round(float(np.exp(np.interp(np.log(_A_MONTH), logs[:, 0], logs[:, 1]))), 4)


def measure(requests: int, seed: int) -> dict[str, Any]:
    """Measure every number of uniform candidates on the same visits."""
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    params = load_params(workspace)
    engine = Engine.open(current_bundle(workspace), cast(ServeParams, params["serve"]))
    study = Study(engine, visitors(engine, workspace, requests, seed), seed,
                  cast(OpeParams, params["ope"]).caps[-1][0])  # fmt: skip
    told: dict[str, Any] = {}
    first_N: Float64s | None = None
    for uniform in _UNIFORM:
        one, now_N = study.at(uniform)
        first_N = now_N if first_N is None else first_N
        one["earned"], one["cost"] = mean_of(now_N), mean_of(first_N - now_N)
        one["cost_share"] = round(one["cost"]["mean"] / float(first_N.mean()), 5)
        told[str(uniform)] = one
        print(uniform, one, flush=True)
    return {"requests": requests, "seed": seed, "retrieved": engine.params.retrieved,
            "alpha": _ALPHA, "served": engine.params.uniform,
            "a_month": _A_MONTH, "months": _MONTHS, "worth": _SHOWN_WORTH,
            "policy": engine.told(), "uniform": told}  # fmt: skip


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw what each number costs beside what it lets a later model show."""
    by = {int(name): one for name, one in found["uniform"].items()}
    with rc_context(rcParamsDefault):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        told = {n: one for n, one in by.items() if one["outside"]["requests"]}
        points = [(100 * one["cost_share"], one["outside"]["requests"] / 1000)
                  for one in told.values()]  # fmt: skip
        left.plot(*zip(*points, strict=True), "o-")
        for n, point in zip(told, points, strict=True):
            left.annotate(f"{n}", point, (5, 5), textcoords="offset points")
        left.set(title="by uniform candidates", xlabel="reward they cost, % of what is earned",
                 ylabel="requests until the later model is found, thousands",
                 ylim=(0, 1.1 * max(found for _, found in points)))  # fmt: skip
        right.plot(list(by), [one["outside"]["year"] / 1000 for one in by.values()], "o-")
        right.set(
            title=f"favourites outside, each worth {found['worth']:g} of today's best",
            xlabel="uniform candidates", ylabel="earned in a year, thousands",
        )  # fmt: skip
        figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, write results/serve_exploration.json and draw docs/pictures/exploration.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = measure(given.requests, given.seed)
    write_result("serve_exploration", found)
    draw(found, _PICTURE)


if __name__ == "__main__":
    main()
