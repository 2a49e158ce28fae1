"""One command turns raw rows into a published recommender; a second one does nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tessera.platform.pipeline import forkserver
from tessera.platform.release import looks, pointer, registry
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES

FORKS = """
import json, os, sys
from tessera.platform.cli.cli import main
from tessera.platform.pipeline.forkserver import _open
from tessera.platform.validation import validation
_open(json.loads(sys.stdin.readline()), until=100)
for line in sys.stdin:
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        os.setsid()
        print("FORK", os.getpid(), flush=True)
        sys.argv = ["tessera", "run", line.strip()]
        code = 1
        try:
            main()
        except SystemExit as done:
            code = done.code
        finally:
            sys.stdout.flush()
            os._exit(code)
    print("CODE", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def _state(workspace):
    """Hash of every file of a profile, those that name a moment aside."""
    found = {}
    for base in (workspace.data, workspace.registry):
        for path in sorted(p for p in base.rglob("*") if p.is_file()):
            name = path.relative_to(workspace.root).as_posix()
            if not any(part.startswith(".") for part in path.relative_to(base).parts):
                found[name] = files.sha256(path)
    return found


@pytest.fixture
def copy(ran, warm, tmp_path):
    """Copy the checkout that ran, with all it made, for a test that changes it."""
    shutil.copytree(ran[0].root, tmp_path / "copy", symlinks=True)
    return type(ran[0])(tmp_path / "copy")


def test_the_main_job_publishes_and_says_what_happened(ran):
    checkout, printed = ran
    for word in ("rows", "quarantined", "graph", "semantic IDs", "hstu", "ease", "verdict", "why"):
        assert word in printed, printed
    assert pointer.current_version(checkout.open_workspace()) in ("v0", "v1")


def test_a_second_run_runs_no_stage(copy):
    before, history = copy.artifacts(), registry.history(copy.open_workspace())
    printed = copy.must("tessera", "run")
    assert re.findall(r"Running stage '(\w+)'", printed) == ["snapshot"]
    assert copy.artifacts() == before
    assert registry.history(copy.open_workspace()) == history


def test_a_torn_lock_of_dvc_is_mended_said_and_costs_no_stage(copy):
    """A kill while dvc writes leaves the file empty, or any beginning of it."""
    before, lock = copy.artifacts(), (copy.root / "dvc.lock").read_bytes()
    for torn in (b"", lock[: len(lock) // 2]):
        (copy.root / "dvc.lock").write_bytes(torn)
        code, printed = copy.call("tessera", "doctor")
        assert code == 2
        assert "dvc.lock is damaged: the last whole one comes back" in printed
        printed = copy.must("tessera", "run")
        assert printed.count("repaired: dvc.lock is damaged") == 1
        assert re.findall(r"Running stage '(\w+)'", printed) == ["snapshot"]
        assert copy.artifacts() == before
    (copy.root / "dvc.lock").write_bytes(b"")
    assert "done dvc.lock is damaged" in copy.must("tessera", "doctor", "--repair")
    assert (copy.root / "dvc.lock").read_bytes() == lock


def test_a_registry_that_was_moved_away_begins_anew(copy):
    workspace = copy.open_workspace()
    copy.must("tessera", "promote", "--reason", "a first release", "--approver", "A. Rossi")
    workspace.registry.rename(copy.root / "registry" / ".away")
    printed = copy.must("tessera", "run")
    assert "Traceback" not in printed
    assert pointer.current_version(workspace) in ("v0", "v1")
    assert "names what is published" in copy.must("tessera", "doctor")


def test_a_stage_hears_its_options_or_refuses_them(copy):
    code, printed = copy.call("tessera", "run", "graph", "--data", str(copy.root))
    assert code == 2
    assert "graph does not read --data: give it to ingest or to a whole run" in printed
    code, printed = copy.call("tessera", "run", "graph", "--force")
    assert code == 2
    assert "--force goes with a whole run" in printed
    copy.must("tessera", "run", "ingest", "--cut", "2024-03-20")
    assert "2024-03-20" in copy.open_workspace().artifact("request").read_text()
    assert "2024-03-20" in copy.open_workspace().artifact("split").read_text()


def test_one_profile_leaves_the_other_as_it_was_and_a_tie_holds(copy):
    before = _state(copy.open_workspace())
    lock = files.sha256(copy.root / "dvc.lock")
    printed = copy.must("tessera", "run", "--profile", "tie")
    assert "HOLD" in printed
    assert pointer.current_version(copy.open_workspace("tie")) == "v0"
    assert _state(copy.open_workspace()) == before
    assert files.sha256(copy.root / "dvc.lock") == lock


def test_recommend_and_verdict_and_doctor_read_what_was_published(ran):
    checkout, _ = ran
    assert "why" in checkout.must("tessera", "recommend", "somebody new")
    assert "pre-checks" in checkout.must("tessera", "verdict")
    assert "every hash matches" in checkout.must("tessera", "doctor")


@pytest.fixture(scope="module")
def forks(ran, tmp_path_factory):
    """A copy of the checkout that ran, and a process that forks itself for each stage it is told.

    Its forks do what `tessera run STAGE` does; starting Python and importing for each would take
    longer than all stages.
    """
    root = tmp_path_factory.mktemp("forks") / "copy"
    shutil.copytree(ran[0].root, root, symlinks=True)
    checkout = type(ran[0])(root)
    with checkout.start("python", "-c", FORKS, stdin=subprocess.PIPE) as process:
        process.stdin.write(json.dumps(forkserver._rooms()) + "\n")
        yield checkout, process
        process.stdin.close()


def _fork(process, stage):
    """Let a fork run a stage; return its process."""
    process.stdin.write(stage + "\n")
    process.stdin.flush()
    told = next(line for line in process.stdout if line.startswith("FORK "))
    return int(told.removeprefix("FORK "))


def _code(process):
    """Wait for the fork to end; return its exit code, negative if a signal ended it."""
    told = next(line for line in process.stdout if line.startswith("CODE "))
    return int(told.removeprefix("CODE "))


@pytest.mark.parametrize("stage", [stage.name for stage in ALL_STAGES])
def test_a_killed_stage_leaves_nothing_and_the_next_run_gives_the_same(forks, stage):
    checkout, process = forks
    workspace = checkout.open_workspace()
    before = checkout.artifacts()
    staging = workspace.data / ".staging" / stage
    fork = _fork(process, stage)
    while psutil.pid_exists(fork) and not staging.exists():
        time.sleep(0.005)
    time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(fork, signal.SIGKILL)
    assert _code(process) == -signal.SIGKILL, "the stage ended before it could be killed"
    assert checkout.artifacts() == before, "what was there before the kill is still whole"
    _fork(process, stage)
    assert _code(process) == 0
    assert checkout.artifacts() == before
    assert not staging.exists()


def _counted(checkout):
    """Which look each judged candidate was."""
    return [entry["k"] for entry in looks.looks_chain(checkout.open_workspace()).entries()]


def test_dvc_exp_metrics_push_and_pull_work(copy, tmp_path):
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    copy.must("dvc", "remote", "add", "-d", "local", str(tmp_path / "remote"))
    copy.must("git", "add", "-A")
    copy.must(*git, "commit", "-qm", "first run")
    first = files.sha256(copy.open_workspace().artifact("model"))
    copy.must("dvc", "push", "-q")
    copy.must("dvc", "exp", "run", "-q", "-S", "hstu.learning_rate=0.01")
    assert _counted(copy) == [1, 2], "what was trained as an experiment is one more look"
    printed = copy.must("dvc", "metrics", "diff", "HEAD")
    assert "hstu_ndcg_10" in printed, printed
    copy.must("dvc", "plots", "show", "-o", str(tmp_path / "plots"))
    assert "Validation NDCG" in (tmp_path / "plots" / "index.html").read_text()
    clone = type(copy)(tmp_path / "clone")
    clone.root.mkdir()
    clone.must("git", "clone", "-q", str(copy.root), ".")
    clone.must("dvc", "pull", "-q")
    assert files.sha256(clone.open_workspace().artifact("model")) == first
    assert files.sha256(copy.open_workspace().artifact("model")) != first


def test_experiments_count_and_what_was_trained_since_is_not_packed(copy):
    """`dvc exp run --temp` works in a copy; `tessera run hstu` after the verdict is an attack."""
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    copy.must("git", "add", "-A")
    copy.must(*git, "commit", "-qm", "first run")
    root = {"TESSERA_ROOT": ""}
    copy.must("env", *(f"{k}={v}" for k, v in root.items()), "dvc", "exp", "run", "-q", "--temp",
              "-S", "ope.temperature=0.4")  # fmt: skip
    assert _counted(copy) == [1, 2]
    profile = copy.root / "profiles" / "market.yaml"
    profile.write_text(profile.read_text().replace("hstu:", "hstu:\n  patience: 9"))
    copy.must("tessera", "run", "hstu")
    code, printed = copy.call("tessera", "run", "index")
    assert code == 2
    assert "is not what the verdict judged" in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--profile", "nowhere"), "no profile 'nowhere': choose one of"),
        (("run", "grap"), "no stage 'grap' in profile market: choose one of"),
        (("run", "--profile", "far-trans"), "DATA=<folder with the official files>"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(ran, words, says):
    code, printed = ran[0].call("tessera", *words)
    assert code == 2
    assert says in printed
    assert "Traceback" not in printed


def test_a_wrong_param_fails_before_any_work(copy):
    before = _state(copy.open_workspace())
    (copy.root / "profiles" / "market.yaml").write_text("hstu:\n  epochs: 0\n")
    code, printed = copy.call("tessera", "run")
    assert code == 2
    assert "hstu.epochs" in printed
    assert "Running stage" not in printed
    assert _state(copy.open_workspace()) == before
