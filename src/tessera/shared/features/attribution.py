"""What each exposure earned: outcomes joined by request and item inside an attribution window."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

POSITIVE = ("click", "buy")
"""Responses that count as reward 1."""


def reward(exposures: ir.Table, outcomes: ir.Table, window_days: float) -> ir.Table:
    """Say for each position of each slate whether it was answered, bought or dismissed.

    An outcome counts if it happened at or after the exposure and at most `window_days` later.  The
    same outcome logged twice inside the window counts once, and so does the same exposure; a copy
    outside it hides none inside.

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
    done = outcomes.select("request_id", "item_id", "action", "value", done_ts=outcomes.event_ts)
    pairs = shown.left_join(done, _same_offer(shown, done) + _in_window(shown, done, window_days))
    key = ["request_id", "position", "user_id", "item_id", "event_ts"]
    once = pairs.group_by([*key, "action"]).agg(value=pairs.value.max())
    answers = once.group_by(key).agg(
        reward=_ever(once.action.isin(POSITIVE)),
        clicked=_ever(once.action == "click"),
        bought=_ever(once.action == "buy"),
        dismissed=_ever(once.action == "dismiss"),
        value_eur=once.value.sum().fill_null(0.0),
    )
    return answers.order_by(["request_id", "position"])


def tally(exposures: ir.Table, outcomes: ir.Table, window_days: float) -> dict[str, int]:
    """Count what `reward` left out.

    Returns
    -------
    dict of str to int
        exposures and outcomes given; duplicate_exposures and duplicate_outcomes collapsed; orphan
        outcomes of unknown requests; not_shown, of items that were not on their slate; early ones
        before the exposure; late ones after the window; attributed.
    """
    shown = _distinct_exposures(exposures)
    done = _placed(outcomes, shown, window_days)
    lost = ~done.inside & done.shown_ts.notnull()
    found = done.agg(
        outcomes=done.count(),
        orphan=(~done.known).sum(),
        not_shown=(done.known & done.shown_ts.isnull()).sum(),
        early=(lost & (done.done_ts < done.shown_ts)).sum(),
        late=(lost & (done.done_ts >= done.shown_ts)).sum(),
        attributed=done.inside.sum(),
    )
    row = {name: int(count or 0) for name, count in found.to_pyarrow().to_pylist()[0].items()}
    given = {"exposures": _rows(exposures), "outcomes": _rows(outcomes)}
    return {
        **given,
        "duplicate_exposures": given["exposures"] - _rows(shown),
        "duplicate_outcomes": given["outcomes"] - row["outcomes"],
        **{name: row[name] for name in ("orphan", "not_shown", "early", "late", "attributed")},
    }


def _distinct_exposures(exposures: ir.Table) -> ir.Table:
    key = ["request_id", "position", "user_id", "item_id"]
    return exposures.group_by(key).agg(event_ts=exposures.event_ts.min())


def _placed(outcomes: ir.Table, shown: ir.Table, days: float) -> ir.Table:
    """Say of outcomes, taken once each, what they belong to; a bought item is bought once.

    Returns
    -------
    ir.Table
        known (was the request logged), shown_ts (null if the item was not shown), done_ts (of the
        first copy), inside (is any copy inside the window).
    """
    slots = shown.group_by(["request_id", "item_id"]).agg(shown_ts=shown.event_ts.min())
    asked = shown.select("request_id").distinct().mutate(asked=True)
    joined = outcomes.left_join(slots, _same_offer(outcomes, slots), rname="slot_{name}")
    joined = joined.left_join(asked, "request_id", rname="asked_{name}")
    inside = joined.event_ts.between(joined.shown_ts, joined.shown_ts + _days(days))
    return joined.group_by(["request_id", "item_id", "action"]).agg(
        known=joined.asked.notnull().any(),
        shown_ts=joined.shown_ts.min(),
        done_ts=joined.event_ts.min(),
        inside=inside.fill_null(False).any(),
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
