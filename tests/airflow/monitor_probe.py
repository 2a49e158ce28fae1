"""Load the DAG that watches in a process of its own, and do what is asked, as JSON."""

import json
import sys
from datetime import datetime
from types import SimpleNamespace

from probing import HEAVY, accepts, load, run_with_hooks


def describe(dag):
    return {
        "edges": sorted([up, task.task_id] for task in dag.tasks for up in task.upstream_task_ids),
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "calls_back": {task.task_id: bool(task.on_failure_callback) for task in dag.tasks},
        "after_the_day_before": any(task.depends_on_past for task in dag.tasks),
        "schedule": getattr(dag.schedule, "expression", None),
        "catchup": dag.catchup,
        "at_once": dag.max_active_runs,
        "paused": dag.is_paused_upon_creation,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
    }


def context(run):
    due = datetime.fromisoformat(run["due"])
    kind, answers = run.get("type", "scheduled"), run.get("params", {})
    pulled = {"asked": run.get("alarm")}
    ti = SimpleNamespace(xcom_pull=lambda task_ids: pulled[task_ids], xcom_push=lambda **_: None)
    found = {
        "params": {"profile": "market", "day": None, **answers},
        "dag_run": SimpleNamespace(run_type=kind, run_after=due),
        "ti": ti,
        "task_instance": ti,
    }
    return found if kind == "manual" else {**found, "data_interval_end": due}


def do(run):
    """Render a task of a run, and execute it in the repository of the test if there is one."""
    from airflow.exceptions import AirflowException, AirflowSkipException

    task = load("monitor").get_task(run["task"])
    task.render_template_fields(context(run))
    told = {"env": task.env, "command": task.bash_command, "ended": None}
    if "root" in run:
        task.env = {**task.env, "TESSERA_ROOT": run["root"]}
        try:
            told["said"], told["events"] = run_with_hooks(task, context(run))
            told["ended"] = "success"
        except AirflowSkipException:
            told["ended"] = "skipped"
        except AirflowException:
            told["ended"] = "failed"
    return told


def triggers(run):
    from airflow.sdk.exceptions import DagRunTriggerException

    task = load("monitor").get_task("retrain")
    task.render_template_fields(context(run))
    try:
        task.execute(context(run))
    except DagRunTriggerException as asked:
        return vars(asked)


def main():
    asked = json.load(sys.stdin)
    dag = load("monitor")
    answer = {
        "imported": [name for name in HEAVY if name in sys.modules],
        "dag": describe(dag),
        "form": [accepts(load("monitor"), form) for form in asked.get("forms", [])],
        "done": [do(run) for run in asked.get("runs", [])],
        "triggered": [triggers(run) for run in asked.get("retrains", [])],
    }
    sys.stdout.write("\nANSWER " + json.dumps(answer, default=str) + "\n")


main()
