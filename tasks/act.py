"""Do an act of a person as an Airflow task: read the verdict, promote, hold, roll back.

Answers of the form become environment variables, which the shell hands on quoted: none can be a
command or an option.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator

from tasks.assets import telling_published
from tasks.stage import ROOT

APPROVAL = "approval"
VERDICT = "verdict"
_PROFILE = {"TESSERA_ROOT": str(ROOT), "TESSERA_PROFILE": "{{ params.profile }}"}
_ANSWER = f"ti.xcom_pull(task_ids='{APPROVAL}')"


def read_verdict() -> BashOperator:
    """Return the task that tells what would be published and what the gate said of it."""
    command = 'exec tessera verdict --json --profile="$TESSERA_PROFILE" --version="$TESSERA_TO"'
    doc = "Read the verdict on the candidate, or on the version that is to come back."
    told = {"do_xcom_push": True, "output_processor": json.loads}
    return _act(VERDICT, command, {"TESSERA_TO": "{{ params.version or '' }}"}, doc, more=told)


def promote_approved() -> BashOperator:
    """Return the task that publishes the very bundle that was approved, and names who did."""
    command = (
        'exec tessera promote --profile="$TESSERA_PROFILE" --version="$TESSERA_TO" '
        '--reason="$TESSERA_REASON" --approver="$TESSERA_APPROVER" --identity="$TESSERA_IDENTITY"'
    )
    environment = {
        "TESSERA_TO": "{{ params.version or '' }}",
        "TESSERA_REASON": f"{{{{ {_ANSWER}.params_input.reason or '' }}}}",
        "TESSERA_APPROVER": f"{{{{ {_ANSWER}.responded_by_user.name }}}}",
        # Whoever clears this task after a rejection publishes nothing: no bundle has this identity.
        "TESSERA_IDENTITY": f"{{{{ ti.xcom_pull(task_ids='{VERDICT}').identity "
        f"if 'Approve' in {_ANSWER}.chosen_options else 'rejected' }}}}",
    }
    doc = "Publish what was approved, or nothing."
    return _act("promote", command, environment, doc, more=telling_published())


def hold_rejected() -> BashOperator:
    """Return the task that records that what waited was turned down, or that nobody answered."""
    command = (
        'exec tessera hold --profile="$TESSERA_PROFILE" --reason="$TESSERA_REASON" '
        '--identity="$TESSERA_IDENTITY"'
    )
    environment = {
        # Airflow knows who rejected, and hands no answer on but an approval.
        "TESSERA_REASON": "rejected in run {{ run_id }} of tessera_promote, or no answer in time",
        "TESSERA_IDENTITY": f"{{{{ ti.xcom_pull(task_ids='{VERDICT}').identity }}}}",
    }
    doc = "Record that what waited was not approved."
    return _act("hold", command, environment, doc, more={"trigger_rule": "all_skipped"})


def roll_back() -> BashOperator:
    """Return the task that makes a former version current again."""
    command = (
        'exec tessera rollback --profile="$TESSERA_PROFILE" --to="$TESSERA_TO" '
        '--reason="$TESSERA_REASON" --approver="$TESSERA_APPROVER"'
    )
    environment = {
        "TESSERA_TO": "{{ params.to or '' }}",
        "TESSERA_REASON": "{{ params.reason }}",
        "TESSERA_APPROVER": "{{ dag_run.triggering_user_name or '' }}",
    }
    doc = "Check the bundle, then swap the pointer."
    return _act("rollback", command, environment, doc, more=telling_published())


def _act(
    name: str,
    command: str,
    environment: Mapping[str, str],
    doc: str,
    *,
    more: Mapping[str, Any],
) -> BashOperator:
    """Return the task that runs a command, with `more` arguments of its operator."""
    arguments = {"do_xcom_push": False, **more}
    return BashOperator(
        task_id=name,
        bash_command=command,
        env={**_PROFILE, **environment},
        append_env=True,
        cwd=str(ROOT),
        doc_md=doc,
        **arguments,
    )
