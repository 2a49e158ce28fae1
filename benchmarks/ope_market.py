"""How often the gate promotes on the market when nothing is better: A/A replays of its log.

Usage: python -m benchmarks.ope_market [--replays 1000] [--streams 1000] [--seed 0]

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
from typing import Any

import ibis
import numpy as np

from benchmarks.common import ROOT, write_result
from benchmarks.intervals import holm
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.ope.bounds import normal
from tessera.ope.exposures import NOBODY, Bools, Floats, Requests, aligned_scores
from tessera.ope.holm import share_of
from tessera.ope.paired import paired_scores
from tessera.ope.params import OpeParams
from tessera.ope.reading import read_case_log
from tessera.ope.replay import logging_policy, scored_replay
from tessera.ope.sequences import Wager, log_wealth
from tessera.ope.shelf import read_shelf
from tessera.pipeline.params import load_params
from tessera.pipeline.paths import DEFAULT_PROFILE, home
from tessera.policies.slate import SlatePolicy, sample_slates

_LOOKS, _CANDIDATES, _A_LOOK = 20, 10, 500
_DAYS, _A_DAY = 250, 400


@dataclass(frozen=True, slots=True)
class Market:
    """What was logged before slates were drawn."""

    log: Requests
    score_NC: Floats
    allowed_NC: Bools
    rate_L: Floats
    """Clicks or purchases of an item at each position, whatever it is."""
    params: OpeParams

    def rows(self, rng: np.random.Generator, size: int) -> Any:
        """Draw requests to replay."""
        return rng.integers(0, len(self.log), size)


def read_market() -> Market:
    """Read what the stage `ope` reads of the default profile."""
    place = home(DEFAULT_PROFILE, ROOT)
    params = load_params(place)["ope"]
    assert isinstance(params, OpeParams)
    read = ibis.duckdb.connect().read_parquet
    table = {
        name: read(str(place.artifact(name)))
        for name in ("exposures", "outcomes", "scores", "items", "users")
    }
    cut = load_split(place.artifact("split")).cut
    shelf = read_shelf(table["items"], table["users"])
    log = read_case_log(
        table["exposures"], table["outcomes"], table["users"], shelf.item_ids, cut,
        params.window_days,
    ).log  # fmt: skip
    scores = aligned_scores(table["scores"], log, shelf.item_ids)
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
    prefix_cap = max(params.prefix_caps)
    found = paired_scores(log, policies, allowed_NC, guess_NLC, params.cap, prefix_cap)
    return Wager(found.score_N, found.floor)


def p_value(market: Market, gain: Wager, looks: int = 1) -> float:
    """Anytime-valid p-value of "no lift" over so many looks: one over the most wealth."""
    most = float(market.log.chosen_NL.shape[1])
    ends = np.linspace(0, len(gain.score_N), looks + 1).astype(int)[1:].tolist()
    return float(np.exp(-max(log_wealth([gain.until(end)], 0.0, most) for end in ends)))


def looks(market: Market, replays: int, seed: int) -> dict[str, Any]:
    """Judge ten candidates on the same log at twenty looks, as the gate does and without it."""
    alpha = market.params.alpha
    wrong = dict.fromkeys(("holm_sequence", "sequence_model", "normal_looks", "normal_best"), 0)
    with progress_bar("A/A replays", replays) as bar:
        for number in range(replays):
            rng = np.random.default_rng((seed, 0, number))
            rows, log = redraw(market, rng, _LOOKS * _A_LOOK)
            dealt = [None, *[rng] * (_CANDIDATES - 1)]
            found = [gain(market, rows, log, one) for one in dealt]
            p_K = np.array([p_value(market, one, _LOOKS) for one in found])
            model_N = found[0].score_N
            wrong["holm_sequence"] += bool(holm(p_K, alpha).any())
            wrong["sequence_model"] += bool(p_K[0] < alpha)
            ends = range(_A_LOOK, len(model_N) + 1, _A_LOOK)
            wrong["normal_looks"] += any(_above(model_N[:end], alpha) for end in ends)
            wrong["normal_best"] += any(_above(one.score_N, alpha) for one in found)
            bar.advance()
    shares = {name: round(count / replays, 4) for name, count in wrong.items()}
    return {"replays": replays, "looks": _LOOKS, "candidates": _CANDIDATES,
            "requests": _LOOKS * _A_LOOK, **shares}  # fmt: skip


def streams(market: Market, count: int, seed: int) -> dict[str, Any]:
    """Judge a new candidate every day on the day's log, the k-th at its share of alpha."""
    wrong = 0
    with progress_bar("a candidate a day", count) as bar:
        for number in range(count):
            rng = np.random.default_rng((seed, 1, number))
            rows, log = redraw(market, rng, _DAYS * _A_DAY)
            found = gain(market, rows, log, rng)
            days = enumerate(np.split(found.score_N, _DAYS), start=1)
            levels = [(share_of(market.params.alpha, k), day_N) for k, day_N in days]
            wrong += any(p_value(market, Wager(d_N, found.floor)) < level for level, d_N in levels)
            bar.advance()
    return {"streams": count, "days": _DAYS, "requests_a_day": _A_DAY,
            "promoted": round(wrong / count, 4)}  # fmt: skip


def _above(gain_N: Floats, alpha: float) -> bool:
    return normal(gain_N, alpha).lower > 0


def main() -> None:
    """Replay and write results/ope_market.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    market = read_market()
    found = {
        "seed": given.seed,
        "rates": [round(rate, 4) for rate in market.rate_L.tolist()],
        "looks": looks(market, given.replays, given.seed),
        "stream": streams(market, given.streams, given.seed),
    }
    write_result("ope_market", found)


if __name__ == "__main__":
    main()
