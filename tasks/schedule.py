"""Run a DAG at the ticks of a cron expression, the first time at the next one."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable


def next_tick(cron: str, timezone: str = "UTC") -> CronTriggerTimetable | None:
    """Return the schedule by the clocks of a time zone, None for an empty expression.

    A day that is an hour shorter or longer has one tick as any other.

    A plain expression would also run the tick before the DAG was switched on, if that is not long
    ago, beside the run for which a person switched it on.
    """
    if not cron:
        return None
    return CronTriggerTimetable(cron, timezone=timezone, run_immediately=timedelta(0))
