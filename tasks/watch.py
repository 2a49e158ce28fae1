"""Measure a day that was served, mark it where it is breached, and train again where that is asked.

Each task may be run again: a day that is measured again comes out the same, and an alarm triggers
one run, which is named after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param

from tasks.assets import telling_watched
from tasks.form import MAYBE
from tasks.run_lock import PIPELINE
from tasks.stage import AUTOMATIC, ROOT

_ASKED = "asked"
_DAY = (
    "{{ params.day or day_before(data_interval_end if dag_run.run_type in "
    f"{AUTOMATIC} else dag_run.run_after) }}}}"
)
_ENVIRONMENT = {
    "TESSERA_ROOT": str(ROOT),
    "TESSERA_PROFILE": "{{ params.profile }}",
    "TESSERA_DAY": _DAY,
}
_OF_DAY = '--profile="$TESSERA_PROFILE" --day="$TESSERA_DAY"'


def day_before(moment: datetime) -> str:
    """Return the last UTC day that is over at a moment.

    >>> day_before(datetime(2025, 1, 9, tzinfo=UTC))
    '2025-01-08'
    """
    return (moment.astimezone(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")


def day_param() -> Param:
    """Return the question for a day, which may be left empty."""
    text = "Day to measure, in UTC; empty: the last one that was over when the run was due."
    return Param(None, text, type=MAYBE, format="date")


def watch_day() -> BashOperator:
    """Return the task that measures the day and raises its alarms."""
    doc = "Measure the day, raise its alarms, act by their rules, write the page."
    return _of_day("watch", f"exec tessera monitor {_OF_DAY}", doc, telling=telling_watched())


def mark_breach() -> BashOperator:
    """Return the task that fails where the day is breached, and holds up nothing."""
    doc = "Fails if the day is breached by an alarm that is not silent; tried once."
    made = _of_day("breach", f"exec tessera alarms {_OF_DAY} --check", doc)
    made.retries, made.on_failure_callback = 0, []
    return made


def find_asked() -> BashOperator:
    """Return the task that tells which alarm asked for training, skipped if none did."""
    doc = "Did an alarm of this day ask to train again?"
    return _of_day(_ASKED, f"exec tessera alarms {_OF_DAY} --asked", doc, told=True)


def retrain() -> TriggerDagRunOperator:
    """Return the task that has the pipeline run, once for each alarm that asked."""
    return TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id=PIPELINE,
        trigger_run_id="retrain-{{ params.profile }}-"
        f"{{{{ ti.xcom_pull(task_ids='{_ASKED}') }}}}",
        skip_when_already_exists=True,
        conf={"profile": "{{ params.profile }}"},
        logical_date=None,
        doc_md="Run tessera_pipeline, in a run named after profile and alarm.",
    )


def _of_day(
    name: str,
    command: str,
    doc: str,
    *,
    told: bool = False,
    telling: Mapping[str, Any] | None = None,
) -> BashOperator:
    return BashOperator(
        task_id=name,
        bash_command=command,
        env=_ENVIRONMENT,
        append_env=True,
        cwd=str(ROOT),
        skip_on_exit_code=99,
        do_xcom_push=told,
        doc_md=doc,
        **(telling or {}),
    )
