"""Workers work on a commit, each in a workspace of its own, and leave nothing behind."""

import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import workers
from tessera.platform.servers.workers import Team, Worker, clone, require_committed
from tessera.platform.workspace.paths import EXCHANGE

WORKER = """
import subprocess, sys, time
words = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(words, start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def repository_of(root):
    """A repository with one commit of the configuration."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def test_a_clone_is_brought_to_the_commit_again_and_again(repository_of, tmp_path):
    commit, folder = require_committed(repository_of), tmp_path / "below" / "two"
    clone(repository_of, folder, commit)
    (folder / "params.yaml").write_text("somebody edited it here")
    clone(repository_of, folder, commit)
    assert (folder / "params.yaml").read_text() == (repository_of / "params.yaml").read_text()
    assert require_committed(folder) == commit


def test_what_is_in_no_commit_is_refused_because_a_clone_would_not_have_it(repository_of):
    (repository_of / "profiles" / "mine.yaml").write_text("{}")
    with pytest.raises(TesseraError, match=r"mine\.yaml is in no commit, .*commit or stash"):
        require_committed(repository_of)


def test_rendered_pipelines_and_locks_hold_nobody_up(repository_of):
    (repository_of / "profiles" / "tie").mkdir()
    for name in ("profiles/tie/dvc.yaml", "profiles/tie/dvc.lock", "dvc.lock"):
        (repository_of / name).write_text("stages: {}")
    require_committed(repository_of)


def test_the_registry_has_one_worker_and_stages_have_both(tmp_path):
    one, two = workers.two_workers(tmp_path, tmp_path / ".airflow" / "cluster")
    assert (one.root, one.queues) == (tmp_path, ("default", "stages"))
    assert two.root != one.root
    assert two.queues == ("stages",)


@pytest.fixture
def team(tmp_path, monkeypatch):
    """A worker `two` whose task got away into a session of its own, as tasks do."""
    start, seen = workers.processes.start, []

    def fake(_words, environment, log, folder):
        seen.append(environment)
        return start([sys.executable, "-c", WORKER], environment, log, folder)

    monkeypatch.setattr(workers.processes, "start", fake)
    (tmp_path / "logs").mkdir()
    said = []
    made = Team({"PATH": "/usr/bin", EXCHANGE: str(tmp_path)}, tmp_path, said.append)
    made.start(Worker("two", tmp_path / "two", ("stages",)))
    yield SimpleNamespace(team=made, said=said, seen=seen)
    workers.end_leftovers(str(tmp_path))
    _of(made).process.wait()


def _of(team):
    return next(iter(team.running.values()))


def test_a_worker_finds_the_tasks_and_sources_of_its_own_workspace_first(team, tmp_path):
    """Else its stages would run in the workspace of another, as once they did."""
    (told,) = team.seen
    assert told["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "two")
    first = told["PYTHONPATH"].split(":")[:2]
    assert first == [str(tmp_path / "two" / "src"), str(tmp_path / "two")]


def test_a_dead_worker_is_replaced_and_what_it_left_is_ended(team):
    first = _of(team.team)
    _until(lambda: "up" in first.log.read_text())
    (child,) = psutil.Process(first.process.pid).children()
    team.team.replace_dead()
    assert team.said == [], "it lives"
    first.process.kill()
    first.process.wait()
    assert child.is_running()
    team.team.replace_dead()
    assert team.said == ["worker two ended by itself: another one is started"]
    assert not child.is_running()
    assert _of(team.team).process.poll() is None


def test_leftovers_of_another_cluster_are_left_alone(team, tmp_path):
    workers.end_leftovers(str(tmp_path / "another"))
    workers.end_leftovers(str(tmp_path), "one")
    assert _of(team.team).process.poll() is None
    workers.end_leftovers(str(tmp_path))
    assert not psutil.pid_exists(_of(team.team).process.pid)


def _until(said):
    for _ in range(600):
        if said():
            return
        time.sleep(0.05)
    raise AssertionError("not in time")
