"""Both policies replayed on the served log: what each wants, and its weights.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.offpolicy.estimators import SlateLog
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.shared.policies.slate import SlatePolicy, slate_propensities, step_probabilities

Ahead = Callable[[Ints, Bools], Float64s]
"""What a policy wants at the next position: from numbers of requests R and the candidates that are
open there RC to probabilities RC."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What one policy would have done where the log stands."""

    wanted_NLC: Float64s
    """P(candidate | items above) of this policy."""
    weight_NL: Float64s
    """w_1:k of the item shown."""
    weight_NLC: Float64s
    """w_1:k had this candidate been shown; 0 where the log could not show it."""
    ahead: Ahead | None = None
    """The policy under slates that were not served; None where only the log knows it."""

    @property
    def above_NL(self) -> Float64s:
        """w_1:k-1."""
        return np.concatenate([np.ones_like(self.weight_NL[:, :1]), self.weight_NL[:, :-1]], axis=1)

    def wrote(self, log: Requests) -> Bools:
        """Tell of each position NL whether this policy served it and all above it.

        Known before the item is drawn, as it must be for whoever chooses by it.
        """
        return same_until(self.wanted_NLC, log.served_NLC, 0.0)


def fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 of arrays, so that a verdict names what it was made from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def logging_policy(log: Requests) -> Replay:
    """Return the policy that served: every weight is exactly 1."""
    return Replay(log.served_NLC, np.ones(log.chosen_NL.shape), np.ones(log.served_NLC.shape))


def scored_replay(
    log: Requests, score_NC: Float64s, allowed_NC: Bools, slate: SlatePolicy
) -> Replay:
    """Weigh the served slates by a slate policy over these scores."""

    def ahead(row_R: Ints, open_RC: Bools) -> Float64s:
        return step_probabilities(score_NC[row_R], open_RC, slate)

    wanted_NLC = slate_propensities(score_NC, allowed_NC, slate, log.chosen_NL)[1]
    return replay(log, wanted_NLC, ahead)


def replay(log: Requests, wanted_NLC: Float64s, ahead: Ahead | None = None) -> Replay:
    """Weigh the served slates by a policy that wants `wanted`.

    Raises
    ------
    ValueError
        If `wanted_NLC` is of another shape than what was served.

    Two candidates served with (.5, .5), then the other one; wanted with (.8, .2).  The last slate
    ends after its first item, and what is not there weighs nothing.

    >>> import pyarrow as pa
    >>> chosen_NL, zero_N = np.array([[0, 1], [1, 0], [1, NOBODY]]), np.zeros(3, int)
    >>> rest_NC = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    >>> served_NLC = np.stack([np.full((3, 2), 0.5), rest_NC], axis=1)
    >>> wanted_NLC = np.stack([np.tile([0.8, 0.2], (3, 1)), rest_NC], axis=1)
    >>> log = Requests(
    ...     pa.nulls(3), np.arange(3), zero_N, pa.array(["u"]), zero_N, zero_N,
    ...     np.tile([0, 1], (3, 1)), chosen_NL, served_NLC, np.ones((3, 2)),
    ...     np.zeros((3, 2)), np.zeros((3, 2)),
    ... )
    >>> found = replay(log, wanted_NLC)
    >>> found.weight_NL.round(2)  # .8 / .5, then times 1
    array([[1.6, 1.6],
           [0.4, 0.4],
           [0.4, 0.4]])
    >>> found.weight_NLC[:, 0].round(2)  # had the other one been shown
    array([[1.6, 0.4],
           [1.6, 0.4],
           [1.6, 0.4]])
    >>> mean_one(log, found).round(2)  # with both first items equally likely: mean 1
    array([1.6, 0.4, 0.4])
    """
    arrays.shapes(served_NLC=log.served_NLC, wanted_NLC=wanted_NLC, chosen_NL=log.chosen_NL)
    ratio_NLC = ratio(wanted_NLC, log.served_NLC)
    step_NL = np.where(log.chosen_NL == NOBODY, 1.0, shown(ratio_NLC, log))
    weight_NL: Float64s = np.cumprod(step_NL, axis=1, dtype=np.float64)
    above_NL = np.concatenate([np.ones_like(step_NL[:, :1]), weight_NL[:, :-1]], axis=1)
    return Replay(wanted_NLC, weight_NL, above_NL[:, :, None] * ratio_NLC, ahead)


def ratio(wanted: Float64s, served: Float64s) -> Float64s:
    """Divide what a policy wants by what the log serves; 0 where the log could not show it."""
    return np.divide(wanted, served, out=np.zeros_like(wanted), where=served > 0)


def same_until(wanted_NLC: Float64s, served_NLC: Float64s, gap: float) -> Bools:
    """Tell of each position NL whether it and all above it are served as wanted, but for a gap.

    The gap is half of the summed differences: no set of items is shown more often by more than it.
    Many small differences can be a large one.

    >>> served_NLC = np.array([[[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]])
    >>> same_until(np.array([[[0.5, 0.5], [0.1, 0.9], [0.5, 0.5]]]), served_NLC, 0.0)
    array([[ True, False, False]])
    """
    gap_NL = np.abs(wanted_NLC - served_NLC).sum(axis=2) / 2
    return np.asarray(np.logical_and.accumulate(gap_NL <= gap, axis=1))


def shown(value_NLC: Float64s, log: Requests) -> Float64s:
    """Take the value of the item shown; 0 where the position is empty."""
    at_NL1 = np.maximum(log.chosen_NL, 0)[:, :, None]
    value_NL = np.take_along_axis(value_NLC, at_NL1, axis=2)[:, :, 0]
    return np.where(log.chosen_NL == NOBODY, 0.0, value_NL)


def slate_log(log: Requests, policy: Replay, reward_NL: Float64s, guess_NLC: Float64s) -> SlateLog:
    """Gather what the slate estimators take; `guess` is the reward model of every candidate."""
    return SlateLog(
        reward_NL=reward_NL,
        weight_NL=policy.weight_NL,
        guess_NL=shown(guess_NLC, log),
        baseline_NL=(policy.wanted_NLC * guess_NLC).sum(axis=2),
    )


def unsupported(log: Requests, policy: Replay) -> Float64s:
    """Probability that the policy shows what the log never could, per request (at most L)."""
    gap_NLC: Bools = (log.served_NLC <= 0) & (policy.wanted_NLC > 0)
    return np.asarray((policy.above_NL[:, :, None] * policy.wanted_NLC * gap_NLC).sum(axis=(1, 2)))


def mass_beyond(policies: Iterable[Replay], ceiling: float) -> float:
    """How many items of a request the policies would show with a weight above the ceiling."""
    found = 0.0
    for policy in policies:
        heavy_NLC = policy.wanted_NLC * (policy.weight_NLC > ceiling)
        found += float((policy.above_NL[:, :, None] * heavy_NLC).sum()) / len(heavy_NLC)
    return found


def mean_one(log: Requests, policy: Replay) -> Float64s:
    """Request weights w_1:L with mean 1 if propensities are right, also where slates end early."""
    mass_NL = policy.wanted_NLC.sum(axis=2)
    step_NL = policy.weight_NL - policy.above_NL * mass_NL
    return np.asarray(1.0 + np.where(log.chosen_NL == NOBODY, 0.0, step_NL).sum(axis=1))
