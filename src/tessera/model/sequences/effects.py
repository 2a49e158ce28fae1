"""Effects of being shown on requests after the cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table
from numpy.typing import NDArray

from tessera.contracts.arrays import Float32s, Ints
from tessera.model.sequences.catalogue import rows_of

NO_EFFECTS = (
    "a model has an uplift_weight, but no effects after the cut are known: "
    "set uplift.score_later to true; if it is, uplift found too few exposures"
)


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of being shown on requests after the cut."""

    request_ids: pa.Array
    """Of each effect."""
    item_ids: pa.Array
    standard_X: NDArray[np.float64]
    """Effect less the mean before the cut, in units of the spread before the cut."""


def read_effects(cate: Table, cate_later: Table) -> Effects:
    """Read the effects after the cut on the scale of those before it; all 0 if those are equal."""
    past = cate.select("effect").to_pyarrow()["effect"].to_numpy()
    rows = cate_later.select("request_id", "item_id", "effect").to_pyarrow()
    mean, spread = (past.mean(), past.std()) if len(past) else (0.0, 0.0)
    far_X = rows["effect"].to_numpy() - mean
    return Effects(
        rows["request_id"].combine_chunks(),
        rows["item_id"].combine_chunks(),
        far_X / spread if spread > 0 else np.zeros_like(far_X),
    )


def effects_of(
    effects: Effects, request_ids: pa.Array, first_R1: Ints, item_ids: pa.Array
) -> Float32s:
    """Return effect_C of each candidate, 0 (an average effect) where none is known.

    Parameters
    ----------
    request_ids
        One for each request, distinct.
    first_R1
        Candidates of request r are `first_R1[r] : first_R1[r + 1]`.
    item_ids
        One for each candidate.
    """
    known = pc.unique(effects.item_ids)
    request_X, item_X = rows_of(effects.request_ids, request_ids), rows_of(effects.item_ids, known)
    key_X = np.where(request_X >= 0, request_X * len(known) + item_X, -1)
    order_X = np.argsort(key_X, kind="stable")
    item_C = rows_of(item_ids, known)
    request_C = np.repeat(np.arange(len(request_ids)), np.diff(first_R1))
    key_C = request_C * len(known) + item_C
    place_C = np.searchsorted(key_X[order_X], key_C)
    found_C = np.append(order_X, -1)[place_C]
    is_known_C = (item_C >= 0) & (np.append(key_X, -1)[found_C] == key_C)
    return np.where(is_known_C, np.append(effects.standard_X, 0.0)[found_C], 0.0).astype(np.float32)
