"""The rule by which a mix is chosen on a validation period, for models and baselines alike.

Shapes: M choices, U people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s

MOST_ASKED = 5000
"""People on whom choices are tried, evenly spaced: there are many choices."""


def as_good_as_best(periods: Sequence[Float64s]) -> npt.NDArray[np.bool_]:
    """Tell which choices are at most one standard error below the best, paired by person.

    The rule of Breiman et al. (1984) for the size of a tree: the best of many is best by luck, too.

    Parameters
    ----------
    periods : sequence of array MU
        Value of each choice for each person, of one or several periods with their own people.

    Returns
    -------
    array M of bool
        The best choice is among them.

    Raises
    ------
    ValueError
        If a period has no people, or other choices than the first.
    """
    _check(periods)
    mean_M = np.mean([value_MU.mean(axis=1) for value_MU in periods], axis=0)
    best = int(np.argmax(mean_M))
    square_M = np.sum([_square_error(value_MU, best) for value_MU in periods], axis=0)
    return np.asarray(mean_M >= mean_M[best] - np.sqrt(square_M) / len(periods))


def _check(periods: Sequence[Float64s]) -> None:
    if not periods:
        raise ValueError("periods is empty: a choice needs one to be made on")
    for value_MU in periods:
        arrays.check(value_MU=value_MU)
        if value_MU.size == 0:
            raise ValueError("value_MU is empty: a choice needs people to be tried on")
        if len(value_MU) != len(periods[0]):
            raise ValueError(f"value_MU has {len(periods[0])} choices, then {len(value_MU)}")


def _square_error(value_MU: Float64s, best: int) -> Float64s:
    """Return the squared standard error of each choice's gap to the best, paired by person."""
    return np.asarray((value_MU - value_MU[best]).var(axis=1) / value_MU.shape[1])
