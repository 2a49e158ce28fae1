"""Investors as they were known when a slate was served, and items as they are described.

Shapes: R rows of (user, time), V versions, U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.ope.exposures import NOBODY, Ints, numbers

UNKNOWN = 0
"""Class of whom nobody asked: suitability takes it as lowest for users, highest for items."""


@dataclass(frozen=True, slots=True)
class Users:
    """Versions of every investor, by user, then time."""

    user_ids: pa.Array
    user_V: Ints
    since_us_V: Ints
    risk_V: Ints
    capacity_V: Ints

    def as_of(self, user_R: Ints, event_us_R: Ints) -> tuple[Ints, Ints]:
        """Risk and capacity class of the last version at or before each time, else UNKNOWN."""
        moment_T = np.unique(self.since_us_V)
        stride = len(moment_T) + 1
        key_V = self.user_V * stride + np.searchsorted(moment_T, self.since_us_V, side="right")
        key_R = user_R * stride + np.searchsorted(moment_T, event_us_R, side="right")
        last_R = np.searchsorted(key_V, key_R, side="right") - 1
        found_R = (last_R >= 0) & (user_R != NOBODY)
        found_R &= np.take(self.user_V, np.maximum(last_R, 0), mode="clip") == user_R
        last_R = np.where(found_R, last_R, 0)
        return (
            np.where(found_R, self.risk_V[last_R], UNKNOWN),
            np.where(found_R, self.capacity_V[last_R], UNKNOWN),
        )


@dataclass(frozen=True, slots=True)
class Items:
    """What can be shown; sorted by id."""

    item_ids: pa.Array
    risk_I: Ints
    category_I: Ints


def read_users(users: Table) -> Users:
    """Read all versions; a null class is UNKNOWN."""
    rows = users.order_by("user_id", "valid_from").to_pyarrow().combine_chunks()
    user = rows["user_id"].combine_chunks().dictionary_encode()
    if len(rows) == 0:
        nobody = np.array([NOBODY - 1])
        return Users(user.dictionary, nobody, nobody, nobody, nobody)
    return Users(
        user_ids=user.dictionary,
        user_V=numbers(user.indices),
        since_us_V=numbers(rows["valid_from"]),
        risk_V=numbers(pc.fill_null(rows["risk_class"], UNKNOWN)),
        capacity_V=numbers(pc.fill_null(rows["capacity_class"], UNKNOWN)),
    )


def read_items(items: Table) -> Items:
    """Read risk class and category; a null category is one of its own."""
    rows = items.order_by("item_id").to_pyarrow().combine_chunks()
    category = pc.fill_null(rows["category"], "").combine_chunks()
    order = pc.unique(category).sort()
    return Items(
        item_ids=rows["item_id"].combine_chunks(),
        risk_I=numbers(pc.fill_null(rows["risk_class"], UNKNOWN)),
        category_I=numbers(pc.index_in(category, value_set=order)),
    )
