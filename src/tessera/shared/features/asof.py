"""What was known at the moment of an event, and nothing that became known later.

No version as of the event means unknown: it is never filled from a later one.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

_UNTIL = "_until"


def as_of(events: ir.Table, versions: ir.Table, *, by: str, at: str, since: str) -> ir.Table:
    """Join to each event the last version at or before it.

    A version holds until the next one begins, so this is an equality join with a range condition:
    it runs on every engine, also on those without an as-of join.

    Parameters
    ----------
    events : ir.Table
        Rows to enrich; each comes back exactly once.
    versions : ir.Table
        At most one row for each pair of `by` and `since`.
    by : str
        Column of both tables that says whose version it is, such as user_id.
    at : str
        Time of the event.
    since : str
        Time from which a version is known.

    Returns
    -------
    ir.Table
        Events with the other columns of `versions`, null where nothing was known; columns that
        both tables have keep the event's value and get the suffix `_known` for the version's.
    """
    ordered = ibis.window(group_by=versions[by], order_by=versions[since])
    spans = versions.mutate(**{_UNTIL: versions[since].lead().over(ordered)})
    spans = spans.rename({f"_{name}": name for name in (by, since)})
    matches = [
        events[by] == spans[f"_{by}"],
        spans[f"_{since}"] <= events[at],
        spans[_UNTIL].isnull() | (events[at] < spans[_UNTIL]),
    ]
    joined = events.left_join(spans, matches, rname="{name}_known")
    return joined.drop(f"_{by}", f"_{since}", _UNTIL)
