"""Publish what the gate lets through, after every stage; ask a person if approval is wanted."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from tasks.assets import telling_published
from tasks.stage import run_step

WAITING = "waiting"


def publish_bundle() -> BashOperator:
    """Return the task that swaps the pointer if the verdict, or a recorded override, allows it.

    It waits for every stage, so that the `dvc.lock` it records is whole.
    """
    doc = "Publish the candidate bundle if its verdict allows it."
    return run_step("publish", doc, telling=telling_published())


def find_waiting() -> BashOperator:
    """Return the task that tells which candidate waits for approval, skipped if none does."""
    return run_step(WAITING, "Is there a candidate that waits for approval?", told=True)


def ask_person() -> TriggerDagRunOperator:
    """Return the task that has a person asked, in a run of its own: this one ends meanwhile."""
    return TriggerDagRunOperator(
        task_id="ask",
        trigger_dag_id="tessera_promote",
        # Named after the bundle: whoever was asked once is not asked again by the next day's run.
        trigger_run_id=f"approval-{{{{ ti.xcom_pull(task_ids='{WAITING}') }}}}",
        skip_when_already_exists=True,
        conf={"profile": "{{ params.profile }}"},
        logical_date=None,
        doc_md="Ask for approval by tessera_promote, once for each bundle.",
    )
