"""Nobody is shown what is riskier than they may hold: one rule to log, judge and serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

UNKNOWN_USER = 1
"""Risk class of an investor that nobody has asked: the lowest."""
UNKNOWN_ITEM = 4
"""Risk class of an item that nobody has rated: the highest."""


def suitable(user_risk: npt.ArrayLike, item_risk: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which items an investor may be shown; the two broadcast against each other.

    Parameters
    ----------
    user_risk, item_risk : array_like
        Risk classes 1 to 4; None, NaN or 0 and below mean unknown.
    """
    user = _known_or(user_risk, UNKNOWN_USER)
    item = _known_or(item_risk, UNKNOWN_ITEM)
    return np.asarray(item <= user, dtype=np.bool_)


def _known_or(risk: npt.ArrayLike, unknown: int) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(risk, dtype=np.float64)  # None becomes NaN
    return np.where(values >= 1, values, unknown)
