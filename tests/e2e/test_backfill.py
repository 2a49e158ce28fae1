"""A backfill of past days gives what the daily runs of those days gave, artifact for artifact."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, takewhile

import pyarrow.parquet as pq
import pytest
import yaml

from tessera.bundles import manifest
from tessera.platform.release import registry
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES, PINS
from tessera.platform.workspace.run_lock import take_run_lock

pytestmark = pytest.mark.timeout(1200)

DAYS = tuple(f"2024-03-{day}T00:00:00+00:00" for day in (28, 29, 30))
STEPS = ("snapshot", *(stage.name for stage in ALL_STAGES), "publish")
ARTIFACTS = (*PINS, *(name for stage in ALL_STAGES for name in stage.writes))
SMALLER = {
    "synth": {"users": 120, "items": 40, "requests": 1800},
    "hstu": {"epochs": 1, "sasrec": False, "two_tower": False},
    # Every verdict is INVALID and every candidate is published nevertheless: each day then starts
    # from the champion and the ledger that the day before left.
    "ope": {"min_ess": 1_000_000},
    "gate": {"override_reason": "let the next day start from this one"},
}
TASKS = """
import json, os, sys
from dvc.cli import main
from tessera.platform.pipeline import task
from tessera.platform.cli.cli import app
def dvc(workspace, *words, extra):
    os.environ.update(extra)
    return main(list(words))
task.dvc = dvc
for line in sys.stdin:
    os.environ.update(json.loads(line))
    for step in sys.argv[1:]:
        assert app(["task", step], standalone_mode=False) == 0, step
    print("DONE", flush=True)
"""
"""Runs `tessera task STEP` for every step of the runs it is told; neither Python nor dvc is started
anew for each of them, which would take longer than all stages."""
JUDGED = {"champion", "scores", "verdict", "seal", "verdict_page", "page_seal", "bundle"}
"""What knows which model it was compared with; nothing else may know it."""


@dataclass(frozen=True)
class State:
    """All that one run left behind, moments aside."""

    artifacts: dict[str, str]
    bundle: dict[str, str]
    scores: dict[str, int]
    pointer: dict[str, str]
    history: list[dict[str, str]]


def _render(checkout, runs):
    """Environment of each run as the DAG of the checkout renders it."""
    probe = checkout.start(
        "env",
        f"AIRFLOW_HOME={checkout.root / '.airflow'}",
        "python",
        "tests/airflow/dag_probe.py",
        stdin=subprocess.PIPE,
    )
    printed, _ = probe.communicate(json.dumps({"runs": runs}))
    answers = [line for line in printed.splitlines() if line.startswith("ANSWER ")]
    assert len(answers) == 1, printed
    return [run["env"] for run in json.loads(answers[0].removeprefix("ANSWER "))["rendered"]]


def _run(worker, checkout, environment):
    """Take the run lock and run every step of one DAG run, as Airflow would."""
    assert environment["TESSERA_ROOT"] == str(checkout.root)
    assert take_run_lock(checkout.open_workspace(), environment["TESSERA_RUN"], lambda _: False)
    worker.stdin.write(json.dumps(environment) + "\n")
    worker.stdin.flush()
    printed = list(takewhile(lambda line: line != "DONE\n", worker.stdout))
    assert worker.poll() is None, "".join(printed)
    return _state(checkout.open_workspace())


def _state(workspace):
    scores = pq.read_table(workspace.artifact("scores"))
    history = [_without_moments(act) for act in registry.history(workspace)]
    return State(
        {name: files.sha256(workspace.artifact(name)) for name in ARTIFACTS},
        manifest.read_manifest(workspace.artifact("bundle"))["files"],
        {name: hash(str(scores[name].to_pylist())) for name in scores.column_names},
        files.read_json(workspace.registry / "current.json"),
        history,
    )


def _without_moments(act):
    """An act without its own moment and without hashes of lines that hold theirs."""
    told = {name: value for name, value in act.items() if name not in ("at", "previous")}
    return {**told, "looks": told["looks"]["entries"]}


def _sequence(checkout, kind, days):
    """Run days one after the other; return what each left."""
    runs = [
        {"run_type": kind, "data_interval_end": day, "run_id": f"{kind}__{number}_{day}"}
        for number, day in enumerate(days)
    ]
    with checkout.start("python", "-c", TASKS, *STEPS, stdin=subprocess.PIPE) as worker:
        return [_run(worker, checkout, environment) for environment in _render(checkout, runs)]


def _make_smaller(checkout):
    path = checkout.root / "profiles" / "market.yaml"
    params = yaml.safe_load(path.read_text())
    for section, values in SMALLER.items():
        params[section] = {**params.get(section, {}), **values}
    path.write_text(yaml.safe_dump(params))
    checkout.must(
        "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "-"
    )


@pytest.fixture(scope="module")
def both(warm, new_checkout, tmp_path_factory):
    """States after three daily runs, and after a backfill of them and of the second day again."""
    daily = new_checkout()
    _make_smaller(daily)
    root = tmp_path_factory.mktemp("backfill") / "checkout"
    shutil.copytree(daily.root, root, symlinks=True)
    backfill = type(daily)(root)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(_sequence, daily, "scheduled", DAYS)
        other = pool.submit(_sequence, backfill, "backfill", (*DAYS, DAYS[1]))
        return one.result(), other.result()


@pytest.mark.parametrize("day", range(len(DAYS)))
def test_a_backfilled_day_leaves_what_the_daily_run_left(both, day):
    daily, backfill = both[0][day], both[1][day]
    assert backfill.artifacts == daily.artifacts
    assert backfill.pointer == daily.pointer
    assert backfill.history == daily.history


def test_every_day_learns_anew_and_starts_from_the_model_of_the_day_before(both):
    daily, _ = both
    assert [state.pointer["version"] for state in daily] == ["v1", "v2", "v3"]
    for before, after in pairwise(daily):
        for name in ("request", "split", "model", "champion"):
            assert after.artifacts[name] != before.artifacts[name], name


def test_a_day_backfilled_again_differs_only_in_what_it_is_judged_against(both):
    _, (_, first, _, again) = both
    assert _changed(first.artifacts, again.artifacts) == JUDGED
    assert _changed(first.scores, again.scores) == {"champion_scores"}
    assert _changed(first.bundle, again.bundle) == {"verdict.json"}


def _changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}
