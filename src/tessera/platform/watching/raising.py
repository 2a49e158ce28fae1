"""Raise the alarms of a day: record each once, tell whoever asked for it, act by the rules.

Doing it again for the same day changes nothing but what was left undone: an alarm has one line, is
told at most once and acts at most once.  A day that is long over is recorded, and nothing is done.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from tessera.contracts.series import Day
from tessera.platform.watching import incidents
from tessera.platform.watching.acting import Answered, Done, act
from tessera.platform.watching.alarms import Alarm, group
from tessera.platform.watching.record import Record, one_record
from tessera.platform.watching.rules import Rules, load_rules
from tessera.platform.watching.snooze import snoozed
from tessera.platform.watching.webhook import Webhook, webhook
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

BREACHES = ("warning", "critical")
"""Severities that mark a day as breached."""
_TELLINGS = ("telling", "told", "untold")


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm and what became of it."""

    alarm: Alarm
    snoozed: str | None
    """Why its cause is silent."""
    past: bool
    """Its day is over for too long: nobody is told and nothing is done."""
    done: Done | None
    """What its rule calls for; None if it only informs."""

    @property
    def breach(self) -> bool:
        """Whether it marks the day as breached."""
        return self.snoozed is None and self.alarm.rule.severity in BREACHES


def raise_alarms(
    workspace: Workspace, day: Day, now: datetime | None = None, *, tells: bool = True
) -> list[Raised]:
    """Raise the alarms of a day that was watched.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    day : Day
        What was measured.
    now : datetime or None
        By the clock of the log, which is that of the service; None asks it.
    tells : bool
        Whether the webhook of the environment is told; of what is only simulated it is not.

    Raises
    ------
    BadParams
        If the rules or the webhook of the environment are wrong.
    BrokenHistory
        If the record of alarms is not what was written.
    """
    rules, hook = load_rules(workspace), webhook() if tells else None
    moment = served_now(workspace) if now is None else now
    found = group(day.day, day.points(), rules)
    if not found:
        return []
    with one_record(workspace) as record:
        past = _is_past(day, moment, rules)
        raiser = _Raiser(workspace, day, record, hook, past, found)
        raised = [raiser.raised(alarm) for alarm in found]
    for one in raised:
        incidents.write(workspace, one.alarm.id)
    return raised


def served_now(workspace: Workspace) -> datetime:
    """Return the moment by the clock of the service, which a simulated market sets ahead."""
    path = workspace.served / "clock.json"
    ahead_us = int(files.read_json(path)["ahead_us"]) if path.exists() else 0
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=time.time_ns() // 1000 + ahead_us
    )


def _is_past(day: Day, now: datetime, rules: Rules) -> bool:
    end = datetime.combine(day.day, datetime.min.time(), UTC) + timedelta(days=1)
    return now - end > timedelta(days=rules.act_within_days)


@dataclass(slots=True)
class _Raiser:
    workspace: Workspace
    day: Day
    record: Record
    hook: Webhook | None
    past: bool
    found: list[Alarm]

    def raised(self, alarm: Alarm) -> Raised:
        silent = snoozed(self.record.entries, alarm.cause, alarm.day)
        if not self.record.of(alarm.id, "alarm"):
            inputs = {"series_sha256": self.day.facts["files"]["series.parquet"]}
            told = {"snoozed": silent, "past": self.past}
            self.record.add({**alarm.facts(), **inputs, **told})
        if silent is not None or self.past:
            return Raised(alarm, silent, self.past, None)
        done = self._done(alarm)
        self._tell(alarm, done)
        return Raised(alarm, None, False, done)

    def _done(self, alarm: Alarm) -> Done | None:
        slices = {one.slice for one in self.found if one.family == alarm.family}
        served = Answered(set(served_on(self.day)), slices, self.day.facts.get("new_for"))
        done = act(self.workspace, alarm, self.record.entries, served)
        if done is not None:
            facts = {"kind": "action", "id": alarm.id, **asdict(done)}
            last = self.record.of(alarm.id, "action")[-1:]
            if not last or any(last[0][name] != value for name, value in facts.items()):
                self.record.add(facts)
        return done

    def _tell(self, alarm: Alarm, done: Done | None) -> None:
        """Post it; where the receiver is away the others of this day wait for the next time."""
        before = self.record.of(alarm.id, *_TELLINGS)[-1:]
        if self.hook is None or (before and before[0]["kind"] != "untold"):
            return
        self.record.add({"kind": "telling", "id": alarm.id})
        facts = {"profile": self.workspace.profile, **alarm.facts()}
        name = f"{self.workspace.profile}/{alarm.id}"  # two profiles may have one cause
        answer = self.hook.tell(name, {**facts, "action": asdict(done) if done else None})
        kind = "untold" if answer.taken is False else "told"
        self.record.add({"kind": kind, "id": alarm.id, **asdict(answer)})
        if answer.is_away:
            self.hook = None


def served_on(day: Day) -> list[str]:
    """Return the identities of the bundles that answered on a day; of an unknown one its name."""
    told = day.facts.get("inputs", {}).get("bundles", {})
    return [str(identity or name) for name, identity in told.items()]
