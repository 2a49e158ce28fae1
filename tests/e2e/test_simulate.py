"""A few investors, three days, one retraining: killed in the middle of a day, and played on."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

from tessera.platform.release import pointer
from tessera.platform.workspace.paths import open_workspace
from tessera.serve.hours import records

_VISITS = 60
_PATIENCE_S = 300


class Simulation:
    def __init__(self, repository, folder):
        self.folder = folder
        words = ["simulate", "--days", "3", "--every", "2", "--users", "60", "--visits", _VISITS]
        self._words = [sys.executable, "-m", "tessera", *map(str, words), "--into", str(folder)]
        self._repository = repository

    def start(self):
        return subprocess.Popen(
            self._words,
            cwd=self._repository,
            env={**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def played(self):
        return self.folder / "simulation"

    def workspace(self):
        return open_workspace("market", self.folder)

    def slates(self):
        served = self.workspace().served
        return [one for one in records(served) if one["kind"] == "slate"]

    def figures(self, day):
        return (self.played / "days" / f"{day:03d}" / "figures.json").read_bytes()


def _read_until(process, beginning):
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith(beginning):
            return printed
    raise AssertionError(printed)


def _wait_for(said):
    end = time.monotonic() + _PATIENCE_S
    while not said():
        assert time.monotonic() < end
        time.sleep(0.02)


def _kill_in_a_day(simulation, day):
    """Kill the simulation when a day is under way; return who worked for it."""
    process = simulation.start()
    try:
        _read_until(process, f"day {day}:")
        _wait_for(lambda: len(simulation.slates()) > day * _VISITS)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert any("serve" in " ".join(words) for words in map(_words, family)), family
    return family


def _words(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return ["serve"]


@pytest.fixture(scope="module")
def played(repository, tmp_path_factory, warm):
    """Play, kill in the middle of the second day, and play on; return what was left of each."""
    simulation = Simulation(repository, tmp_path_factory.mktemp("simulate") / "sim")
    family = _kill_in_a_day(simulation, 1)
    _, simulation.alive = psutil.wait_procs(family, timeout=_PATIENCE_S)
    simulation.first, simulation.half = simulation.figures(0), simulation.slates()
    process = simulation.start()
    simulation.printed, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, simulation.printed
    simulation.told = json.loads((simulation.played / "simulation.json").read_text())
    return simulation


def test_what_is_killed_leaves_no_process_and_half_a_day(played):
    assert played.alive == []
    assert _VISITS < len(played.half) < 2 * _VISITS


def test_it_goes_on_behind_the_last_whole_day(played):
    assert "day 1:" not in played.printed
    assert "run behind day 0" not in played.printed
    assert "run behind day 2" in played.printed
    assert played.figures(0) == played.first, "what was played stays"
    slates = played.slates()
    assert len({one["request_id"] for one in slates}) == len(slates) == 3 * _VISITS


def test_each_run_learns_from_what_was_served_until_then(played):
    workspace = played.workspace()
    shown = pq.read_table(workspace.artifact("exposures"))["request_id"].to_pylist()
    assert len({one["request_id"] for one in played.slates()} & set(shown)) == 2 * _VISITS


def test_it_tells_the_truth_of_days_and_runs(played):
    told = played.told
    assert [day["requests"] for day in told["days"]] == [_VISITS] * 3
    assert {day["degraded"] for day in told["days"]} == {0}
    assert [run["day"] for run in told["runs"]] == [-1, 1]
    assert told["runs"][0]["published"] == "v1"
    assert told["runs"][1]["true_lift"] is not None
    last = list(told["days"][-1]["versions"])
    assert last == [pointer.current_version(played.workspace())]
    assert all(day["house"] < day["oracle"] for day in told["days"])
    assert "<svg" in (played.played / "simulation.html").read_text()


def test_its_days_are_watched(played):
    watched = played.workspace().watched
    assert len(list(watched.glob("[0-9]*/day.json"))) == 3
    assert (watched / "index.html").exists()
    assert played.told["watched"]
