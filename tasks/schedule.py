"""Run a DAG at the ticks of a cron expression, the first time at the next one."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable


def next_tick(cron: str) -> CronTriggerTimetable | None:
    """Return the schedule, None for an empty expression.

    A plain expression would also run the tick before the DAG was switched on, if that is not long
    ago, beside the run for which a person switched it on.
    """
    if not cron:
        return None
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
