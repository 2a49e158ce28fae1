"""What an order of trials is worth: AUUC and Qini, resamples and permutations of investors.

Over trials sorted by predicted effect, with weights that undo the serving policy,

    gain(f) = f (mean outcome of treated - mean outcome of controls) in the best share f
    AUUC    = area under gain,   Qini = AUUC - ATE / 2, the area above a random order

in purchases per trial (the curve of Gutierrez and Gerardy, PMLR 67, 2017; the idea of Radcliffe,
2007).  Other packages normalise differently, so never compare across.  Gains are read at `POINTS`
equal steps down the order; shares count weights.

Shapes: R trials, U investors, B resamples, P points; 22 stands for arm and (weight, earned).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Bools, Float64s, Ints

POINTS = 200
"""Steps of a curve; fewer trials have a step each."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Outcomes of both arms with weights that undo the policy; order is free."""

    treated_R: Bools
    weight_R: Float64s
    outcome_R: Float64s


def ate(arms: Arms) -> float:
    """Average treatment effect, self-normalised inverse propensity weights (Hajek, 1971).

    >>> arms = Arms(np.array([True, False]), np.array([2.0, 2.0]), np.array([1.0, 0.0]))
    >>> ate(arms)
    1.0
    """
    return float(averages(tally(arms, np.zeros(len(arms.weight_R), np.int64))))


def auuc(arms: Arms, score_R: Float64s) -> float:
    """Area under the uplift curve of arms that are ordered by a score, best first."""
    return float(areas(tally(arms, points(score_R))))


def qini(arms: Arms, score_R: Float64s) -> float:
    """AUUC above that of a random order."""
    return float(qinis(tally(arms, points(score_R))))


def points(score_R: Float64s) -> Ints:
    """Return on which step of the curve each trial lies, 0 for the best; ties by row.

    >>> points(np.array([0.1, 0.3, 0.2]))
    array([2, 0, 1])
    """
    count = len(score_R)
    point_R = np.empty(count, np.int64)
    point_R[np.argsort(-score_R, kind="stable")] = (
        np.arange(count) * min(count, POINTS) // max(count, 1)
    )
    return point_R


def tally(arms: Arms, point_R: Ints) -> Float64s:
    """Add up weights and weighted outcomes of treated and controls on each step: tally_22P."""
    steps = int(point_R.max()) + 1
    cell_R = point_R + steps * ~arms.treated_R
    sums = [
        np.bincount(cell_R, weights=value_R, minlength=2 * steps).reshape(2, steps)
        for value_R in (arms.weight_R, arms.weight_R * arms.outcome_R)
    ]
    return np.stack(sums, axis=1)


def averages(tally_B22P: Float64s) -> Float64s:
    """Average effect in each tally; leading axes are kept."""
    total_B22 = tally_B22P.sum(axis=-1)
    mean_B2 = _means(total_B22[..., 0], total_B22[..., 1])
    return np.asarray(mean_B2[..., 0] - mean_B2[..., 1])


def areas(tally_B22P: Float64s) -> Float64s:
    """AUUC of each tally; an arm that is not there yet counts as a mean of 0."""
    so_far_B22P = np.cumsum(tally_B22P, axis=-1)
    mean_B2P = _means(so_far_B22P[..., 0, :], so_far_B22P[..., 1, :])
    mass_BP = so_far_B22P[..., 0, :].sum(axis=-2)
    share_BP = mass_BP / mass_BP[..., -1:]
    gain_BP = share_BP * (mean_B2P[..., 0, :] - mean_B2P[..., 1, :])
    start_B1 = np.zeros_like(gain_BP[..., :1])
    return np.asarray(
        np.trapezoid(
            np.concatenate([start_B1, gain_BP], axis=-1),
            np.concatenate([start_B1, share_BP], axis=-1),
            axis=-1,
        )
    )


def qinis(tally_B22P: Float64s) -> Float64s:
    """Qini of each tally."""
    return areas(tally_B22P) - averages(tally_B22P) / 2


def _means(mass: Float64s, earned: Float64s) -> Float64s:
    return np.divide(earned, mass, out=np.zeros_like(earned), where=mass > 0)


def resampled(arms: Arms, point_R: Ints, cluster_R: Ints, times_BU: Float64s) -> Float64s:
    """Tally resamples of investors: tally_B22P.

    Parameters
    ----------
    point_R : Ints
        From `points`, held fixed.
    cluster_R : Ints
        Investor of each trial, 0 to U - 1.
    times_BU : Float64s
        How often each resample takes each investor.
    """
    steps = int(point_R.max()) + 1
    cell_R = point_R + 2 * steps * ~arms.treated_R
    earned_R = arms.weight_R * arms.outcome_R
    paid_R = earned_R != 0
    entries = np.concatenate([arms.weight_R, earned_R[paid_R]])
    column = np.concatenate([cell_R, cell_R[paid_R] + steps])
    row = np.concatenate([cluster_R, cluster_R[paid_R]])
    sums = csr_matrix((entries, (row, column)), shape=(times_BU.shape[1], 4 * steps))
    return np.asarray((sums.T @ times_BU.T).T).reshape(-1, 2, 2, steps)


class Shuffles:
    """Permutations that hand the scores of an investor to another, in one piece.

    Trials of an investor resemble each other, and so may their scores: permuted one by one, a
    score that knows nothing but who is asked would look like an order.  Investors with different
    numbers of trials overlap, so pieces are then cut.  The order inside an investor is random.
    """

    def __init__(self, cluster_R: Ints, rng: np.random.Generator) -> None:
        """Cluster: investor of each trial, 0 to U - 1, each with a trial."""
        self._to_R, self._from_R = (
            np.lexsort((rng.random(len(cluster_R)), cluster_R)) for _ in range(2)
        )
        self._size_U = np.bincount(cluster_R)
        self._start_U = np.cumsum(self._size_U) - self._size_U
        self._rng = rng

    def draw(self, value_R: Ints) -> Ints:
        """Return the values, handed round between investors."""
        turn_U = self._rng.permutation(len(self._size_U))
        size_U = self._size_U[turn_U]
        shift_U = self._start_U[turn_U] - (np.cumsum(size_U) - size_U)
        source_R = self._from_R[np.repeat(shift_U, size_U) + np.arange(len(value_R))]
        drawn_R = np.empty_like(value_R)
        drawn_R[self._to_R] = value_R[source_R]
        return drawn_R


def p_value(arms: Arms, point_R: Ints, shuffles: Shuffles, permutations: int) -> float:
    """Chance of a Qini this high if the score has nothing to do with arms and outcomes.

    Null: the scores of investors could as well be those of others.  (1 + at least as high) /
    (1 + permutations), one-sided, never 0.  A score that knows who buys anyway, but no effect, is
    not under this null: its p-values are a little too small (about .07 to .10 of them at .05), and
    the interval is what to read.

    Parameters
    ----------
    point_R : Ints
        From `points`.
    shuffles : Shuffles
        Of the investors of these trials.
    permutations : int
        At least 1.
    """
    least = float(qinis(tally(arms, point_R)))
    found = [
        float(qinis(tally(arms, shuffles.draw(point_R)))) >= least for _ in range(permutations)
    ]
    return (1 + sum(found)) / (1 + permutations)
