"""Load the DAG in a process of its own and say what is asked about it, as JSON on standard output.

Airflow stays out of the process that runs the tests: it takes over logging, warnings and
configuration of whoever imports it.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

from probing import HEAVY, accepts, load, run_with_hooks


def describe(dag):
    return {
        "edges": sorted([up, task.task_id] for task in dag.tasks for up in task.upstream_task_ids),
        "tasks": {
            task.task_id: {
                "command": getattr(task, "bash_command", None),
                "retries": task.retries,
                "backoff": task.retry_exponential_backoff,
                "trigger_rule": task.trigger_rule.value,
                "skip": list(getattr(task, "skip_on_exit_code", [])),
                "queue": task.queue,
                "pool": task.pool,
                "calls_back": bool(task.on_failure_callback),
            }
            for task in dag.tasks
        },
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "schedule": getattr(dag.schedule, "expression", None),
        "paused": dag.is_paused_upon_creation,
        "tags": sorted(dag.tags),
        "owners": sorted({task.owner for task in dag.tasks}),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "defaults": {name: dag.params[name] for name in dag.params},
        "doc": dag.doc_md,
    }


def ticks(dag, switched_on, number):
    """When the scheduler would run a DAG that is switched on at a moment, the first few times."""
    from airflow.sdk.timezone import parse
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    trigger.utcnow = lambda: parse(switched_on)
    timetable = decode_timetable(encode_timetable(dag.timetable))
    found, last = [], None
    for _ in range(number):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(None, None, catchup=False),
        )
        last = info.data_interval
        found.append(last.end.isoformat())
        trigger.utcnow = lambda at=info.run_after: at
    return found


def run_locks(dag, folder):
    """Let runs ask for the run lock while the holder runs, after it ended, and after it is gone."""
    from airflow.sdk import DagRunState
    from airflow.sdk.exceptions import AirflowRescheduleException, AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    import tasks.run_lock
    from tessera.platform.workspace.paths import Workspace

    def state_of_first(dag_id, _run):
        if dag_id != "tessera_daily" or not states:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR))
        return states.pop()

    def asks(run):
        found = SimpleNamespace(dag_id=dag.dag_id, run_id=run, get_dagrun_state=state_of_first)
        return dag.get_task("run_lock").python_callable(ti=found, params={"profile": "market"})

    def waits(run):
        """How the task itself ends while another run holds the profile."""
        found = SimpleNamespace(
            dag_id=dag.dag_id,
            run_id=run,
            get_dagrun_state=lambda *_: DagRunState.RUNNING,
            get_first_reschedule_date=lambda _: None,
        )
        context = {"ti": found, "params": {"profile": "market"}}
        try:
            dag.get_task("run_lock").execute(context)
        except AirflowRescheduleException:
            return "ended until later"

    tasks.run_lock.open_workspace = lambda profile, _: Workspace(Path(folder), profile)
    states = [DagRunState.SUCCESS, DagRunState.RUNNING]
    told = [asks(run) for run in ("first", "second", "second", "third")]
    return [*told, waits("fourth")]


def tells(dag, folder):
    """What publishing tells Airflow where nothing changed, and where another version is current."""
    task = dag.get_task("publish")
    task.env = {"TESSERA_PROFILE": "market", "TESSERA_ROOT": folder}
    pointer = Path(folder) / "registry" / "market" / "current.json"
    for path in (pointer, Path(folder) / "profiles" / "market.yaml"):
        path.parent.mkdir(parents=True)
        path.write_text('{"version": "v3"}')
    told = []
    for version in ("v3", "v4"):
        task.execute = lambda _, version=version: pointer.write_text(
            json.dumps({"version": version})
        )
        told.append(run_with_hooks(task, {})[1])
    return told


def context(dag, run):
    params = {name: dag.params.get_param(name).value for name in dag.params}
    found = {
        "params": {**params, **run.get("params", {})},
        "run_id": run.get("run_id", "run-1"),
        "dag_run": SimpleNamespace(run_type=run["run_type"]),
    }
    if "data_interval_end" in run:
        found["data_interval_end"] = datetime.fromisoformat(run["data_interval_end"])
    return found


def render(dag, run, execute):
    task = dag.get_task("snapshot")
    env = dict(task.env)
    task.render_template_fields(context(dag, run))
    if execute:
        task.execute({})
    rendered = {"command": task.bash_command, "env": task.env}
    task.env = env
    return rendered


def asks(dag):
    """How the approval is asked for, of a bundle that waits."""
    from airflow.sdk.exceptions import DagRunTriggerException

    task = dag.get_task("ask")
    ti = SimpleNamespace(xcom_pull=lambda task_ids: {"waiting": "abc123"}[task_ids])
    context = {"ti": ti, "params": {"profile": "far-trans"}}
    task.render_template_fields(context)
    try:
        task.execute(context)
    except DagRunTriggerException as asked:
        return vars(asked)


def main():
    asked = json.load(sys.stdin)
    dag, daily = load("pipeline"), load("pipeline", "daily")
    on = asked.get("switched_on")
    folder = asked.get("folder")
    answer = {
        "run_locks": run_locks(dag, folder) if folder else None,
        "tells": tells(load("pipeline"), folder) if folder else None,
        "ticks": ticks(daily, on, asked.get("number", 1)) if on else None,
        "imported": [name for name in HEAVY if name in sys.modules],
        "dag": describe(dag),
        "daily": describe(daily),
        "asks": asks(dag),
        "accepted": [accepts(load("pipeline"), answers) for answers in asked.get("forms", [])],
        "rendered": [render(dag, run, asked.get("execute")) for run in asked.get("runs", [])],
    }
    sys.stdout.write("\nANSWER " + json.dumps(answer, default=str) + "\n")


main()
