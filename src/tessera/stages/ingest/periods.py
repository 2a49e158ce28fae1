"""Where train, validation and test begin and end, for the events that were found."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import ibis.expr.types as ir

from tessera.contracts.cut import Cut, parse_cut
from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.split import Split, test, usual_validation, validation
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.source import at_quantile, conventions

_LOG = logging.getLogger(__name__)
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What this run was asked for."""

    cut: Cut | None = None
    today: datetime | None = None
    """Day on which it was asked; None where nobody looked at a clock."""
    middle: datetime | None = None
    """When half of what the service logged had come; None where nothing of it is read."""
    learnt_until: datetime | None = None
    """Cut of the published model, which may be judged on nothing before it; of a served log."""


def read_asked(request: Path) -> Asked:
    """Read the request of a run.

    Raises
    ------
    BadInput
        If it is none.
    """
    try:
        raw = json.loads(request.read_text())
        cut, today = raw.get("cut"), raw.get("today")
        log = raw.get("served") or {}
        middle, learnt = log.get("middle"), log.get("learnt_until")
        return Asked(
            parse_cut(cut) if cut else None,
            parse_cut(today).moment if today else None,
            parse_cut(middle).moment if middle else None,
            parse_cut(learnt).moment if learnt else None,
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(
            f'{request.name} should hold {{"cut": null}} or an ISO time: write it again ({error})'
        ) from error


def plan(
    events: ir.Table, params: IngestParams, request: Asked, own: ir.Table | None = None
) -> Split:
    """Place the periods.

    Parameters
    ----------
    events : ir.Table
        Good events.
    params : IngestParams
        Lengths of the periods; null = the source's convention.
    request : Asked
        Its cut, if there is one, wins over the params; `... or earlier` gives way to them where the
        log ends before it.
    own : ir.Table, optional
        Those that the source tells of itself, where a served log stands behind it: the usual cut
        follows from their days alone, and the past begins with them, so that no row of the log
        moves either.

    Raises
    ------
    BadParams
        If the cut leaves no event on one side, or none to test on.
    """
    own = events if own is None or not _some(own) else own
    first, last = _span(own)[0], _span(events)[1]
    source = conventions(params.base)
    if params.protocol == "leave_last_out" or not source.timed:
        return Split(last, last, last, "leave_last_out", ordinal=not source.timed)
    cut = _cut(events, own, params, request, last)
    if not first <= cut < last:
        raise BadParams(
            f"cut {cut.isoformat()} leaves one side empty: choose one from {first.isoformat()} "
            f"to before {last.isoformat()}"
        )
    if params.validation_days:
        validation_from = cut - params.validation_days * _DAY
    else:
        validation_from = (source.validation_from or _four_weeks)(events, first, cut)
    if validation_from <= first:
        raise BadParams(
            f"validation would begin at {validation_from.isoformat()}, before the second event: "
            "lower ingest.validation_days or move the cut"
        )
    if params.test_days:
        test_until = cut + params.test_days * _DAY
    else:
        test_until = (source.test_until or _nearly_all)(events, cut, last)
    split = Split(
        validation_from, cut, test_until, folds=_folds(first, cut, test_until, params.folds)
    )
    return _populated(events, split)


def _cut(
    events: ir.Table, own: ir.Table, params: IngestParams, request: Asked, last: datetime
) -> datetime:
    asked = request.cut
    ended = asked is not None and asked.or_earlier and asked.moment >= last
    if asked is not None and not ended:
        cut = asked.moment
    else:
        usual = conventions(params.base).cut or _seventy_percent
        cut = params.cut or later_cut(events, usual(own, *_span(own)), request)
    if ended:
        _LOG.warning("the log ends at %s, before the cut asked for; cut at %s", last, cut)
    return _utc(cut)


def later_cut(events: ir.Table, usual: datetime, request: Asked) -> datetime:
    """Move the usual cut to where half of what was served is learnt from.

    Not where hardly anything would be left to be judged by, but behind all that the published model
    has learnt from, if the log goes on there.
    """
    cut = usual
    middle = request.middle
    if middle is not None and _share_until(events, middle) <= _MOST_LEARNT:
        cut = max(cut, middle)
    learnt = request.learnt_until
    if learnt is None or learnt <= cut or _up_to_two(events.filter(events.event_ts > learnt)) < 2:
        return cut
    return learnt


def _share_until(events: ir.Table, moment: datetime) -> float:
    counted = events.agg(all=events.count(), before=(events.event_ts <= moment).sum())
    counts = counted.to_pyarrow().to_pylist()[0]
    return float(counts["before"] / counts["all"])


def _span(events: ir.Table) -> tuple[datetime, datetime]:
    times = events.agg(first=events.event_ts.min(), last=events.event_ts.max())
    found = times.to_pyarrow().to_pylist()[0]
    return _utc(found["first"]), _utc(found["last"])


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def _populated(events: ir.Table, split: Split) -> Split:
    """Refuse a test period without events; leave out folds that nothing could be tested on."""
    found = _up_to_two(test(events, split))
    if found < 2:
        raise BadParams(
            f"the test period from {split.cut.isoformat()} to {split.test_until.isoformat()} holds "
            f"{'one event alone' if found else 'no event'}: move the cut or raise ingest.test_days"
        )
    if not _some(validation(events, split)):
        _LOG.warning("no event from %s to the cut to validate on", split.validation_from)
    length = split.test_until - split.cut
    folds = tuple(
        at
        for at in split.folds
        if _some(test(events, replace(split, cut=at, test_until=at + length)))
    )
    if left_out := len(split.folds) - len(folds):
        _LOG.warning("%d folds left out: no event to test on", left_out)
    return replace(split, folds=folds)


def _some(events: ir.Table) -> bool:
    return _up_to_two(events) > 0


def _up_to_two(events: ir.Table) -> int:
    return len(events.limit(2).to_pyarrow())


def _folds(first: datetime, cut: datetime, until: datetime, folds: int) -> tuple[datetime, ...]:
    """Step back from the cut, by one test period or as far as the history allows.

    A period that ends a tick before midnight is whole days long.
    """
    step = min(until + _TICK - cut, (cut - first) / (folds + 1))
    step = max(step // _DAY * _DAY, step if step < _DAY else _DAY)
    return tuple(cut - step * back for back in range(folds, 0, -1))


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), UTC)


