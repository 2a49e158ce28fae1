"""Load the DAGs of the acts in a process of their own and do what is asked, as JSON.

Asked for are answers to the approval, each with the root of a repository in a temporary folder:
the tasks run as Airflow would run them, without a scheduler.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from probing import HEAVY, accepts, load, run_with_hooks

EVENTS = []
"""Of Assets, in the order in which they were told."""


def describe(dag):
    return {
        "id": dag.dag_id,
        "edges": sorted([up, task.task_id] for task in dag.tasks for up in task.upstream_task_ids),
        "tasks": sorted(dag.task_ids),
        "schedule": dag.schedule,
        "retries": [task.retries for task in dag.tasks],
        "calls_back": [bool(task.on_failure_callback) for task in dag.tasks],
        "trigger_rules": {task.task_id: task.trigger_rule.value for task in dag.tasks},
        "paused": dag.is_paused_upon_creation,
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "owners": sorted({task.owner for task in dag.tasks}),
    }


def approval(dag):
    task = dag.get_task("approval")
    return {
        "kind": [base.__name__ for base in type(task).__mro__],
        "options": task.options,
        "defaults": task.defaults,
        "multiple": task.multiple,
        "timeout_s": task.response_timeout.total_seconds(),
        "form": task.serialized_params,
        "waits": waits(task),
    }


def waits(task):
    """How the task ends once it has asked: what Airflow keeps while nobody answers."""
    from airflow.providers.standard.operators import hitl
    from airflow.sdk.exceptions import TaskAwaitingInput

    hitl.upsert_hitl_detail = lambda **_: None
    try:
        task.execute({"task_instance": SimpleNamespace(id="1"), "params": {}})
    except TaskAwaitingInput as asked:
        return {"next": asked.method_name, "timeout_s": asked.timeout.total_seconds()}


def run(task, context, root):
    """Render and execute a task in the repository of the test."""
    task.render_template_fields(context)
    if hasattr(task, "env"):
        task.env = {**task.env, "TESSERA_ROOT": root}
    result, events = run_with_hooks(task, context)
    EVENTS.extend(events)
    return result


def approve(asked):
    """Read the verdict, give the answer, and do what Airflow does then."""
    from airflow.exceptions import AirflowException
    from airflow.sdk.exceptions import DownstreamTasksSkipped

    dag, root = load("promote"), asked["root"]
    pulled = {}
    ti = SimpleNamespace(
        xcom_pull=lambda task_ids: pulled[task_ids], xcom_push=lambda **_: None, map_index=-1
    )
    params = {"profile": "market", "version": None, **asked.get("params", {})}
    context = {"params": params, "ti": ti, "task_instance": ti}
    pulled["verdict"] = run(dag.get_task("verdict"), context, root)
    task = dag.get_task("approval")
    task.render_template_fields(context)
    told = {"subject": task.subject, "body": task.body, "done": None}
    if "meanwhile" in asked:
        bundle = Path(root) / "data" / "market" / "bundle"
        bundle.rename(bundle.with_name("shown"))
        Path(asked["meanwhile"]).rename(bundle)
    event = {
        "chosen_options": asked.get("chosen") or task.defaults,
        "params_input": {"reason": asked.get("reason")},
        "responded_by_user": {"id": "7", "name": asked["by"]} if "by" in asked else None,
        "responded_at": datetime.now(UTC),
    }
    try:
        pulled["approval"] = task.execute_complete({**context, "task": task}, event)
    except DownstreamTasksSkipped as skipped:
        if not asked.get("cleared"):
            run(dag.get_task("hold"), {**context, "run_id": "run-1"}, root)
            return {**told, "done": "skipped", "tasks": sorted(skipped.tasks)}
        pulled["approval"] = event
    try:
        run(dag.get_task("promote"), context, root)
    except AirflowException:
        return {**told, "done": "failed"}
    return {**told, "done": "published"}


def roll_back(asked):
    """Execute the rollback as a run that somebody triggered."""
    from airflow.exceptions import AirflowException

    context = {
        "params": {"profile": "market", "to": None, "reason": asked["reason"]},
        "dag_run": SimpleNamespace(triggering_user_name=asked["by"]),
    }
    try:
        run(load("rollback").get_task("rollback"), context, asked["root"])
    except AirflowException:
        return "failed"
    return "done"


def main():
    asked = json.load(sys.stdin)
    promote, rollback = load("promote"), load("rollback")
    imported = [name for name in HEAVY if name in sys.modules]
    answer = {
        "imported": imported,
        "promote": describe(promote),
        "rollback": describe(rollback),
        "approval": approval(promote),
        "promote_form": [accepts(load("promote"), form) for form in asked.get("promotes", [])],
        "rollback_form": [accepts(load("rollback"), form) for form in asked.get("rollbacks", [])],
        "approved": [approve(one) for one in asked.get("answers", [])],
        "rolled_back": [roll_back(one) for one in asked.get("back", [])],
        "events": EVENTS,
    }
    sys.stdout.write("\nANSWER " + json.dumps(answer, default=str) + "\n")


main()
