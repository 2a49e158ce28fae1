"""Publish a judged candidate, or bring a former version back, after a person has approved it.

The approval waits under *Required Actions* with the verdict; a rejection, or no answer in time,
publishes nothing and is recorded (HOLD). What is published is the very bundle that was shown, or
nothing. A run of `tessera_pipeline` with `approval` comes here by itself after a PROMOTE.
"""

from __future__ import annotations

from airflow.sdk import DAG

from tasks.act import hold_rejected, promote_approved, read_verdict
from tasks.approve import ask_approval, note_approval
from tasks.form import TAGS, owner, profile_param, version_param
from tasks.report import report_failure

with DAG(
    "tessera_promote",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=TAGS,
    max_active_runs=16,  # a question may wait for a day and must not hold up another
    is_paused_upon_creation=False,
    params={
        "profile": profile_param(),
        "version": version_param("Version to bring back; empty: the candidate."),
    },
    default_args={"owner": owner(), "retries": 0, "on_failure_callback": report_failure},
) as dag:
    noted = note_approval()
    read_verdict() >> ask_approval() >> [promote_approved(), noted]
    noted >> hold_rejected()
