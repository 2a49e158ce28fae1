"""Off-policy estimators: what a new policy would have earned on yesterday's exposures.

Every estimator takes one log and returns one value per unit, whose mean is the policy value and
whose spread gives its interval.  `Log` is for single items (unit: exposure); `SlateLog` for slates
filled from the top (unit: request), whose value is the sum of the rewards of their positions.
Doubly robust for single items: arXiv 1103.4601; for slates: arXiv 2202.01562.
Logs of single items are long, and a new array costs more than what is computed into it: their
estimators work in place on arrays of their own.

Shapes: N units, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s


@dataclass(frozen=True, slots=True)
class Log:
    """Logged exposures, seen by the policy that served and by the one that would."""

    reward_N: Float64s
    served_N: Float64s
    """Probability with which the serving policy showed this item."""
    wanted_N: Float64s
    """Probability with which the new policy would have shown it."""
    guess_N: Float64s
    """Reward model at the item shown, q(x, a)."""
    baseline_N: Float64s
    """Reward model averaged over what the new policy would have shown, E_pi q(x, .)."""

    def __post_init__(self) -> None:
        """Refuse other shapes than the names say, and what is no number.

        Raises
        ------
        ValueError
            Naming the first array that is wrong.
        """
        names = ("reward_N", "served_N", "wanted_N", "guess_N", "baseline_N")
        arrays.check(**{name: getattr(self, name) for name in names})
        if len(self.served_N) and self.served_N.min() <= 0:
            raise ValueError("served_N must be positive: what was shown had a chance to be")

    @property
    def weight_N(self) -> Float64s:
        """How much more often the new policy would have shown each item, w = pi(a|x) / p.

        A new array each time.
        """
        return self.wanted_N / self.served_N


def complement(log: Log) -> Log:
    """Return the log of 1 - r, whose value is 1 - V: for bounds above rare rewards in [0, 1]."""
    return Log(1 - log.reward_N, log.served_N, log.wanted_N, 1 - log.guess_N, 1 - log.baseline_N)


def ips(log: Log) -> Float64s:
    """Inverse propensity score, w r: unbiased, wide (Horvitz and Thompson, 1952)."""
    value_N = log.weight_N
    value_N *= log.reward_N
    return value_N


def clipped_ips(log: Log, ceiling: float) -> Float64s:
    """IPS with weights cut at `ceiling`, min(w, c) r: low for non-negative rewards.

    Bottou et al., arXiv 1209.2355, section 4.4.
    """
    value_N = log.weight_N
    np.minimum(value_N, ceiling, out=value_N)
    value_N *= log.reward_N
    return value_N


def snips(log: Log) -> Float64s:
    """Self-normalised IPS, w r / mean w: a little bias, far less spread.

    Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", 2015.

    >>> log = Log(*(np.array(x) for x in ([1., 0.], [.5, .5], [1., 0.], [0., 0.], [0., 0.])))
    >>> snips(log).mean()
    np.float64(1.0)
    """
    return np.asarray(_shares(log) * log.reward_N)


def snips_influence(log: Log) -> Float64s:
    """Linearisation of `snips`: same mean, and the spread of its values is its standard error."""
    return _linearised(_shares(log), log.reward_N.copy())


def dm(log: Log) -> Float64s:
    """Direct method, E_pi q: as good as its reward model; its interval says nothing."""
    return log.baseline_N


def dr(log: Log) -> Float64s:
    """Doubly robust, E_pi q + w (r - q): right if either is right (arXiv 1103.4601)."""
    return _corrected(log, log.weight_N)


def sndr(log: Log) -> Float64s:
    """Self-normalised doubly robust, E_pi q + w (r - q) / mean w (arXiv 1604.00923)."""
    return _corrected(log, _shares(log))


def sndr_influence(log: Log) -> Float64s:
    """Linearisation of `sndr`: same mean, and the spread of its values is its standard error."""
    value_N = _linearised(_shares(log), log.reward_N - log.guess_N)
    value_N += log.baseline_N
    return value_N


def switch_dr(log: Log, ceiling: float) -> Float64s:
    """Correct by IPS only where the weight stays under `ceiling`, E_pi q + w 1{w <= tau} (r - q).

    Wang, Agarwal, Dudik, arXiv 1612.01205.
    """
    weight_N = log.weight_N
    weight_N *= weight_N <= ceiling
    return _corrected(log, weight_N)


def dros(log: Log, shrinkage: float) -> Float64s:
    """Shrink the weights, E_pi q + w' (r - q) with w' = lambda w / (w^2 + lambda).

    Optimistic shrinkage of Su et al., arXiv 1907.09623.
    """
    weight_N = log.weight_N
    above_N = weight_N * weight_N
    above_N += shrinkage
    weight_N *= shrinkage
    weight_N /= above_N
    return _corrected(log, weight_N)


def _shares(log: Log) -> Float64s:
    """Weights with mean 1; all 0 where nothing that is wanted was ever shown."""
    weight_N = log.weight_N
    weight_N /= weight_N.mean() or 1.0
    return weight_N


def _corrected(log: Log, weight_N: Float64s) -> Float64s:
    """Return E_pi q + w (r - q); the weights are used up."""
    residual_N = log.reward_N - log.guess_N
    residual_N *= weight_N
    residual_N += log.baseline_N
    return residual_N


def _linearised(share_N: Float64s, earned_N: Float64s) -> Float64s:
    """Return w (y - v) + v with v the mean of w y; both arrays are used up."""
    earned_N *= share_N
    value = float(earned_N.mean())
    share_N *= value
    earned_N -= share_N
    earned_N += value
    return earned_N


@dataclass(frozen=True, slots=True)
class SlateLog:
    """Logged slates, seen by one policy that fills positions from the top."""

    reward_NL: Float64s
    """Reward of the item shown at each position; 0 where nothing was shown."""
    weight_NL: Float64s
    """w_1:k, the product of pi(a_j | items above) / p_j over positions 1 to k."""
    guess_NL: Float64s
    """q_k, reward model at the item shown."""
    baseline_NL: Float64s
    """Sum over a of pi(a | items above) q_k(a)."""

    def __post_init__(self) -> None:
        """Refuse other shapes than the names say, and what is no number.

        Raises
        ------
        ValueError
            Naming the first array that is wrong.
        """
        names = ("reward_NL", "weight_NL", "guess_NL", "baseline_NL")
        arrays.check(**{name: getattr(self, name) for name in names})

    @property
    def above_NL(self) -> Float64s:
        """w_1:k-1, the weight of what was shown above each position."""
        return np.concatenate([np.ones_like(self.weight_NL[:, :1]), self.weight_NL[:, :-1]], axis=1)


def iips(reward_NL: Float64s, served_NL: Float64s, wanted_NL: Float64s) -> Float64s:
    """Item-position IPS, the sum of w_k r_k over positions (Li et al., arXiv 1804.10488).

    Unbiased when a reward depends on its own item and position alone.

    Parameters
    ----------
    reward_NL : array
        Reward of the item shown at each position; 0 where nothing was shown.
    served_NL, wanted_NL : array
        P(item shown stands at this position) under the serving and the new policy: whatever stands
        above, unlike the propensities of `SlateLog`.  Positive where served.

    Raises
    ------
    ValueError
        Naming the first array that is wrong.
    """
    arrays.check(reward_NL=reward_NL, served_NL=served_NL, wanted_NL=wanted_NL)
    if served_NL.min(initial=1.0) <= 0:
        raise ValueError("served_NL must be positive: what was shown had a chance to be")
    return np.asarray((wanted_NL / served_NL * reward_NL).sum(axis=1))


def rips(log: SlateLog) -> Float64s:
    """Reward interaction IPS, the sum of w_1:k r_k over positions (arXiv 2007.12986).

    Unbiased when a reward depends on its own item and on those above, never on those below.
    """
    return np.asarray((log.weight_NL * log.reward_NL).sum(axis=1))


def snrips(log: SlateLog) -> Float64s:
    """RIPS, self-normalised at each position: w_1:k / mean w_1:k instead of w_1:k."""
    return np.asarray((_slate_shares(log) * log.reward_NL).sum(axis=1))


def snrips_influence(log: SlateLog) -> Float64s:
    """Linearisation of `snrips`: same mean, and the spread of its values is its standard error."""
    share_NL = _slate_shares(log)
    value_L = (share_NL * log.reward_NL).mean(axis=0)
    return np.asarray((share_NL * (log.reward_NL - value_L) + value_L).sum(axis=1))


def _slate_shares(log: SlateLog) -> Float64s:
    """Weights with mean 1 at each position; all 0 where nothing that is wanted was ever shown."""
    mean_L = log.weight_NL.mean(axis=0)
    return np.asarray(log.weight_NL / np.where(mean_L > 0, mean_L, 1.0))


def cascade_dr(log: SlateLog) -> Float64s:
    """Doubly robust for cascades (arXiv 2202.01562, eq. 8 with immediate rewards).

    Sum over k of w_1:k (r_k - q_k(a_k)) + w_1:k-1 sum_a pi(a | above) q_k(a): unbiased whatever q.
    """
    correction_NL = log.weight_NL * (log.reward_NL - log.guess_NL)
    return np.asarray((correction_NL + log.above_NL * log.baseline_NL).sum(axis=1))


def cascade_switch_dr(log: SlateLog, ceiling: float) -> Float64s:
    """`cascade_dr` that corrects only where w_1:k stays under `ceiling`."""
    trusted_NL = log.weight_NL <= ceiling
    correction_NL = trusted_NL * log.weight_NL * (log.reward_NL - log.guess_NL)
    return np.asarray((correction_NL + log.above_NL * log.baseline_NL).sum(axis=1))


def cascade_dm(log: SlateLog) -> Float64s:
    """Direct method on the slates that were served, weighted by what stands above."""
    return np.asarray((log.above_NL * log.baseline_NL).sum(axis=1))


class SlateEstimator(Protocol):
    """From a log to one value a request, whose mean is the value of the policy."""

    def __call__(self, log: SlateLog, ceiling: float, /) -> Float64s:
        """Weights above the ceiling are not trusted by estimators that have one."""


SLATE_ESTIMATORS: dict[str, SlateEstimator] = {
    "rips": lambda log, _: rips(log),
    "snrips": lambda log, _: snrips_influence(log),
    "dm": lambda log, _: cascade_dm(log),
    "dr": lambda log, _: cascade_dr(log),
    "switch_dr": cascade_switch_dr,
}
"""All that a verdict shows beside its bounds, by their names there."""


def effective_size(weight_N: Float64s) -> float:
    """Effective sample size, (sum w)^2 / sum w^2; 0 if every weight is 0."""
    arrays.check(weight_N=weight_N)
    squares = float(weight_N @ weight_N)
    return float(weight_N.sum()) ** 2 / squares if squares > 0 else 0.0
