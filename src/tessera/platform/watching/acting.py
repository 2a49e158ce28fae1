"""What an alarm does by its rule: each an act of the history, whose reason begins with the alarm.

The history is the truth of what was done: whoever was killed between an act and the line of it in
the record finds the act there and does it no second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import TesseraError
from tessera.platform.release import acts, exploration, retraining
from tessera.platform.release.history import history, versions_behind
from tessera.platform.release.journal import complete
from tessera.platform.watching.alarms import Alarm
from tessera.platform.watching.record import Entry
from tessera.platform.watching.rules import Action
from tessera.platform.workspace.paths import Workspace

_NAMED = re.compile(r"alarm ((\d{4}-\d{2}-\d{2})-[0-9a-f]+): ")
"""How the reason of an act begins that an alarm called for: alarm and its day."""
_ACT: Mapping[Action, str] = {
    "retrain": retraining.RETRAIN,
    "stop_exploration": exploration.STOP,
    "roll_back": "rollback",
}
"""What an action is called in the history."""
_CANARY = "arm=canary"
_MODEL = "model"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of the action that an alarm calls for."""

    action: Action
    done: bool
    says: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered on a day, and which slices of the family alarm."""

    identities: set[str]
    """Of the bundles; empty where nobody knows."""
    slices: Container[str] = ()
    new_for: int | None = None
    """Days that they have answered, where what came of their slates is compared with others'."""


def act(
    workspace: Workspace, alarm: Alarm, entries: Iterable[Entry], answered: Answered
) -> Done | None:
    """Do what the rule of an alarm says, unless something holds it back; None if it only informs.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    alarm : Alarm
        It was recorded, is not snoozed and not past.
    entries : iterable
        Lines of the record.
    answered : Answered
        Who answered on the day, and what else of the family alarms.
    """
    if not alarm.rule.calls(alarm.slice):
        return None
    action = _action_of(alarm, entries, answered.new_for)
    try:
        return _done(workspace, alarm, action, entries, answered)
    except TesseraError as error:
        return Done(action, False, " ".join(str(error).split()))


def _action_of(alarm: Alarm, entries: Iterable[Entry], new_for: int | None) -> Action:
    """Return what a rule asks for: of a new version, where all its days alarm, something else."""
    rule = alarm.rule
    if rule.of_new is None or new_for is None:
        return rule.action
    row = row_of_days(entries, alarm.cause, alarm.day)
    return rule.of_new if row >= new_for else rule.action


def _done(
    workspace: Workspace,
    alarm: Alarm,
    action: Action,
    entries: Iterable[Entry],
    answered: Answered,
) -> Done | None:
    complete(workspace)  # else the history lacks what was done, and it is done again
    if before := _found_done(workspace, alarm):
        return before
    held = _held_back(workspace, alarm, action, entries, answered)
    held = held or _DO[action](workspace, f"alarm {alarm.id}: {alarm.says}")
    return Done(action, False, held) if held else _found_done(workspace, alarm)


def _found_done(workspace: Workspace, alarm: Alarm) -> Done | None:
    """Return what the history says was done because of an alarm; None if nothing was."""
    for entry in history(workspace):
        named = _NAMED.match(str(entry.get("reason")))
        for action, act in _ACT.items():
            if named and named[1] == alarm.id and entry.get("act") == act:
                return Done(action, True, _SAYS[action].format(**entry))
    return None


def asked_by(workspace: Workspace, day: date) -> str | None:
    """Return the alarm of a day that asked for training, None if none did."""
    return next((name for name, of in _by_alarms(workspace, "retrain") if of == day), None)


def acted(workspace: Workspace) -> list[tuple[str, date]]:
    """Return which alarms did anything, with their days."""
    return [one for action in _ACT for one in _by_alarms(workspace, action)]


def row_of_days(entries: Iterable[Entry], cause: str, day: date) -> int:
    """Count on how many days in a row up to this one a cause alarmed.

    >>> lines = [{"kind": "alarm", "cause": "a", "day": f"2025-01-0{n}"} for n in (1, 3, 4)]
    >>> row_of_days(lines, "a", date(2025, 1, 4)), row_of_days(lines, "b", date(2025, 1, 4))
    (2, 0)
    """
    days = {one["day"] for one in entries if one.get("kind") == "alarm" and one["cause"] == cause}
    count = 0
    while (day - timedelta(days=count)).isoformat() in days:
        count += 1
    return count


def _held_back(
    workspace: Workspace,
    alarm: Alarm,
    action: Action,
    entries: Iterable[Entry],
    answered: Answered,
) -> str | None:
    """Say why nothing is done, None if nothing holds it back."""
    rule = alarm.rule
    row = row_of_days(entries, alarm.cause, alarm.day)
    if row < rule.days:
        return f"it alarms on day {row} of the {rule.days} in a row that the rule asks for"
    for name, day in reversed(_by_alarms(workspace, action)):
        if abs(alarm.day - day) < timedelta(days=rule.cool_down_days):  # a later day may come first
            until = day + timedelta(days=rule.cool_down_days)
            return f"alarm {name} did it: it cools down until {until}"
    return _not_to_go_back(workspace, alarm, answered) if action == "roll_back" else None


def _not_to_go_back(workspace: Workspace, alarm: Alarm, answered: Answered) -> str | None:
    """Say why a rollback would not help."""
    path = versions_behind(history(workspace))
    if alarm.slice.startswith(_CANARY) or len(path) < 2:
        canary = "it tells of a canary, which its own guardrail ends"
        return canary if len(path) > 1 else "there is no version to go back to"
    current, target = (read_manifest(workspace.bundles / one) for one in (path[-1], path[-2]))
    if of_others := _of_others(path[-1], str(current["identity"]), answered):
        return of_others
    if target.get("kind") != _MODEL:
        return f"{path[-2]} is the policy that wrote the log, which no service can answer with"
    return None


def _of_others(version: str, identity: str, answered: Answered) -> str | None:
    """Say why the current version may have no part in what alarms, None if it has."""
    served = answered.identities
    if served and identity not in served:
        return f"{version} did not answer on that day: it was published since"
    if len(served) > 1 and f"policy={version}" not in answered.slices:
        return f"several versions answered on that day, and {version} does not alarm by itself"
    return None


def _by_alarms(workspace: Workspace, action: Action) -> list[tuple[str, date]]:
    """Return which alarms did an action, with their days, in the order of the history."""
    reasons = [
        str(one.get("reason")) for one in history(workspace) if one.get("act") == _ACT[action]
    ]
    found = [_NAMED.match(reason) for reason in reasons]
    return [(one[1], date.fromisoformat(one[2])) for one in found if one]


def _retrain(workspace: Workspace, reason: str) -> None:
    retraining.ask(workspace, reason)


def _stop(workspace: Workspace, reason: str) -> str | None:
    return None if exploration.stop(workspace, reason) else "exploration is stopped already"


def _roll_back(workspace: Workspace, reason: str) -> None:
    acts.rollback(workspace, None, reason)


_SAYS: Mapping[Action, str] = {
    "retrain": "a run of the pipeline is asked for",
    "stop_exploration": "the service shows the best, marked, until a person lets it go on",
    "roll_back": "{from} gave way to {to}, the version before it",
}
"""What is said of an action that was done, with what its entry of the history holds."""
_DO: Mapping[Action, Callable[[Workspace, str], str | None]] = {
    "retrain": _retrain,
    "stop_exploration": _stop,
    "roll_back": _roll_back,
}
"""Each returns why nothing was done, None if it was."""
