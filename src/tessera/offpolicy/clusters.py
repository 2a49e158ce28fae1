"""Large catalogues: weigh clusters of items where weights of single items have no overlap.

Items that share a prefix of their semantic ID are the natural clusters; a longer prefix is less
bias and more spread.  With every item a cluster of its own, `mips` is IPS and `offcem` is DR.

Shapes: N units, L positions, C candidates, I items, R rows of a table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.estimators import Log


@dataclass(frozen=True, slots=True)
class ClusterLog:
    """Logged exposures with every candidate, and the cluster that each belongs to."""

    reward_N: Float64s
    chosen_N: Ints
    """Column of the item shown."""
    served_NC: Float64s
    """Probability with which the serving policy shows each candidate."""
    wanted_NC: Float64s
    """Probability with which the new policy would show it."""
    guess_NC: Float64s
    """Reward model of every candidate, q(x, a)."""
    cluster_NC: Ints
    """Cluster of every candidate."""

    def __post_init__(self) -> None:
        """Refuse other shapes than the names say, and what is no number or no candidate.

        Raises
        ------
        ValueError
            Naming the first array that is wrong.
        """
        arrays.check(**{field.name: getattr(self, field.name) for field in fields(self)})
        arrays.whole(chosen_N=self.chosen_N, cluster_NC=self.cluster_NC)
        candidates = self.cluster_NC.shape[1]
        least, most = self.chosen_N.min(initial=0), self.chosen_N.max(initial=-1)
        if least < 0 or most >= candidates:
            raise ValueError(f"chosen_N names a column beyond the {candidates} candidates")

    @property
    def weight_N(self) -> Float64s:
        """Weight of the cluster shown, w(x, c) = sum_{a in c} pi(a|x) / sum_{a in c} p(a|x)."""
        mine_NC = self.cluster_NC == _at(self.cluster_NC, self.chosen_N)[:, None]
        wanted_N = np.where(mine_NC, self.wanted_NC, 0.0).sum(axis=1)
        return np.asarray(wanted_N / np.where(mine_NC, self.served_NC, 0.0).sum(axis=1))


def mips(log: ClusterLog) -> Float64s:
    """Marginalised IPS, w(x, c) r: unbiased if an item acts only through its cluster.

    Saito and Joachims, arXiv 2202.06317, eq. 5 with a cluster as the action embedding.
    """
    return np.asarray(log.weight_N * log.reward_N)


def offcem(log: ClusterLog) -> Float64s:
    """Conjunct effect model, E_pi q + w(x, c) (r - q).

    Unbiased if q has the differences within each cluster right, whatever its level (Saito, Ren,
    Joachims, arXiv 2305.08062).
    """
    baseline_N = (log.wanted_NC * log.guess_NC).sum(axis=1)
    return np.asarray(baseline_N + log.weight_N * (log.reward_N - _at(log.guess_NC, log.chosen_N)))


def single(log: ClusterLog) -> Log:
    """Return what the estimators of single items see: what was shown, and the mean of q."""
    place_N = _places(log.chosen_N, log.served_NC.shape)
    return Log(
        log.reward_N,
        log.served_NC.ravel().take(place_N),
        log.wanted_NC.ravel().take(place_N),
        log.guess_NC.ravel().take(place_N),
        np.asarray(np.einsum("nc,nc->n", log.wanted_NC, log.guess_NC)),
    )


def _at(value_NC: npt.NDArray[Any], chosen_N: Ints) -> npt.NDArray[Any]:
    return np.asarray(value_NC.ravel().take(_places(chosen_N, value_NC.shape)))


def _places(chosen_N: Ints, shape: tuple[int, ...]) -> Ints:
    """Where the items shown stand in a flat array; twice as fast to take from as by two indices."""
    return np.asarray(np.ravel_multi_index((np.arange(len(chosen_N)), chosen_N), shape))
