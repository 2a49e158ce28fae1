"""Learn from the events before the cut, judge off-policy, publish what the gate lets through.

Tasks and edges are derived from the catalogue, `src/tessera/platform/workspace/catalogue.py`.
`tessera_pipeline` runs when somebody triggers it, and cuts where the form says. `tessera_daily` is
the same by a schedule: a scheduled run or a backfill cuts at the end of its data interval, or at
the profile's own cut where the log ends before that. It stays off until somebody switches it on,
and a run of the other never does.
With `approval` a PROMOTE waits for a person, whom `tessera_promote` asks.
Only what changed runs again. Runs of one profile take turns; for days in order give a backfill
`--max-active-runs 1`.

The schedule is `@daily` with profile `market` unless the environment variables `TESSERA_SCHEDULE`
(a cron expression, empty for none), `TESSERA_TIMEZONE` (Europe/Rome; UTC) and `TESSERA_PROFILE` say
otherwise; `TESSERA_OWNER` names who answers for the runs.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from tasks.form import TAGS, form, owner
from tasks.publish import ask_person, find_waiting, publish_bundle
from tasks.report import report_failure
from tasks.run_lock import DAILY, PIPELINE, take_run_lock
from tasks.schedule import next_tick
from tasks.stage import run_stage, run_step
from tessera.platform.workspace.catalogue import ALL_STAGES, upstream


def build(name: str, schedule: CronTriggerTimetable | None, *, paused: bool) -> DAG:
    """Return a DAG with a task for each stage and the acts around them."""
    with DAG(
        name,
        doc_md=__doc__,
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=paused,
        tags=TAGS,
        params=form([stage.name for stage in ALL_STAGES]),
        default_args={
            "owner": owner(),
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": 2.0,
            "on_failure_callback": report_failure,
        },
    ) as made:
        _fill()
    return made


def _fill() -> None:
    snapshot = run_step("snapshot", "Pin the champion, the ledger and the request.")
    take_run_lock() >> snapshot
    tasks = {stage.name: run_stage(stage) for stage in ALL_STAGES}
    for stage in ALL_STAGES:
        before = [tasks[name] for name in upstream(stage, ALL_STAGES)]
        (before or snapshot) >> tasks[stage.name]
    publish = publish_bundle()
    publish << [task for task in tasks.values() if not task.downstream_task_ids]
    publish >> find_waiting() >> ask_person()


dag = build(PIPELINE, None, paused=False)
daily = build(
    DAILY,
    next_tick(
        os.environ.get("TESSERA_SCHEDULE", "@daily"), os.environ.get("TESSERA_TIMEZONE", "UTC")
    ),
    paused=True,
)
