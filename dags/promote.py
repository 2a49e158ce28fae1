"""Publish a judged candidate, or bring a former version back, after a person has approved it.

The approval waits under *Required Actions* with the verdict; a rejection, or no answer in time,
publishes nothing (HOLD). What is published is the very bundle that was shown, or nothing.
"""

from __future__ import annotations

from airflow.sdk import DAG

from tasks.act import promote_approved, read_verdict
from tasks.approve import ask_approval
from tasks.form import profile_param, version_param
from tasks.report import report_failure

with DAG(
    "tessera_promote",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={
        "profile": profile_param(),
        "version": version_param("Version to bring back; empty: the candidate."),
    },
    default_args={"retries": 0, "on_failure_callback": report_failure},
) as dag:
    read_verdict() >> ask_approval() >> promote_approved()
