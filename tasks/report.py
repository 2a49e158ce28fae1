"""Say in one line of the log what failed, and nothing about any person."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("tessera.tasks")


def report_failure(context: dict[str, Any]) -> None:
    """Write the line; Airflow calls it when a task has used up its retries."""
    task = context["ti"]
    logger.error(
        "%s.%s failed for good in run %s after %s tries: read its log, mend, then clear the task",
        task.dag_id,
        task.task_id,
        task.run_id,
        task.try_number,
    )
