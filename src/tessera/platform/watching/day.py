"""Measure a day that was served and write it down: whole, or not at all."""

from __future__ import annotations

import fcntl
import gc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera.contracts.arrow import DAY_US
from tessera.contracts.hashes import sha256
from tessera.contracts.series import EMPTY, MEASURED, Day, read_day, write_day
from tessera.platform.release.history import history
from tessera.platform.watching.classes import told_classes
from tessera.platform.watching.codes import codes
from tessera.platform.watching.columns import Around, frames, main_facts, with_outcomes
from tessera.platform.watching.facts import open_facts, segments
from tessera.platform.watching.gathered import Gathered
from tessera.platform.watching.kept import ALONE, Kept
from tessera.platform.watching.reading import BACK_US, KINDS, Heard, Kinds, day_of, records
from tessera.platform.watching.skew import Sample, is_known, known_engines, skew
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.serve.closed import SealedBefore
from tessera.serve.closes import CLOSE
from tessera.serve.events import EVENT, SLATE, Record
from tessera.serve.hours import open_segments, sealed_hours, still
from tessera.stages.daily.day import Measured, Summary, alike, measure, summarize
from tessera.stages.daily.frames import Frames
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.outcomes import answered
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

    def take(self, record: Record) -> None:
        """Take in a record, of whichever day."""
        of_day = self.days.get(day_of(record["moment"]))
        if record["kind"] == CLOSE:
            self.closes.append(record)
            return
        if record["kind"] == EVENT and record.get("request_id"):
            self.events.append(record)
        if of_day is not None:
            of_day.take(record)


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
    workspace.watched.mkdir(parents=True, exist_ok=True)
    with (workspace.watched / ".days.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two would write the same folders aside
        watch = Watch(workspace, load_spec(workspace.root / SPEC), (day - _FIRST).days)
        found = watch.measured()
        return _write(workspace, day, found)


@dataclass(frozen=True, slots=True)
class Found:
    """What is written of a day."""

    measured: Measured
    told: dict[str, Any]


class Watch:
    """One day, and the days that it is compared with."""

    def __init__(self, workspace: Workspace, spec: Served, day: int) -> None:
        """Read nothing yet."""
        self._workspace, self._spec, self._day = workspace, spec, day
        self._facts = cache(partial(open_facts, workspace, head_share=spec.tail_head_share))
        self._kept = Kept(workspace, workspace.root / SPEC)
        self._classes = cache(partial(told_classes, workspace.served))
        self._before = range(day - spec.window_days, day)

    def measured(self) -> Found:
        """Measure the day."""
        keys = {one: self._kept.key(self._around(one)) for one in self._before}
        kept = {one: self._kept.get(one, key) for one, key in keys.items()}
        laid = {one: self._kept.frames(one, self._laid_key(one)) for one in self._before
                if kept[one] is None}  # fmt: skip
        log = self._read([one for one, rows in laid.items() if rows is None], [*laid])
        before = [
            kept[one] or self._summary(log, one, laid[one], keys[one]) for one in self._before
        ]
        today = self._frames(log, self._day)
        now = summarize(today, self._spec)
        self._kept.put_frames(self._day, self._laid_key(self._day), today)
        self._kept.put(self._day, self._laid_key(self._day), now, ALONE)
        self._kept.drop(self._before[0], self._day - self._spec.outcome_days)
        found = Measured([], [])
        if not today.is_empty:
            more = self._skew(today) | self._codes(log.days[self._day], today)
            found = measure(now, before, self._spec, more)
        told = {
            "status": EMPTY if today.is_empty else MEASURED,
            "new_for": found.new_for,
            "remarks": [*self._remarks(log, now, before), *_of_missing(found)],
            "inputs": self._inputs(log),
        }
        return Found(found, told)

    def _laid_key(self, day: int) -> str:
        """Return what the rows of a day hang on, without what came of its slates later."""
        return self._kept.key([one for one in self._around(day) if one <= day])

    def _around(self, day: int) -> list[int]:
        """Return the days whose rows a day's summary hangs on."""
        span = self._spec.outcome_days
        return list(range(day - span, day + span + 1))

    def _read(self, unknown: Sequence[int], unanswered: Sequence[int]) -> Log:
        """Read the day, and those before it that are not known, in one go."""
        gone = {str(one["tried"]) for one in history(self._workspace) if "tried" in one}
        days = {one: Gathered(self._facts, gone) for one in (*unknown, self._day)}
        log = Log(days, [], [], Heard(self._day), {})
        wanted = self._wanted([*unknown, self._day], unanswered)
        with _nothing_is_garbage():
            back = self._spec.outcome_days
            for record in records(self._workspace.served, wanted, log.heard, back):
                log.take(record)
        log.orphans.update(_orphans(self._workspace.served, log))
        return log

    def _wanted(self, unknown: Sequence[int], unanswered: Sequence[int]) -> Kinds:
        """Return which records are read: days, closes and events before them, events after them."""
        wanted: Kinds = defaultdict(set)
        for one in unknown:
            wanted[one] |= set(KINDS)
            for other in self._around(one):
                wanted[other] |= {CLOSE, EVENT} if other < one else set()
        for one in unanswered:
            for other in self._around(one):
                wanted[other] |= {EVENT} if one <= other <= self._day else set()
        return wanted

    def _frames(self, log: Log, day: int) -> Frames:
        first, end = day * DAY_US, (day + 1) * DAY_US
        window = self._spec.outcome_days * DAY_US
        around = Around(
            [one for one in log.closes if first - window <= one["moment"] < end],
            lambda user_ids: segments(self._workspace, user_ids, end),
            log.orphans.get(day, 0),
            self._classes(),
        )
        return frames(day, log.days[day], around)

    def _summary(self, log: Log, day: int, laid: Frames | None, key: str) -> Summary:
        """Measure a day before by itself, with what came of its slates since."""
        rows = laid or self._frames(log, day)
        summary = self._kept.get(day, self._laid_key(day), ALONE) if laid else None
        summary = summary or summarize(rows, self._spec)
        rows = with_outcomes(rows, log.events, self._spec.outcome_days * DAY_US)
        summary = replace(summary, answered=answered(rows))
        if day + self._spec.outcome_days <= self._day:  # nothing later counts
            self._kept.put(day, key, summary)
        return summary

    def _codes(self, gathered: Gathered, today: Frames) -> Levels:
        main = main_facts(gathered)
        investors = int(today.slates["user"].nunique())
        return codes(main.path, self._workspace.bundles, investors) if main else {}

    def _skew(self, today: Frames) -> Levels:
        """Play some slates of the day again, if anybody asked for it."""
        versions = today.slates["policy"].unique().tolist()
        if not self._spec.skew_slates or not any(is_known(self._workspace, v) for v in versions):
            return {}
        sample = Sample(self._spec.skew_slates)
        slates = today.slates[~today.slates["unknown_policy"]]
        for name in slates["request_id"].tolist():
            sample.take(name)
        opened = known_engines(self._workspace)
        return skew(self._workspace.served, self._day, sample.names, opened)

    def _remarks(self, log: Log, now: Summary, before: Sequence[Summary]) -> list[str]:
        """Say in plain sentences what was odd."""
        today = log.days[self._day]
        lines = [] if today.users else ["Nothing was shown on this day."]
        lines += _of_policies(today, self._facts)
        if log.orphans.get(self._day):
            lines.append(f"{log.orphans[self._day]} events name a slate that the log lacks.")
        lines += _of_records(log.heard)
        past = [one for one in before[: len(before) - self._spec.gap_days] if one.slates]
        own, needed = len(alike(now, past)), self._spec.least_days
        if today.users and len(past) < needed:
            lines.append(
                f"{len(past)} of the reference days have slates, and {needed} are needed: nothing "
                "is compared with them."
            )
        elif today.users and own < needed:
            lines.append(
                f"{own} of the reference days were answered as this one was, and {needed} are "
                "needed: what a version decides by itself is compared with none."
            )
        return lines

    def _inputs(self, log: Log) -> dict[str, Any]:
        heard, versions = log.heard, sorted(log.days[self._day].versions)
        found: dict[str, Any] = {
            kind: {"rows": heard.rows.get(kind, 0), "sha256": f"{heard.digest.get(kind, 0):064x}"}
            for kind in KINDS
        }
        told = {name: self._facts(name) for name in versions}
        found["bundles"] = {name: one.identity if one else None for name, one in told.items()}
        found["spec"] = sha256(self._workspace.root / SPEC)
        return found


def _of_missing(found: Measured) -> list[str]:
    if not found.missing:
        return []
    return [
        "Missing, though every reference day has it, so that it cannot alarm: "
        f"{', '.join(found.missing)}."
    ]


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Keep Python from looking for circles among millions of numbers: a sixth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _of_policies(today: Gathered, facts: Any) -> list[str]:
    lines = []
    if len(today.versions) > 1:
        told = ", ".join(f"{name} ({many} slates)" for name, many in sorted(today.versions.items()))
        lines.append(f"Several policies answered: {told}.")
    lines += [
        f"Nobody here knows policy {name}: of its {many} slates only what stands in the log is "
        "measured."
        for name, many in sorted(today.versions.items())
        if facts(name) is None
    ]
    return lines


def _of_records(heard: Heard) -> list[str]:
    lines = []
    if heard.older:
        lines.append(
            f"{heard.older} slates were logged by an older version, without scores, sources or "
            "flags: what needs them leaves them out."
        )
    if heard.torn:
        lines.append(f"{heard.torn} bytes at the end of a segment were torn off and are left out.")
    if heard.again:
        lines.append(f"{heard.again} records lie in the log twice and count once.")
    if heard.back_us >= BACK_US:
        lines.append(
            f"The clock went back by up to {heard.back_us / 3_600_000_000:.1f} hours between "
            "slates: each counts on the day that it says."
        )
    return lines


def _write(workspace: Workspace, day: date, found: Found) -> Day:
    final = workspace.watched / day.isoformat()
    aside = workspace.watched / f".{day.isoformat()}.new"
    files.remove(aside)
    aside.mkdir(parents=True)
    write_day(aside, day, found.measured.points, found.measured.movers, found.told)
    files.move_into_place(aside, final)
    return read_day(final)


def _orphans(folder: Path, log: Log) -> dict[int, int]:
    """Count by day the events that name a slate which the log does not hold."""
    known: set[str] = set()
    for of_day in log.days.values():
        of_day.flush()
        known.update(of_day.requests)
    mine = (one for one in log.events if day_of(one["moment"]) in log.days)
    strange = [one for one in mine if str(one["request_id"]) not in known]
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


def span(first: date, last: date) -> list[date]:
    """Return all days from one to another."""
    return [first + timedelta(days=one) for one in range((last - first).days + 1)]
