"""Measure each day that was served, raise its alarms, and train again where an alarm asks for it.

A run measures one UTC day, the last that is over when it is due, and may be run again: it comes out
the same. A backfill measures the days of the past; what is learnt of a day long over is recorded
and shown, and nothing is done about it.
`watch` fails where a day could not be measured, `breach` where it was measured and an alarm of it
is not silent. Neither holds up the days that follow.

The schedule is `30 0 * * *` (UTC) with profile `market` unless `TESSERA_MONITOR_SCHEDULE` (a cron
expression, empty for none) and `TESSERA_PROFILE` say otherwise. It stays off until somebody
switches it on. The embedded market lives in days of its own: measure them by the form's `day`, or
by a backfill over those days.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from tasks.form import TAGS, owner, profile_param
from tasks.report import report_failure
from tasks.schedule import next_tick
from tasks.watch import day_before, day_param, find_asked, mark_breach, retrain, watch_day

with DAG(
    "tessera_monitor",
    doc_md=__doc__,
    schedule=next_tick(os.environ.get("TESSERA_MONITOR_SCHEDULE", "30 0 * * *")),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=TAGS,
    params={"profile": profile_param(), "day": day_param()},
    user_defined_macros={"day_before": day_before},
    default_args={
        "owner": owner(),
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "on_failure_callback": report_failure,
    },
) as dag:
    watched = watch_day()
    watched >> mark_breach()
    watched >> find_asked() >> retrain()
