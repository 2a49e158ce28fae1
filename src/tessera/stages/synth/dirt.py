"""Broken rows as sources really send them, counted, so that the quarantine can be checked.

Rows are added, never changed: the clean ones stay true.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Columns = dict[str, pa.Array]
Index = npt.NDArray[np.intp]

_IMPOSSIBLE = pa.scalar(-2_209_161_600_000_000, pa.timestamp("us", tz="UTC"))
"""1899-12-30, what a spreadsheet makes of an empty date."""


def negative_amount(rows: Columns) -> Columns:
    """Turn the amount below zero."""
    amount = pc.subtract(-1.0, pc.fill_null(rows["amount_eur"], 99.0))
    return _under_new_id({**rows, "amount_eur": amount}, "n")


def conflicting_key(rows: Columns) -> Columns:
    """Repeat an event's id with another amount."""
    return {**rows, "amount_eur": pc.add(1.0, pc.fill_null(rows["amount_eur"], 0.0))}


def impossible_date(rows: Columns) -> Columns:
    """Date it before there were computers."""
    return _under_new_id({**rows, "event_ts": _filled(rows, _IMPOSSIBLE)}, "d")


def missing_user(rows: Columns) -> Columns:
    """Lose the investor."""
    return _under_new_id({**rows, "user_id": _filled(rows, pa.scalar(None, pa.string()))}, "m")


def unknown_action(rows: Columns) -> Columns:
    """Use a word that nobody agreed on."""
    return _under_new_id({**rows, "action": _filled(rows, pa.scalar("purchase"))}, "a")


def unknown_request(rows: Columns) -> Columns:
    """Refer an outcome to a slate that was never shown."""
    return {**rows, "request_id": pc.binary_join_element_wise(rows["request_id"], "lost", "-")}


def negative_value(rows: Columns) -> Columns:
    """Give an orphaned outcome a negative value."""
    lost = unknown_request(rows)
    return {**lost, "value": pc.subtract(-1.0, rows["value"])}


EVENT_FAULTS = (negative_amount, conflicting_key, impossible_date, missing_user, unknown_action)
OUTCOME_FAULTS = (unknown_request, negative_value)


def soil(
    rows: Columns,
    faults: tuple[Callable[[Columns], Columns], ...],
    share: float,
    rng: np.random.Generator,
) -> tuple[Columns, dict[str, int]]:
    """Add a share of broken copies behind the rows.

    Returns
    -------
    rows : dict
        The good rows, then the broken ones.
    counts : dict
        Fault -> rows added.
    """
    size = len(next(iter(rows.values())))
    parts, counts = [rows], {}
    for fault in faults:
        count = int(rng.binomial(size, share / len(faults)))
        # Without replacement: a key is repeated once at most.
        index = pa.array(np.sort(rng.choice(size, count, replace=False)))
        parts.append(fault({name: column.take(index) for name, column in rows.items()}))
        counts[fault.__name__] = count
    joined = {name: pa.concat_arrays([part[name] for part in parts]) for name in rows}
    return joined, counts


def _filled(rows: Columns, value: pa.Scalar) -> pa.Array:
    return pa.repeat(value, len(rows["event_id"]))


def _under_new_id(rows: Columns, mark: str) -> Columns:
    """Give a copy its own id, which still sorts behind its original."""
    return {**rows, "event_id": pc.binary_join_element_wise(rows["event_id"], mark, "")}
