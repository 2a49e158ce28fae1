"""Wait until no other run works on the profile: Airflow counts a backfill apart from daily runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk.exceptions import AirflowRuntimeError

from tasks.stage import ROOT
from tessera.platform.workspace.paths import open_workspace
from tessera.platform.workspace.run_lock import take_run_lock as take

PIPELINE = "tessera_pipeline"
DAILY = "tessera_daily"
"""The DAGs whose runs work on one folder a profile."""


def take_run_lock() -> PythonSensor:
    """Return the task that waits, without holding a worker, and then claims the profile."""
    return PythonSensor(
        task_id="run_lock",
        python_callable=_free,
        mode="reschedule",
        poke_interval=timedelta(seconds=15),
        timeout=timedelta(days=1),
        doc_md="Wait for a run that works on the same profile.",
    )


def _free(**context: Any) -> bool:
    task = context["ti"]

    def is_running(run: str) -> bool:
        return any(_runs(task, dag, run) for dag in (PIPELINE, DAILY))

    return take(open_workspace(context["params"]["profile"], ROOT), task.run_id, is_running)


def _runs(task: Any, dag: str, run: str) -> bool:
    try:
        return bool(task.get_dagrun_state(dag, run) == "running")
    except AirflowRuntimeError:  # it is of the other DAG, or somebody deleted it
        return False
