"""Thompson sampling and a budget of exploration, whose propensities are exact by construction.

Thompson sampling shows what is best in a draw from the posterior.  A belief is independent
Gaussians over the candidates' scores, theta(a) ~ N(mean(a), stddev(a)^2), and every position is a
draw of its own.  With M fixed draws z_m ~ N(0, 1) of each column from a logged seed,

    share(a) = #{m : a = argmax over open of mean + stddev z_m} / M
    P(a)     = (1 - epsilon) share(a) + epsilon / open

and the slate is drawn from P itself, not from one more draw of the posterior.  The propensity that
is logged is therefore the one that served, and mean, stddev and seed give it again bit for bit.
The Monte-Carlo error moves what is served, never the weight of what was served: share(a) lies
within sqrt(s (1 - s) / M) (one standard error) of the probability s that pure Thompson sampling
would have.

    Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933
    Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 3

Shapes: N requests, C candidates, M draws, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BadParams
from tessera.shared.policies.slate import Step, epsilon_greedy, mixed, scored_step


@dataclass(frozen=True, slots=True)
class ThompsonPolicy:
    """How a belief over scores becomes probabilities."""

    draws: int = 256
    """M: more bring the served policy nearer to pure Thompson sampling."""
    epsilon: float = 0.1
    """Share of uniform exploration at every position; above 0, so that every candidate has support:
    one that wins in none of M draws would have none."""
    seed: int = 7
    """Of the draws; logged, so that propensities can be worked out again."""

    def __post_init__(self) -> None:
        if not (self.draws >= 1 and 0 < self.epsilon <= 1 and self.seed >= 0):
            message = f"{self}: needs draws >= 1, 0 < epsilon <= 1 and seed >= 0"
            raise BadParams(message)


@dataclass(frozen=True, slots=True)
class Belief:
    """What is held true of the candidates' scores: independent Gaussians."""

    mean_NC: Float64s
    stddev_NC: Float64s
    """At least 0; finite where a candidate may be shown."""


def thompson_step(belief: Belief, policy: ThompsonPolicy) -> Step:
    """Return Thompson sampling as a step for `tessera.shared.policies.slate`; formula above."""
    requests, candidates = belief.mean_NC.shape
    row_N = np.arange(requests)
    normal_MC = np.random.default_rng(policy.seed).standard_normal((policy.draws, candidates))

    def step(open_NC: Bools) -> Float64s:
        wins_NC = np.zeros((requests, candidates))
        for normal_C in normal_MC:
            drawn_NC = belief.mean_NC + belief.stddev_NC * normal_C
            best_N = np.where(open_NC, drawn_NC, -np.inf).argmax(axis=1)
            wins_NC[row_N, best_N] += 1.0
        share_NC = np.where(open_NC, wins_NC / policy.draws, 0.0)
        return mixed(share_NC, open_NC, policy.epsilon)

    return step


def learnt_score(shown_I: Ints, clicked_I: Ints, spread: float) -> tuple[Float64s, Float64s]:
    """Learn from clicks how far each item lies above its score: posterior of a shift in log-odds.

    Prior N(0, spread^2); one Newton step of the logistic likelihood from the rate r of all items
    together (Laplace approximation as in Chapelle and Li, algorithm 3):

        1 / stddev^2 = 1 / spread^2 + n r (1 - r)        mean = stddev^2 (clicks - n r)

    Parameters
    ----------
    shown_I, clicked_I : array of int
        How often each item was shown, and clicked of these.
    spread : float
        Standard deviation of the prior, in units of log-odds.

    Returns
    -------
    mean_I, stddev_I : array
    """
    rate = float(clicked_I.sum()) / max(float(shown_I.sum()), 1.0)
    precision_I = 1.0 / spread**2 + shown_I * rate * (1.0 - rate)
    mean_I = (clicked_I - shown_I * rate) / precision_I
    return np.asarray(mean_I), np.asarray(1.0 / np.sqrt(precision_I))


def within_budget(step: Step, scores_NC: Float64s, explores_N: npt.NDArray[np.bool_]) -> Step:
    """Explore by `step` where there is budget left, show the best by score for sure elsewhere.

    What explores is decided before anything is drawn, so that propensities stay exact: those of
    `step` where it explores, 1 for the best open candidate where it does not.  The latter give no
    support to anything else: nothing can be judged by them.
    """
    sure = scored_step(scores_NC, epsilon_greedy(0.0))

    def capped(open_NC: Bools) -> Float64s:
        return np.where(explores_N[:, None], step(open_NC), sure(open_NC))

    return capped


def may_explore(user_N: Ints, day_N: Ints, per_day: int) -> Bools:
    """Tell which requests have budget left: the first `per_day` of each investor and day.

    Counts requests, not what chance made of them: who explores depends on no draw, and at most
    `per_day` slates of an investor and day can differ from the best.

    Parameters
    ----------
    user_N, day_N : array of int
        Investor and day of each request, in the order in which they came.
    per_day : int
        Requests of one investor and day that may explore.
    """
    order_N = np.lexsort((day_N, user_N))  # stable: requests of one day stay in order
    user_S, day_S = user_N[order_N], day_N[order_N]
    starts_S = np.ones(len(order_N), dtype=bool)
    starts_S[1:] = (user_S[1:] != user_S[:-1]) | (day_S[1:] != day_S[:-1])
    place_S = np.arange(len(order_N))
    before_S = place_S - np.maximum.accumulate(np.where(starts_S, place_S, 0))
    explores_N = np.empty(len(order_N), dtype=bool)
    explores_N[order_N] = before_S < per_day
    return explores_N
