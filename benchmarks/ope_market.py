"""How often the gate promotes on the market when nothing is better: A/A replays of its log.

Usage: python -m benchmarks.ope_market [--replays 1000] [--streams 200] [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope_market.jsonl).

It reads the market that `make run` left.  Each replay keeps what was logged before anything was
drawn: requests, candidates, the propensities at the top, the scores of the model.  Slates are drawn
again by a softmax with these propensities, and every item is clicked with the market's rate at its
position, whatever it is, so that all policies are equally good and whatever is promoted is promoted
wrongly.  Candidates are the trained model and models that give its scores to other items at random.

Shapes: N requests, L positions, C candidates of a request, K candidates for promotion.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import ibis
import numpy as np

from benchmarks.common import ROOT, Kept, each, spans, sum_of, write_result
from benchmarks.intervals import holm
from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.split import load_split
from tessera.offpolicy.bounds import normal
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import paired_scores
from tessera.offpolicy.replay import logging_policy, scored_replay
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.offpolicy.sequences import Wager, log_wealth
from tessera.platform.workspace import files
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.ope.exposures import aligned_scores
from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reading import read_case_log

_LOOKS, _CANDIDATES, _A_LOOK = 20, 10, 500
_DAYS, _A_DAY = 250, 400
_RULES = ("holm_sequence", "sequence_model", "normal_looks", "normal_best")
_TABLES = ("exposures", "outcomes", "scores", "items", "users")
_GROUP = 10
"""Replays that are kept together."""


@dataclass(frozen=True, slots=True)
class Market:
    """What was logged before slates were drawn."""

    log: Requests
    score_NC: Float64s
    allowed_NC: Bools
    rate_L: Float64s
    """Clicks or purchases of an item at each position, whatever it is."""
    params: OpeParams

    def rows(self, rng: np.random.Generator, size: int) -> Any:
        """Draw requests to replay."""
        return rng.integers(0, len(self.log), size)


@cache
def read_market() -> Market:
    """Read what the stage `ope` reads of the default profile."""
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    params = load_params(workspace)["ope"]
    assert isinstance(params, OpeParams)
    read = ibis.duckdb.connect().read_parquet
    table = {name: read(str(workspace.artifact(name))) for name in _TABLES}
    cut = load_split(workspace.artifact("split")).cut
    lookup = read_lookup(table["items"], table["users"])
    log = read_case_log(
        table["exposures"], table["outcomes"], table["users"], lookup.item_ids, cut,
        params.window_days,
    ).log  # fmt: skip
    scores = aligned_scores(table["scores"], log, lookup.item_ids)
    filled_NL = log.chosen_NL != NOBODY
    rate_L = log.reward_NL.sum(axis=0) / np.maximum(filled_NL.sum(axis=0), 1)
    return Market(log, scores.candidate_NC, log.served_NLC[:, 0] > 0, rate_L, params)


def redraw(market: Market, rng: np.random.Generator, size: int) -> tuple[Any, Requests]:
    """Draw the slates of some requests again, and clicks that do not depend on what is shown."""
    rows, log = market.rows(rng, size), market.log
    top_NC = log.served_NLC[rows, 0]
    logit_NC = np.log(np.where(top_NC > 0, top_NC, 1.0))
    allowed_NC = market.allowed_NC[rows]
    everything = SlatePolicy(temperature=1.0, epsilon=0.0, top_k=top_NC.shape[1])
    length = log.chosen_NL.shape[1]
    chosen_NL, propensity_NL, chance_NLC = sample_slates(
        logit_NC, allowed_NC, everything, length, rng
    )
    is_clicked_NL = (rng.random(chosen_NL.shape) < market.rate_L) & (chosen_NL != NOBODY)
    return rows, replace(
        log,
        event_us_N=np.arange(size),
        user_N=np.arange(size),
        candidate_NC=log.candidate_NC[rows],
        chosen_NL=chosen_NL,
        served_NLC=chance_NLC,
        propensity_NL=propensity_NL,
        reward_NL=is_clicked_NL.astype(float),
        dismissed_NL=np.zeros(chosen_NL.shape),
    )


def gain(market: Market, rows: Any, log: Requests, rng: np.random.Generator | None) -> Wager:
    """Score a candidate against the policy that served; with a generator its scores are dealt out.

    Returns
    -------
    Wager
        Paired score of each request; no prefix is thinned, since the champion wrote the log.
    """
    allowed_NC, score_NC = market.allowed_NC[rows], market.score_NC[rows]
    if rng is not None:
        score_NC = rng.permuted(score_NC, axis=1)
    params = market.params
    policy = SlatePolicy(params.temperature, params.epsilon, params.top_k)
    policies = scored_replay(log, score_NC, allowed_NC, policy), logging_policy(log)
    guess_NLC = np.broadcast_to(market.rate_L[:, None], log.served_NLC.shape)
    found = paired_scores(log, policies, allowed_NC, guess_NLC, *params.caps[-1])
    return Wager(found.score_N, found.floor)


def p_value(gain: Wager, looks: int = 1) -> float:
    """Anytime-valid p-value of "no lift" over so many looks: one over the most wealth."""
    ends = np.linspace(0, len(gain.score_N), looks + 1).astype(int)[1:].tolist()
    return float(np.exp(-max(log_wealth([gain.until(end)], 0.0) for end in ends)))


def _looks(seed: int, span: tuple[str, int, int]) -> dict[str, int]:
    """Judge ten candidates on the same log at twenty looks, as the gate does and without it."""
    market, wrong = read_market(), dict.fromkeys(_RULES, 0)
    alpha, ends = market.params.alpha, range(_A_LOOK, _LOOKS * _A_LOOK + 1, _A_LOOK)
    for number in range(*span[1:]):
        rng = np.random.default_rng((seed, 0, number))
        rows, log = redraw(market, rng, _LOOKS * _A_LOOK)
        dealt = [None, *[rng] * (_CANDIDATES - 1)]
        found = [gain(market, rows, log, one) for one in dealt]
        p_K = np.array([p_value(one, _LOOKS) for one in found])
        wrong["holm_sequence"] += bool(holm(p_K, alpha).any())
        wrong["sequence_model"] += bool(p_K[0] < alpha)
        wrong["normal_looks"] += any(_above(found[0].score_N[:end], alpha) for end in ends)
        wrong["normal_best"] += any(_above(one.score_N, alpha) for one in found)
    return wrong


def _stream(seed: int, span: tuple[str, int, int]) -> int:
    """Judge a new candidate every day on the day's log, the k-th at its share of alpha."""
    market, wrong = read_market(), 0
    for number in range(*span[1:]):
        rng = np.random.default_rng((seed, 1, number))
        rows, log = redraw(market, rng, _DAYS * _A_DAY)
        found = gain(market, rows, log, rng)
        days = enumerate(np.split(found.score_N, _DAYS), start=1)
        levels = [(share_of(market.params.alpha, k), day_N) for k, day_N in days]
        wrong += any(p_value(Wager(d_N, found.floor)) < level for level, d_N in levels)
    return wrong