def _seventy_percent(events: ir.Table, first: datetime, last: datetime) -> datetime:
    """Take the midnight after which 30 % of the time lie, unless hardly anything lies on one side.

    A few wrong dates can move the ends of a log by decades, but not its quantiles.
    """
    cut = _midnight(first + (last - first) * _LEARNT)
    share = _share_until(events, cut)
    if _LEAST_LEARNT <= share <= _MOST_LEARNT:
        return cut
    quantile = at_quantile(events, _LEARNT)
    _LOG.warning(
        "70 %% of the time from %s to %s end at %s, but %.1f %% of the events: cut at their 70 %% "
        "quantile, %s; look for wrong dates, or set ingest.cut",
        *(first.date(), last.date(), cut.date(), 100 * share, quantile),
    )
    return quantile


_LEARNT = 0.7
_LEAST_LEARNT, _MOST_LEARNT = 0.4, 0.9
"""Share of the events that a cut by time must leave before it, to be believed."""


def _four_weeks(_: ir.Table, first: datetime, cut: datetime) -> datetime:
    return usual_validation(first, cut)


def _nearly_all(events: ir.Table, cut: datetime, last: datetime) -> datetime:
    """End with the last event, but at twice the time that nine tenths of the events take.

    A single date of years later would stretch the period in which profit is measured.
    """
    later = events.filter(events.event_ts > cut)
    return min(last, cut + 2 * (at_quantile(later, 0.9) - cut))
