"""What each exposure earned: outcomes joined by request and item inside an attribution window."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

POSITIVE = ("click", "buy")
"""Responses that count as reward 1."""


def reward(exposures: ir.Table, outcomes: ir.Table, window_days: float) -> ir.Table:
    """Say for each position of each slate whether it was answered, bought or dismissed.

    An outcome counts if it happened at or after the exposure and at most `window_days` later.  The
    same outcome logged twice counts once, and so does the same exposure.

    Parameters
    ----------
    exposures, outcomes : ir.Table
        As in the contracts; duplicates are allowed.
    window_days : float
        Length of the attribution window in days.

    Returns
    -------
    ir.Table
        request_id, position, user_id, item_id, event_ts, reward (0 or 1 for a click or a purchase),
        clicked, bought, dismissed (0 or 1), value_eur (sum over distinct outcomes).
    """
    shown = _distinct_exposures(exposures)
    done = _distinct_outcomes(outcomes)
    pairs = shown.left_join(done, _same_offer(shown, done) + _in_window(shown, done, window_days))
    key = ["request_id", "position", "user_id", "item_id", "event_ts"]
    answers = pairs.group_by(key).agg(
        reward=_ever(pairs.action.isin(POSITIVE)),
        clicked=_ever(pairs.action == "click"),
        bought=_ever(pairs.action == "buy"),
        dismissed=_ever(pairs.action == "dismiss"),
        value_eur=pairs.value.sum().fill_null(0.0),
    )
    return answers.order_by(["request_id", "position"])


def tally(exposures: ir.Table, outcomes: ir.Table, window_days: float) -> dict[str, int]:
    """Count what `reward` left out.

    Returns
    -------
    dict of str to int
        exposures and outcomes given; duplicate_exposures and duplicate_outcomes collapsed; orphan
        outcomes without exposure; early ones before it; late ones after the window; attributed.
    """
    shown, done = _distinct_exposures(exposures), _distinct_outcomes(outcomes)
    slots = shown.group_by(["request_id", "item_id"]).agg(shown_ts=shown.event_ts.min())
    joined = done.left_join(slots, _same_offer(done, slots))
    found = joined.agg(
        outcomes=joined.count(),
        orphan=joined.shown_ts.isnull().sum(),
        early=(joined.done_ts < joined.shown_ts).sum(),
        late=(joined.done_ts > joined.shown_ts + _days(window_days)).sum(),
    )
    row = {name: int(count or 0) for name, count in found.to_pyarrow().to_pylist()[0].items()}
    given = {"exposures": _rows(exposures), "outcomes": _rows(outcomes)}
    return {
        **given,
        "duplicate_exposures": given["exposures"] - _rows(shown),
        "duplicate_outcomes": given["outcomes"] - row["outcomes"],
        "orphan": row["orphan"],
        "early": row["early"],
        "late": row["late"],
        "attributed": row["outcomes"] - row["orphan"] - row["early"] - row["late"],
    }


def _distinct_exposures(exposures: ir.Table) -> ir.Table:
    key = ["request_id", "position", "user_id", "item_id"]
    return exposures.group_by(key).agg(event_ts=exposures.event_ts.min())


def _distinct_outcomes(outcomes: ir.Table) -> ir.Table:
    """Keep the first of outcomes that say the same; a bought item is bought once."""
    return outcomes.group_by(["request_id", "item_id", "action"]).agg(
        done_ts=outcomes.event_ts.min(), value=outcomes.value.max()
    )


def _same_offer(left: ir.Table, right: ir.Table) -> list[ir.BooleanValue]:
    return [left.request_id == right.request_id, left.item_id == right.item_id]


def _in_window(shown: ir.Table, done: ir.Table, days: float) -> list[ir.BooleanValue]:
    return [done.done_ts >= shown.event_ts, done.done_ts <= shown.event_ts + _days(days)]


def _days(days: float) -> ir.IntervalScalar:
    return ibis.interval(seconds=round(days * 86_400))


def _ever(seen: ir.BooleanColumn) -> ir.IntegerScalar:
    return seen.fill_null(False).cast("int64").max()


def _rows(rows: ir.Table) -> int:
    return int(rows.count().to_pyarrow().as_py())
