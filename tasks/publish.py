"""Publish what the gate lets through, after every stage."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator

from tasks.stage import run_step


def publish_bundle() -> BashOperator:
    """Return the task that swaps the pointer if the verdict, or a recorded override, allows it.

    It waits for every stage, so that the `dvc.lock` it records is whole.
    """
    return run_step("publish", "Publish the candidate bundle if its verdict allows it.")
