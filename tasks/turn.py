"""Wait until no other run works on the profile: Airflow counts a backfill apart from daily runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk.exceptions import AirflowRuntimeError

from tasks.stage import ROOT
from tessera.pipeline.paths import home
from tessera.pipeline.turns import take_turn as take


def take_turn() -> PythonSensor:
    """Return the task that waits, without holding a worker, and then claims the profile."""
    return PythonSensor(
        task_id="turn",
        python_callable=_free,
        mode="reschedule",
        poke_interval=timedelta(seconds=15),
        timeout=timedelta(days=1),
        doc_md="Wait for a run that works on the same profile.",
    )


def _free(**context: Any) -> bool:
    task = context["ti"]

    def is_running(run: str) -> bool:
        try:
            return bool(task.get_dagrun_state(task.dag_id, run) == "running")
        except AirflowRuntimeError:  # somebody deleted that run
            return False

    return take(home(context["params"]["profile"], ROOT), task.run_id, is_running)
