"""Run one step of the pipeline as an Airflow task.

Answers of the form become environment variables and never shell text: none can be a command.
On several machines a stage that any worker may run waits in a queue of its own; all else waits in
Airflow's default queue, which the worker whose workspace holds the registry alone listens to.
Heavy stages may have a pool, and those that train on a GPU a queue: what a stage needs stands in
the catalogue, and what there is in the environment of Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator

from tessera.contracts.cut import OR_EARLIER
from tessera.platform.workspace.catalogue import ANYWHERE, Stage
from tessera.platform.workspace.paths import GPU_QUEUE, POOL

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
    """Return the task that runs a stage, by any worker unless it stays where the registry lies.

    What is heavy takes a slot of a pool, where there is one; what trains on a GPU waits in a queue
    of its own, where workers with one listen to it.
    """
    made = run_step(stage.name, stage.doc)
    if not stage.stays:
        made.queue = (stage.on_gpu and os.environ.get(GPU_QUEUE)) or ANYWHERE
    if stage.heavy:
        made.pool = os.environ.get(POOL) or made.pool
    return made


def run_step(
    name: str, doc: str, *, told: bool = False, telling: Mapping[str, Any] | None = None
) -> BashOperator:
    """Return the task that runs `tessera task NAME` in the repository; exit code 99 skips it.

    `told` hands its last line on; `telling` are arguments of `tasks.assets`.
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
        **(telling or {}),
    )
