"""What a third pair of caps and larger stakes find on short logs, and what a wide log takes.

Usage: python -m benchmarks.ope_caps [--logs 5] [--seed 0]

The worlds are those of `benchmarks.ope_published`.  Beside the caps of the gate stand the two pairs
of before, and these with the stakes of before, which left room for the largest lift that there can
be.  The wide log is as a service writes it: many candidates, and a champion that did not write it.

Shapes: N requests, C candidates.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import write_result
from benchmarks.ope_published import SETTINGS, Logged, candidate_of, draw, make_world
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import Caps, distinct, paired_scores
from tessera.offpolicy.replay import Replay, scored_replay
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager, betting_lower
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.ope.conditions import sequence_level
from tessera.stages.ope.params import OpeParams

_PARAMS = OpeParams()
_TWO: tuple[Caps, ...] = ((2.0, 5.0), (2.0, 20.0))
_LENGTH, _LIFT, _REQUESTS = 3, 0.04, (4_000, 20_000)
_WIDE, _CANDIDATES = 67_044, 53
_SLATE = SlatePolicy(temperature=0.5, epsilon=0.2, top_k=10)


def wide(seed: int) -> dict[str, Any]:
    """Score one wide log by each pair of caps; the peak is of the whole process."""
    rng = np.random.default_rng((seed, 3))
    shape = _WIDE, _CANDIDATES
    written_NC, score_NC, other_NC = rng.normal(size=(3, *shape))
    open_NC, zero_N = np.ones(shape, dtype=bool), np.zeros(_WIDE, dtype=np.int64)
    chosen_NL, propensity_NL, served_NLC = sample_slates(written_NC, open_NC, _SLATE, _LENGTH, rng)
    log = Requests(
        pa.nulls(_WIDE), np.arange(_WIDE), zero_N, pa.array(["u"]), zero_N, zero_N,
        np.broadcast_to(np.arange(_CANDIDATES), shape), chosen_NL, served_NLC, propensity_NL,
        (rng.random(chosen_NL.shape) < 0.1).astype(float), np.zeros(chosen_NL.shape),
    )  # fmt: skip
    policies = tuple(scored_replay(log, one, open_NC, _SLATE) for one in (score_NC, other_NC))
    guess_NLC = np.full(served_NLC.shape, 0.1)
    begun = time.perf_counter()
    for caps in _PARAMS.caps:
        paired_scores(log, (policies[0], policies[1]), open_NC, guess_NLC, *caps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "requests": _WIDE,
        "candidates": _CANDIDATES,
        "positions": _LENGTH,
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_gb": round(peak / 2**20, 2),
    }


def bounds(logged: Logged, candidate: Replay, champion: Replay) -> dict[str, float]:
    """Bound the lift by each of the rules, at the share of a first candidate."""
    open_NC = np.ones(logged.log.candidate_NC.shape, dtype=bool)
    level = sequence_level(share_of(_PARAMS.alpha, 1))

    def lower(caps: tuple[Caps, ...], room: float) -> float:
        wagers = []
        for one in caps:
            found = paired_scores(
                logged.log, (candidate, champion), open_NC, logged.guess_NLC, *one
            )
            wagers.append(Wager(found.score_N, found.floor + room))
        return betting_lower(wagers, float(_LENGTH), level)

    return {
        "before": lower(_TWO, float(_LENGTH)),
        "stakes": lower(_TWO, 0.0),
        "now": lower(tuple(distinct(_PARAMS.caps, champion, logged.log)), 0.0),
    }


def short(logs: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the mean bounds of each setting, by requests."""
    asked = [one for one in SETTINGS if one.lift == _LIFT and not one.flat]
    told: dict[str, dict[str, dict[str, float]]] = {}
    for requests in _REQUESTS:
        rows = told[str(requests)] = {}
        for number, setting in enumerate(asked):
            score_XC = candidate_of(seed, setting.lift, setting.anew)
            found = [
                bounds(*draw(setting, make_world(seed), score_XC,
                             np.random.default_rng((seed, 4, requests, number, log)), requests))
                for log in range(logs)
            ]  # fmt: skip
            rows[setting.name] = {
                rule: round(float(np.mean([one[rule] for one in found])), 4) for rule in found[0]
            }
    return told


def main() -> None:
    """Measure and write results/ope_caps.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.logs < 1:
        parser.error("at least one log")
    told = {"wide": wide(given.seed), "short": short(given.logs, given.seed)}
    write_result("ope_caps", {"logs": given.logs, "seed": given.seed, "lift": _LIFT, **told})


if __name__ == "__main__":
    main()
