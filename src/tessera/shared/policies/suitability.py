"""Nobody is shown what is riskier or dearer than they may hold: one rule for all stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.contracts.errors import BadParams
from tessera.contracts.tables import RISK_CLASSES

UNKNOWN = 0
"""Class of whom nobody asked and of what nobody rated, where an array has no null."""
UNKNOWN_USER = 1
"""What an unknown investor counts as, unless a bank says otherwise: the lowest risk class."""
UNKNOWN_ITEM = len(RISK_CLASSES)
"""What an unknown item counts as, unless a bank says otherwise: the highest risk class."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Which risk class stands for an unknown one."""

    user: int = UNKNOWN_USER
    item: int = UNKNOWN_ITEM

    def __post_init__(self) -> None:
        if not all(1 <= risk <= len(RISK_CLASSES) for risk in (self.user, self.item)):
            message = f"{self}: risk classes are 1 to {len(RISK_CLASSES)}"
            raise BadParams(message)


PRUDENT = Unknown()
"""As long as nobody says otherwise."""


def suitable(
    user_risk: npt.ArrayLike, item_risk: npt.ArrayLike, unknown: Unknown = PRUDENT
) -> npt.NDArray[np.bool_]:
    """Tell which items an investor may be shown; the two broadcast against each other.

    Parameters
    ----------
    user_risk, item_risk : array_like
        Risk classes from 1; None, NaN and `UNKNOWN` or below mean unknown.
    unknown : Unknown
        What an unknown class counts as.
    """
    user = _known_or(user_risk, unknown.user)
    item = _known_or(item_risk, unknown.item)
    return np.asarray(item <= user, dtype=np.bool_)


def _known_or(risk: npt.ArrayLike, unknown: int) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(risk, dtype=np.float64)  # None becomes NaN
    return np.where(values > UNKNOWN, values, unknown)


def affordable(
    capacity: int, unit_eur: npt.ArrayLike, most_eur: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Tell of which items an investor can buy one unit.

    No source says what an item asks of whoever holds it; what is known is what one unit costs, and
    that nobody can buy one that costs more than all they can invest.

    Parameters
    ----------
    capacity : int
        Capacity class from 1; `UNKNOWN` counts as 1.
    unit_eur : array_like
        Price of a unit; NaN, where there is none, asks nothing.
    most_eur : sequence of float
        Where the classes end, from the lowest; one without an end can buy everything.

    >>> affordable(1, [10.0, 40_000.0, np.nan], [30_000, 80_000]).tolist()
    [True, False, True]
    >>> affordable(3, [90_000.0], [30_000, 80_000]).tolist()
    [True]
    """
    price = np.asarray(unit_eur, dtype=np.float64)
    place = max(capacity, 1) - 1
    if place >= len(most_eur):
        return np.ones(price.shape, dtype=np.bool_)
    return ~(price > most_eur[place])


def write_unknown(unknown: Unknown, facts: dict[str, Any], path: Path) -> None:
    """Write what unknown counts as, and what was found of it, as JSON."""
    told = {"unknown_user": unknown.user, "unknown_item": unknown.item, **facts}
    path.write_text(json.dumps(told, indent=2) + "\n")


def read_unknown(path: Path) -> Unknown:
    """Read what `write_unknown` wrote."""
    raw = json.loads(path.read_text())
    return Unknown(raw["unknown_user"], raw["unknown_item"])
