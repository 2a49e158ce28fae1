"""What the probes share: loading a DAG, and checking a form; imported outside the test process."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pandas", "numpy", "great_expectations", "mlflow", "networkx")
sys.path.insert(0, str(ROOT))


def load(name, dag="dag"):
    spec = importlib.util.spec_from_file_location(f"{name}_dag", ROOT / "dags" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, dag)


def accepts(dag, answers):
    """Check answers as the REST API does."""
    from airflow.sdk.definitions.param import ParamsDict
    from airflow.sdk.exceptions import ParamValidationError

    checked = ParamsDict({name: dag.params.get_param(name) for name in dag.params})
    try:
        for name, value in answers.items():
            checked[name] = value
        checked.validate()
    except (ParamValidationError, ValueError):
        return False
    return True


def run_with_hooks(task, context):
    """Execute a rendered task with its hooks, as Airflow does; return its result and its events."""
    from airflow.sdk.execution_time.context import OutletEventAccessors

    context = {**context, "task": task, "outlet_events": OutletEventAccessors()}
    if task._pre_execute_hook:
        task._pre_execute_hook(context)
    result = task.execute(context)
    if task._post_execute_hook:
        task._post_execute_hook(context, result)
    told = [
        event for one in task.outlets for event in context["outlet_events"][one].asset_alias_events
    ]
    return result, [[event.dest_asset_key.uri, event.extra] for event in told]
