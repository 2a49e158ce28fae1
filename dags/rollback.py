"""Make the version before the current one, or one further back, current again.

No file of a bundle is written and every hash is checked before and after. Who triggered the run and
the reason are recorded for ever.
"""

from __future__ import annotations

from airflow.sdk import DAG

from tasks.act import roll_back
from tasks.form import TAGS, owner, profile_param, reason_param, version_param
from tasks.report import report_failure

with DAG(
    "tessera_rollback",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=TAGS,
    max_active_runs=1,
    params={
        "profile": profile_param(),
        "to": version_param("Version to go back to; empty: the one before."),
        "reason": reason_param("Why; recorded for ever."),
    },
    default_args={"owner": owner(), "retries": 0, "on_failure_callback": report_failure},
) as dag:
    roll_back()
