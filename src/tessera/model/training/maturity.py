"""How mature each item is at the end of what is learnt from, for an item input that weighs by it.

Legend: V items with padding first, F facts (`nn.own_share.MATURITY`), R requests, M positions.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts import mapped
from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split
from tessera.model.sequences.catalogue import Catalogue, microsecond
from tessera.model.sequences.slates import REQUESTS, Slates


def maturity(
    catalogue: Catalogue,
    split: Split,
    first: int,
    slates: Slates | None,
    answered_V: Ints,
    *,
    refit: bool,
) -> Float32s:
    """Return maturity_VF, log(1 + x) of days on sale, exposures and events worth predicting.

    Parameters
    ----------
    catalogue, split
        Of the run.
    first
        Moment of the first event, in microseconds since 1970.
    slates
        May hold later ones; they are not read.
    answered_V
        Events to predict of each item.
    refit
        Whether the validation period is learnt from too.  Where each user has a cut of their own
        there is no one end: days and exposures are 0 then.
    """
    items = len(catalogue.from_V)
    days_V, shown_V = np.zeros(items), np.zeros(items, np.int64)
    if split.protocol == "time":
        end = microsecond(split.cut) + 1 if refit else microsecond(split.validation_from)
        if not split.ordinal:
            days_V = _days(catalogue, first, end)
        if slates is not None:
            shown_V = _shown(slates, end, items)
    found_VF = np.column_stack([days_V, shown_V, answered_V])
    found_VF[0] = 0.0
    return np.log1p(found_VF).astype(np.float32)


def _days(catalogue: Catalogue, first: int, end: int) -> Float64s:
    """Return for how many days each item was on sale, at most since the first event."""
    from_V = np.clip(catalogue.from_V, first, max(first, end))
    return np.asarray((max(first, end) - from_V) / DAY_US)


def _shown(slates: Slates, end: int, items: int) -> Ints:
    """Count how often each item was shown before a moment."""
    shown_V = np.zeros(items, np.int64)
    for part in mapped.parts(len(slates), REQUESTS):
        item_RM = slates.item_RM[part][slates.moment_R[part] < end]
        shown_V += np.bincount(item_RM[item_RM > 0], minlength=items)
    return shown_V
