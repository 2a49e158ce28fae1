"""The newest watched day for Prometheus: `watched/series.prom`, which `/metrics` hands on.

It is a textfile in the format of Prometheus, so a node exporter may pick it up as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tessera.bundles.places import figures_beside
from tessera.contracts.series import FACTS, Day
from tessera.platform.watching.alarms import group
from tessera.platform.watching.record import entries
from tessera.platform.watching.rules import Rules, load_rules
from tessera.platform.watching.snooze import snoozed
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

_OF = ("profile", "series", "slice")


def write_figures(workspace: Workspace, day: Day) -> Path:
    """Write the figures of a day; return where they lie.

    Raises
    ------
    BadParams
        If the rules are wrong.
    """
    path = figures_beside(workspace.served)
    text = generate_latest(_registry(workspace, day, load_rules(workspace)))
    files.write_bytes(text, path)
    return path


def _registry(workspace: Workspace, day: Day, rules: Rules) -> CollectorRegistry:
    registry, profile = CollectorRegistry(), workspace.profile
    value = Gauge("tessera_watched", "Series of the newest watched day.", _OF, registry=registry)
    limit = Gauge(
        "tessera_watched_threshold", "From where on it is bad.", [*_OF, "side"], registry=registry
    )
    alarm = Gauge("tessera_watched_alarm", "1 for a series that alarms.", _OF, registry=registry)
    for one in day.points():
        if one.value is None:
            continue
        of = (profile, one.series, one.slice)
        value.labels(*of).set(one.value)
        alarm.labels(*of).set(one.alarm)
        if one.threshold is not None:
            limit.labels(*of, one.side or "").set(one.threshold)
    _tell_alarms(workspace, day, rules, registry)
    _tell_time(profile, day, registry)
    return registry


def _tell_alarms(workspace: Workspace, day: Day, rules: Rules, registry: CollectorRegistry) -> None:
    """Count the alarms that are not silent, by family and severity; a family without any is 0."""
    lines = entries(workspace)
    found = group(day.day, day.points(), rules)
    loud = Counter(one.family for one in found if snoozed(lines, one.cause, day.day) is None)
    told = Gauge(
        "tessera_watched_alarms", "Alarms of the newest watched day that are not silent.",
        ["profile", "family", "severity"], registry=registry,
    )  # fmt: skip
    for name, family in rules.families.items():
        told.labels(workspace.profile, name, family.severity).set(loud[name])


def _tell_time(profile: str, day: Day, registry: CollectorRegistry) -> None:
    begins = datetime.combine(day.day, datetime.min.time(), UTC).timestamp()
    told: Iterable[tuple[str, str, float]] = (
        ("tessera_watched_day_seconds", "Beginning of the newest watched day.", begins),
        (
            "tessera_watched_at_seconds",
            "When it was measured, by the wall clock.",
            (day.path / FACTS).stat().st_mtime,
        ),
    )
    for name, says, seconds in told:
        Gauge(name, says, ["profile"], registry=registry).labels(profile).set(seconds)
