"""Measure a day that was served and write it down: whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera.contracts.arrow import DAY_US
from tessera.contracts.hashes import sha256
from tessera.contracts.series import EMPTY, MEASURED, Day, read_day, write_day
from tessera.platform.watching.facts import open_facts, segments
from tessera.platform.watching.gather import Around, Gathered, frames
from tessera.platform.watching.reading import KINDS, Heard, day_of, records
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.serve.closed import SealedBefore
from tessera.serve.closes import CLOSE
from tessera.serve.events import EVENT, SLATE, Record
from tessera.serve.hours import open_segments, sealed_hours, still
from tessera.stages.daily.day import Summary, measure, summarize
from tessera.stages.daily.spec import Served, load_spec

SPEC = Path("monitoring") / "served.yaml"
_FIRST = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Log:
    """Some days of the served log."""

    days: dict[int, Gathered]
    events: list[Record]
    """That name a slate."""
    closes: list[Record]
    heard: Heard
    orphans: dict[int, int]
    """Events of each day that name a slate which nobody was shown."""


def watch_day(workspace: Workspace, day: date) -> Day:
    """Measure a UTC day beside the days before it, and write it into `watched/<day>`.

    What is written depends on the rows of the log until the end of the day alone, so a day that is
    measured later comes out the same.

    Raises
    ------
    BadParams
        If monitoring/served.yaml is missing or wrong.
    BrokenLog
        If the log was changed.
    """
    spec = load_spec(workspace.root / SPEC)
    number = (day - _FIRST).days
    facts = cache(partial(open_facts, workspace, head_share=spec.tail_head_share))
    log = _read(workspace.served, number, spec, facts)
    before = [
        _summary(workspace, log, one, spec) for one in range(number - spec.window_days, number)
    ]
    now = _summary(workspace, log, number, spec)
    found = measure(now, before, spec)
    is_empty = not log.days[number].users and not log.days[number].events
    told = {
        "status": EMPTY if is_empty else MEASURED,
        "remarks": _remarks(log, number, facts, before, spec),
        "inputs": _inputs(workspace, log, number, facts),
    }
    points = [] if is_empty else found.points
    return _write(workspace, day, points, [] if is_empty else found.movers, told)


def _write(
    workspace: Workspace, day: date, points: Sequence[Any], movers: Sequence[Any],
    told: Mapping[str, Any],
) -> Day:  # fmt: skip
    final = workspace.watched / day.isoformat()
    aside = workspace.watched / f".{day.isoformat()}.new"
    files.remove(aside)
    aside.mkdir(parents=True)
    write_day(aside, day, points, movers, told)
    files.move_into_place(aside, final)
    return read_day(final)


def _read(folder: Path, day: int, spec: Served, facts: Any) -> Log:
    """Read the day and its reference days in one go."""
    wanted = range(day - spec.window_days, day + 1)
    kinds = {one: KINDS for one in wanted} | {
        wanted[0] - back: (CLOSE,) for back in range(1, spec.outcome_days + 1)
    }
    log = Log({one: Gathered(facts) for one in wanted}, [], [], Heard(), {})
    for record in records(folder, kinds, log.heard):
        of_day = log.days.get(day_of(record["moment"]))
        if record["kind"] == CLOSE:
            log.closes.append(record)
        elif of_day is not None and record["kind"] == SLATE:
            of_day.slate(record)
        elif of_day is not None and record["kind"] == EVENT:
            of_day.events.append(record)
            if record.get("request_id"):
                log.events.append(record)
    log.orphans.update(_orphans(folder, log))
    return log


def _orphans(folder: Path, log: Log) -> dict[int, int]:
    """Count by day the events that name a slate which the log does not hold."""
    known: set[str] = set()
    for one in log.days.values():
        one.flush()
        known.update(one.requests)
    strange = [one for one in log.events if str(one["request_id"]) not in known]
    names = sorted({str(one["request_id"]) for one in strange})
    if names:
        with still(folder):
            asked = pa.table({"request_id": pa.chunked_array([pa.array(names, pa.string())])})
            known.update(SealedBefore(sealed_hours(folder)).requests(asked).to_pylist())
            known.update(
                str(one["request_id"])
                for segment in open_segments(folder)
                for one in segment.records
                if one["kind"] == SLATE
            )
    counted = dict.fromkeys(log.days, 0)
    for one in strange:
        counted[day_of(one["moment"])] += str(one["request_id"]) not in known
    return counted


def _summary(workspace: Workspace, log: Log, day: int, spec: Served) -> Summary:
    window = spec.outcome_days * DAY_US
    first, end = day * DAY_US, (day + 1) * DAY_US
    around = Around(
        [one for one in log.events if first <= one["moment"] < end + window],
        [one for one in log.closes if first - window <= one["moment"] < end],
        window,
        lambda user_ids: segments(workspace, user_ids, end),
        log.orphans.get(day, 0),
    )
    return summarize(frames(day, log.days[day], around, spec.acquired), spec)


def _remarks(
    log: Log, day: int, facts: Any, before: Sequence[Summary], spec: Served
) -> list[str]:
    """Say in plain sentences what was odd."""
    heard, today = log.heard, log.days[day]
    lines = []
    if not today.users:
        lines.append("Nothing was shown on this day.")
    if len(today.versions) > 1:
        told = ", ".join(f"{name} ({many} slates)" for name, many in sorted(today.versions.items()))
        lines.append(f"Several policies answered: {told}.")
    for name, many in sorted(today.versions.items()):
        if facts(name) is None:
            lines.append(
                f"Nobody here knows policy {name}: of its {many} slates only what stands in the log "
                "is measured."
            )
    if log.orphans.get(day):
        lines.append(f"{log.orphans[day]} events name a slate that the log does not hold.")
    if heard.older:
        lines.append(
            f"{heard.older} slates were logged by an older version, without scores, sources or "
            "flags: what needs them leaves them out."
        )
    if heard.torn:
        lines.append(f"{heard.torn} bytes at the end of a segment were torn off and are left out.")
    if heard.again:
        lines.append(f"{heard.again} records lie in the log twice and count once.")
    if heard.back_us:
        lines.append(
            f"The clock went back by up to {heard.back_us / 3_600_000_000:.1f} hours between "
            "slates: each counts on the day that it says."
        )
    there = sum(1 for one in before[: len(before) - spec.gap_days] if len(one.sample.slates))
    if today.users and there < spec.least_days:
        lines.append(
            f"{there} reference days have slates, and {spec.least_days} are needed: nothing is "
            "compared with them."
        )
    return lines


def _inputs(workspace: Workspace, log: Log, day: int, facts: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        kind: {
            "rows": log.heard.rows.get((day, kind), 0),
            "sha256": f"{log.heard.digest.get((day, kind), 0):064x}",
        }
        for kind in KINDS
    }
    told = {name: facts(name) for name in sorted(log.days[day].versions)}
    found["bundles"] = {name: one.identity if one else None for name, one in told.items()}
    found["spec"] = sha256(workspace.root / SPEC)
    return found


def span(first: date, last: date) -> list[date]:
    """Return all days from one to another."""
    return [first + timedelta(days=one) for one in range((last - first).days + 1)]
