"""Nobody is shown what is riskier than they may hold: one rule to log, judge and serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.contracts.tables import RISK_CLASSES

UNKNOWN = 0
"""Class of whom nobody asked and of what nobody rated, where an array has no null."""
UNKNOWN_USER = 1
"""What an unknown investor counts as: the lowest risk class."""
UNKNOWN_ITEM = len(RISK_CLASSES)
"""What an unknown item counts as: the highest risk class."""


def suitable(user_risk: npt.ArrayLike, item_risk: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which items an investor may be shown; the two broadcast against each other.

    Parameters
    ----------
    user_risk, item_risk : array_like
        Risk classes from 1; None, NaN and `UNKNOWN` or below mean unknown.
    """
    user = _known_or(user_risk, UNKNOWN_USER)
    item = _known_or(item_risk, UNKNOWN_ITEM)
    return np.asarray(item <= user, dtype=np.bool_)


def _known_or(risk: npt.ArrayLike, unknown: int) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(risk, dtype=np.float64)  # None becomes NaN
    return np.where(values > UNKNOWN, values, unknown)
