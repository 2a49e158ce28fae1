"""The workspace of a simulation, and the commands that never outlive it."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from tessera.contracts.errors import BadInput, BadParams
from tessera.platform.simulate import guard
from tessera.platform.simulate import place as places
from tessera.platform.simulate.place import alone, open_place
from tessera.platform.simulate.plan import SAYS, SCENARIOS, Plan
from tessera.platform.workspace.params import load_params

PLAN = Plan(days=4, users=60, visits=20)


@pytest.fixture
def source(repository):
    return repository


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_place_is_a_workspace_whose_params_hold(source, tmp_path, scenario):
    plan = Plan(days=4, users=60, visits=20, scenario=scenario)
    place = open_place(tmp_path / "sim", plan, source)
    params = load_params(place.workspace)
    assert params["synth"].users == 60
    assert params["synth"].logged_days == plan.log_days
    assert params["synth"].days > plan.log_days + plan.days
    assert params["ingest"].source == "served"
    assert params["serve"].late_days > plan.log_days, "all since the first cut can be told"
    assert place.workspace.root == (tmp_path / "sim").resolve()
    assert place.environment["TESSERA_ROOT"] == str(place.workspace.root)
    assert SAYS[scenario]


def test_the_same_simulation_is_opened_again_and_another_is_refused(source, tmp_path):
    open_place(tmp_path / "sim", PLAN, source)
    profile = tmp_path / "sim" / "profiles" / "market.yaml"
    profile.write_text(yaml.safe_dump({"seed": 5}))
    assert load_params(open_place(tmp_path / "sim", PLAN, source).workspace)["synth"].users != 60
    with pytest.raises(BadInput, match="holds another simulation .*--into"):
        open_place(tmp_path / "sim", Plan(days=5, users=60, visits=20), source)


def test_a_place_that_was_half_made_is_made_whole(source, tmp_path):
    folder = open_place(tmp_path / "sim", PLAN, source).workspace.root
    (folder / "profiles" / "market.yaml").unlink()
    (folder / "params.yaml").unlink()
    assert load_params(open_place(folder, PLAN, source).workspace)["synth"].users == 60


def test_nothing_that_the_environment_orders_reaches_a_simulation(place, monkeypatch):
    """A feed that services share would be told of investors whom there are not."""
    for name in ("TESSERA_REDIS", "TESSERA_RUN", "TESSERA_WEBHOOK", "TESSERA_ROOT"):
        monkeypatch.setenv(name, "of somebody else")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = place.environment
    assert [name for name in found if name.startswith("TESSERA_")] == ["TESSERA_ROOT"]
    assert found["TESSERA_ROOT"] == str(place.workspace.root)
    assert found["LANG"] == "C.UTF-8"


def test_a_folder_of_something_else_is_left_alone(source, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="is not empty and holds no simulation"):
        open_place(tmp_path, PLAN, source)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_scenario_that_is_none_is_refused():
    with pytest.raises(BadParams, match="no scenario 'storm': choose one of calm, drift"):
        Plan(scenario="storm")


def test_runs_are_due_every_few_days_but_not_behind_the_last():
    plan = Plan(days=10, every=5)
    assert [day for day in range(10) if plan.is_due(day)] == [4]


def test_two_do_not_play_in_one_folder(place, monkeypatch):
    monkeypatch.setattr(places, "_PATIENCE_S", 0.0)
    with alone(place), pytest.raises(BadInput, match="another simulation plays"), alone(place):
        pass


def test_who_was_started_holds_the_folder_until_it_ends(place, monkeypatch):
    with alone(place) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock.fileno(),))
    monkeypatch.setattr(places, "_PATIENCE_S", 0.0)
    try:
        with pytest.raises(BadInput, match="another simulation plays"), alone(place):
            pass
    finally:
        child.kill()
        child.wait()
    with alone(place) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


GUARD = [sys.executable, "-m", guard.__name__]
_TREE = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
_STARTS = """
import sys, time
from pathlib import Path
from tessera.platform.simulate import guarded
from tessera.platform.simulate.place import Place, alone
from tessera.platform.simulate.plan import Plan
from tessera.platform.workspace.paths import open_workspace

guarded._TESSERA = (sys.executable, "-c", {tree!r})
place = Place(open_workspace("market", Path({root!r})), Plan())
with alone(place) as lock:
    command = guarded.Guarded(place, [], place.played / "log", lock)
    time.sleep(60)
"""


def _wait_for(said, patience_s=30.0):
    end = time.monotonic() + patience_s
    while not said():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_a_guarded_command_ends_with_whoever_started_it(place, kill):
    text = _STARTS.format(tree=_TREE, root=str(place.workspace.root))
    starter = subprocess.Popen([sys.executable, "-c", text], start_new_session=True)
    try:
        _wait_for(lambda: len(psutil.Process(starter.pid).children(recursive=True)) == 3)
        family = psutil.Process(starter.pid).children(recursive=True)
    finally:
        kill(starter.pid, signal.SIGKILL)
        starter.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    with alone(place):
        pass


def test_a_guarded_command_says_how_it_ended():
    words = [*GUARD, sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as command:
        assert command.wait() == 3
