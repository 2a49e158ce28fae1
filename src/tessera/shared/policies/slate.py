"""One stochastic slate policy, so that what is logged, judged and served is the same probability.

Positions are filled from the top.  Given the items placed above,

    P(a) = (1 - epsilon) softmax(score / temperature over the top_k open) + epsilon / open

where *open* are the allowed candidates not placed yet.  A position that finds nothing open stays
empty: chosen -1, propensity 1, probabilities 0.

Epsilon-greedy is the same with top_k = 1: all but epsilon for the best open candidate.  Any other
policy that is a `Step` is drawn, replayed and summed up by the same code.

Shapes: N requests, C candidates, L positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BadParams

Step = Callable[[Bools], Float64s]
"""A policy at one position: from the open candidates NC of each request to their probabilities."""

EMPTY = -1
"""Candidate index of a position that could not be filled."""


@dataclass(frozen=True, slots=True)
class SlatePolicy:
    """Temperature, exploration and breadth of a slate policy."""

    temperature: float = 1.0
    """Scores are divided by it; lower is greedier."""
    epsilon: float = 0.1
    """Share of uniform exploration at every position."""
    top_k: int = 10
    """How many of the best open candidates the softmax ranges over."""

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 <= self.epsilon <= 1 and self.top_k >= 1):
            message = f"{self}: needs temperature > 0, 0 <= epsilon <= 1 and top_k >= 1"
            raise BadParams(message)


def epsilon_greedy(epsilon: float) -> SlatePolicy:
    """Return the policy that shows the best open candidate, but for a share of `epsilon`.

    P(a) = (1 - epsilon) 1[a is best] + epsilon / open; of equals the first column is best.
    """
    return SlatePolicy(temperature=1.0, epsilon=epsilon, top_k=1)


def step_probabilities(scores_NC: Float64s, open_NC: Bools, policy: SlatePolicy) -> Float64s:
    """Probability of each candidate at one position, given which are still open.

    Parameters
    ----------
    scores_NC : array
        Higher is better; finite where open.
    open_NC : array of bool
        Allowed and not placed above.
    policy : SlatePolicy
        Temperature, epsilon and top_k.

    Returns
    -------
    array NC
        Each row sums to 1, or is 0 where nothing is open.

    Raises
    ------
    ValueError
        If the two are of different shapes, or no matrices of numbers.

    Three requests over scores whose exponents are 1, 2, 1: all open, the best taken, none open.

    >>> scores_NC = np.log(np.array([[1.0, 2.0, 1.0]] * 3))
    >>> open_NC = np.array([[True, True, True], [True, False, True], [False, False, False]])
    >>> step_probabilities(scores_NC, open_NC, SlatePolicy(1.0, 0.0, 3)).round(2)
    array([[0.25, 0.5 , 0.25],
           [0.5 , 0.  , 0.5 ],
           [0.  , 0.  , 0.  ]])

    With top_k 1 and epsilon .3 the best open one has .7, and .3 is shared by all that are open; of
    equals the first is best.

    >>> step_probabilities(scores_NC, open_NC, SlatePolicy(1.0, 0.3, 1)).round(2)
    array([[0.1 , 0.8 , 0.1 ],
           [0.85, 0.  , 0.15],
           [0.  , 0.  , 0.  ]])
    """
    arrays.shapes(scores_NC=scores_NC, open_NC=open_NC)
    best_NC = _best(scores_NC, open_NC, policy.top_k)
    logit_NC = np.where(best_NC, scores_NC / policy.temperature, -np.inf)
    top_N1 = logit_NC.max(axis=1, keepdims=True, initial=-np.inf)
    mass_NC = np.exp(logit_NC - np.where(np.isfinite(top_N1), top_N1, 0.0))
    greedy_NC = mass_NC / np.maximum(mass_NC.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return mixed(greedy_NC, open_NC, policy.epsilon)


def mixed(wanted_NC: Float64s, open_NC: Bools, epsilon: float) -> Float64s:
    """Give a share of `epsilon` to all open candidates alike, so that each has support."""
    uniform_NC = open_NC / np.maximum(open_NC.sum(axis=1, keepdims=True), 1)
    mixed_NC: Float64s = (1.0 - epsilon) * wanted_NC + epsilon * uniform_NC
    return mixed_NC


def scored_step(scores_NC: Float64s, policy: SlatePolicy) -> Step:
    """Return `step_probabilities` of these scores as a step."""

    def step(open_NC: Bools) -> Float64s:
        return step_probabilities(scores_NC, open_NC, policy)

    return step


def sample_slates(
    scores_NC: Float64s,
    allowed_NC: Bools,
    policy: SlatePolicy,
    length: int,
    rng: np.random.Generator,
) -> tuple[Ints, Float64s, Float64s]:
    """Draw a slate for every request, position by position from the top.

    Returns
    -------
    chosen_NL : array of int
        Candidate index at each position, `EMPTY` where nothing was left.
    propensity_NL : array
        Probability of the chosen item given the items above.
    probabilities_NLC : array
        The same for every candidate; 0 for those placed above.
    """
    return draw_slates(scored_step(scores_NC, policy), allowed_NC, length, rng)


def sample_slate(
    scores_C: Float64s, policy: SlatePolicy, length: int, rng: np.random.Generator
) -> tuple[Ints, Float64s, Float64s]:
    """Do as `sample_slates` for one request whose candidates are all allowed, several times faster.

    Each position is drawn from the few best and the even share alone; what it says of the
    probabilities comes from `step_probabilities`, all positions at once.

    >>> rng, score_C = np.random.default_rng(0), np.array([0.0, 2.0, 1.0])
    >>> sample_slate(score_C, SlatePolicy(1.0, 0.0, 1), 4, rng)[:2]
    (array([ 1,  2,  0, -1]), array([1., 1., 1., 1.]))
    """
    order = np.argsort(-scores_C, kind="stable").tolist()
    chosen_L = np.full(length, EMPTY, dtype=np.int64)
    open_LC = np.ones((length, len(scores_C)), bool)
    for position in range(min(length, len(scores_C))):
        probability_C = open_LC[position] * (policy.epsilon / len(order))
        best_K = order[: policy.top_k]
        mass_K = np.exp((scores_C[best_K] - scores_C[best_K[0]]) / policy.temperature)
        probability_C[best_K] += (1.0 - policy.epsilon) * mass_K / mass_K.sum()
        cumulative_C = probability_C.cumsum()
        at = int(cumulative_C.searchsorted(rng.random() * cumulative_C[-1], side="right"))
        chosen_L[position] = at
        open_LC[position + 1 :, at] = False
        order.remove(at)
    if not len(scores_C):
        return chosen_L, np.ones(length), np.zeros(open_LC.shape)
    filled_L = chosen_L != EMPTY
    probability_LC = step_probabilities(np.tile(scores_C, (length, 1)), open_LC, policy)
    propensity_L = np.where(filled_L, probability_LC[np.arange(length), chosen_L], 1.0)
    return chosen_L, propensity_L, probability_LC


def draw_slates(
    step: Step, allowed_NC: Bools, length: int, rng: np.random.Generator
) -> tuple[Ints, Float64s, Float64s]:
    """Do as `sample_slates` for any policy."""

    def draw(probability_NC: Float64s, _: int) -> Ints:
        return _draw(probability_NC, rng.random(len(probability_NC)))

    return _fill(step, allowed_NC, length, draw)


def slate_propensities(
    scores_NC: Float64s, allowed_NC: Bools, policy: SlatePolicy, chosen_NL: Ints
) -> tuple[Float64s, Float64s]:
    """Probability that `policy` gives to slates that were chosen by any policy.

    An item that `policy` may not show has probability 0 and closes nothing.

    Returns
    -------
    propensity_NL : array
        P(chosen item | chosen items above); the product over positions is that of the slate.
    probabilities_NLC : array
        The same for every candidate; 0 for those placed above.

    Raises
    ------
    ValueError
        If the arrays are of different shapes, or a slate names no candidate.

    Three slates of two positions; the last is empty below its first item.  Below item 1 (of 1, 2,
    1) the other two share what is left as 1 to 1, below item 0 as 2 to 1.

    >>> scores_NC = np.log(np.array([[1.0, 2.0, 1.0]] * 3))
    >>> chosen_NL = np.array([[1, 0], [0, 1], [2, -1]])
    >>> every_NC = np.ones((3, 3), bool)
    >>> slate_propensities(scores_NC, every_NC, SlatePolicy(1.0, 0.0, 3), chosen_NL)[0].round(2)
    array([[0.5 , 0.5 ],
           [0.25, 0.67],
           [0.25, 1.  ]])
    """
    arrays.shapes(scores_NC=scores_NC, allowed_NC=allowed_NC, chosen_NL=chosen_NL)
    arrays.numbered(scores_NC.shape[1], chosen_NL=chosen_NL)
    return replay_slates(scored_step(scores_NC, policy), allowed_NC, chosen_NL)


def replay_slates(step: Step, allowed_NC: Bools, chosen_NL: Ints) -> tuple[Float64s, Float64s]:
    """Do as `slate_propensities` for any policy."""

    def replay(_: Float64s, position: int) -> Ints:
        return chosen_NL[:, position]

    _, propensity_NL, probabilities_NLC = _fill(step, allowed_NC, chosen_NL.shape[1], replay)
    return propensity_NL, probabilities_NLC


def position_marginals(
    scores_NC: Float64s, allowed_NC: Bools, policy: SlatePolicy, length: int
) -> Float64s:
    """Probability of each candidate at each position, whatever stands above: exact, no sampling.

    Sums over the sets that may stand above (their order does not matter to what is open), so the
    work is the number of subsets of fewer than `length` candidates.

    Returns
    -------
    array NLC
        Each position sums to 1 as long as something is open.
    """
    return step_marginals(scored_step(scores_NC, policy), allowed_NC, length)


def step_marginals(step: Step, allowed_NC: Bools, length: int) -> Float64s:
    """Do as `position_marginals` for any policy."""
    requests, candidates = allowed_NC.shape
    marginal_NLC = np.zeros((requests, length, candidates))
    reached: dict[frozenset[int], Float64s] = {frozenset(): np.ones(requests)}
    for position in range(length):
        following: dict[frozenset[int], Float64s] = {}
        for above, weight_N in reached.items():
            open_NC = allowed_NC.astype(bool, copy=True)
            open_NC[:, sorted(above)] = False
            joint_NC = weight_N[:, None] * step(open_NC)
            marginal_NLC[:, position] += joint_NC
            for next_one in set(range(candidates)) - above:
                key = above | {next_one}
                following[key] = following.get(key, 0.0) + joint_NC[:, next_one]
        reached = following
    return marginal_NLC


def _fill(
    step: Step, allowed_NC: Bools, length: int, choose: Callable[[Float64s, int], Ints]
) -> tuple[Ints, Float64s, Float64s]:
    requests, candidates = allowed_NC.shape
    row_N = np.arange(requests)
    open_NC = allowed_NC.astype(bool, copy=True)
    chosen_NL = np.full((requests, length), EMPTY, dtype=np.int64)
    propensity_NL = np.ones((requests, length))
    probabilities_NLC = np.zeros((requests, length, candidates))
    for position in range(length if candidates else 0):
        probability_NC = step(open_NC)
        chosen_N = choose(probability_NC, position)
        filled_N = chosen_N != EMPTY
        probabilities_NLC[:, position] = probability_NC
        chosen_NL[:, position] = chosen_N
        propensity_NL[:, position] = np.where(filled_N, probability_NC[row_N, chosen_N], 1.0)
        open_NC[row_N[filled_N], chosen_N[filled_N]] = False
    return chosen_NL, propensity_NL, probabilities_NLC


def _best(scores_NC: Float64s, open_NC: Bools, top_k: int) -> Bools:
    """Mark the `top_k` best open candidates; equal scores in column order."""
    if top_k >= scores_NC.shape[1]:
        return open_NC
    order_NC = np.argsort(np.where(open_NC, -scores_NC, np.inf), axis=1, kind="stable")
    best_NC = np.zeros_like(open_NC)
    best_NC[np.arange(len(order_NC))[:, None], order_NC[:, :top_k]] = True
    return best_NC & open_NC


def _draw(probability_NC: Float64s, uniform_N: Float64s) -> Ints:
    """Invert the cumulative distribution; `EMPTY` where every probability is 0."""
    cumulative_NC = np.cumsum(probability_NC, axis=1)
    total_N = cumulative_NC[:, -1]
    # Scaling by the total keeps a draw near 1 from falling behind the last candidate.
    chosen_N = (cumulative_NC <= (uniform_N * total_N)[:, None]).sum(axis=1)
    return np.where(total_N > 0, chosen_N, EMPTY)
