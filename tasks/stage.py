"""Run one step of the pipeline as an Airflow task.

Answers of the form become environment variables and never shell text: none can be a command.
On several machines a stage that any worker may run waits in a queue of its own; all else waits in
Airflow's default queue, which the worker whose workspace holds the registry alone listens to.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator

from tessera.contracts.cut import OR_EARLIER
from tessera.platform.workspace.catalogue import ANYWHERE, Stage

ROOT = Path(__file__).resolve().parents[1]
AUTOMATIC = "('scheduled', 'backfill')"
"""Kinds of run whose data interval says where to cut."""
ENVIRONMENT = {
    "TESSERA_ROOT": str(ROOT),
    "TESSERA_RUN": "{{ run_id }}",
    "TESSERA_PROFILE": "{{ params.profile }}",
    "TESSERA_SOURCE": "{{ params.data or '' }}",
    "TESSERA_CUT": f"{{{{ params.cut or (data_interval_end.isoformat() + '{OR_EARLIER}'"
    f" if dag_run.run_type in {AUTOMATIC} else '') }}}}",
    "TESSERA_FROM_STAGE": "{{ params.from_stage or '' }}",
    "TESSERA_FORCE": "{{ 1 if params.force else 0 }}",
    "TESSERA_APPROVAL": "{{ 1 if params.approval else 0 }}",
    "TESSERA_OVERRIDE_REASON": "{{ params.override_reason or '' }}",
}


def run_stage(stage: Stage) -> BashOperator:
    """Return the task that runs a stage, by any worker unless it stays where the registry lies."""
    made = run_step(stage.name, stage.doc)
    if not stage.stays:
        made.queue = ANYWHERE
    return made


def run_step(name: str, doc: str, *, told: bool = False) -> BashOperator:
    """Return the task that runs `tessera task NAME` in the repository; exit code 99 skips it.

    `told` hands its last line on.
    """
    return BashOperator(
        task_id=name,
        bash_command=f"exec tessera task {name}",
        env=ENVIRONMENT,
        append_env=True,
        cwd=str(ROOT),
        skip_on_exit_code=99,
        do_xcom_push=told,
        trigger_rule="none_failed",
        doc_md=doc,
    )