def measure(replays: int, streams: int, seed: int, processes: int) -> dict[str, Any]:
    """Replay the market; who changes it begins anew."""
    market, workspace = read_market(), open_workspace(DEFAULT_PROFILE, ROOT)
    read = {name: files.sha256(workspace.artifact(name)) for name in (*_TABLES, "split")}
    kept = Kept("ope_market", {"seed": seed, "params": market.params.model_dump(), **read})
    over = partial(each, kept=kept, processes=processes)
    looks = [("looks", *span) for span in spans(replays, _GROUP)]
    days = [("stream", *span) for span in spans(streams, _GROUP)]
    found = over(partial(_looks, seed), looks, "A/A replays")
    daily = over(partial(_stream, seed), days, "a candidate a day")
    shares = {name: round(count / replays, 4) for name, count in sum_of(found).items()}
    return {
        "seed": seed,
        "rates": [round(rate, 4) for rate in market.rate_L.tolist()],
        "looks": {"replays": replays, "looks": _LOOKS, "candidates": _CANDIDATES,
                  "requests": _LOOKS * _A_LOOK, **shares},
        "stream": {"streams": streams, "days": _DAYS, "requests_a_day": _A_DAY,
                   "promoted": round(sum(daily) / streams, 4)},
    }  # fmt: skip


def _above(gain_N: Float64s, alpha: float) -> bool:
    return normal(gain_N, alpha).lower > 0


def main() -> None:
    """Replay and write results/ope_market.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if min(given.replays, given.streams, given.processes) < 1:
        parser.error("at least one replay, one stream and one process")
    found = measure(given.replays, given.streams, given.seed, given.processes)
    write_result("ope_market", found)


if __name__ == "__main__":
    main()
