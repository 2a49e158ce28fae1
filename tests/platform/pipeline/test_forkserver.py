"""A fork runs a command as if it had been started by itself, and ends with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tessera.platform.pipeline import forkserver as module
from tessera.platform.pipeline.forkserver import ADDRESS, delegate, forkserver

# Stands for the command line: says where it runs, what it was told, and sleeps if asked.
STAND_IN = """
import os, sys, time
from pathlib import Path
from tessera.platform.pipeline import forkserver
def run():
    print("folder", os.getcwd(), "words", *sys.argv, "mark", os.environ.get("MARK"), flush=True)
    Path("pid").write_text(str(os.getpid()))
    if "sleep" in sys.argv:
        time.sleep(60)
    return 7 if "fail" in sys.argv else 0
def main():
    sys.exit(run())
forkserver.serve(sys.argv[1], lambda: None, main)
"""
CLIENT = """
import sys
from tessera.platform.pipeline.forkserver import delegate
code = delegate(["tessera", "run", *sys.argv[1:]])
sys.exit(99 if code is None else code)
"""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Let a stand-in answer; the first command has woken it."""
    monkeypatch.setenv(ADDRESS, str(tmp_path / "socket"))
    (tmp_path / "rooms.json").write_text("{}")
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN, os.environ[ADDRESS]], stdin=subprocess.PIPE
    )
    _until(Path(os.environ[ADDRESS]).exists)
    assert delegate(["tessera", "run", "first"]) is None, "the first command runs by itself"
    _until(lambda: Path(os.environ[ADDRESS]).exists())
    yield process
    process.kill()
    process.communicate()


def _until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def _start(folder, *words):
    environment = {**os.environ, "MARK": "here"}
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_fork_has_the_words_folder_environment_output_and_exit_code(served, tmp_path):
    process = _start(tmp_path, "graph")
    printed, _ = process.communicate()
    assert printed == f"folder {tmp_path} words tessera run graph mark here\n"
    assert process.returncode == 0
    assert int((tmp_path / "pid").read_text()) not in (process.pid, served.pid)
    failing = _start(tmp_path, "fail")
    failing.communicate()
    assert failing.returncode == 7


def test_a_killed_command_takes_its_fork_along(served, tmp_path):
    process = _start(tmp_path, "sleep")
    _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    fork = psutil.Process(int((tmp_path / "pid").read_text()))
    process.kill()
    process.communicate()
    psutil.wait_procs([fork], timeout=10)
    assert not fork.is_running()
    assert served.poll() is None, "the server goes on"


def test_a_killed_fork_fails_its_command(served, tmp_path):
    process = _start(tmp_path, "sleep")
    _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    process.communicate()
    assert process.returncode == 128 + signal.SIGKILL


def test_a_fork_starts_from_one_thread(served, tmp_path):
    """What draws the imports starts threads: it must stay out of the process that forks."""
    _start(tmp_path, "graph").communicate()
    assert psutil.Process(served.pid).num_threads() == 1


def test_it_ends_when_its_parent_is_gone(served):
    served.stdin.close()
    served.wait(timeout=10)


def test_a_command_runs_by_itself_where_no_server_is(tmp_path, monkeypatch):
    monkeypatch.setenv(ADDRESS, str(tmp_path / "nobody"))
    assert delegate(["tessera", "run", "graph"]) is None
    monkeypatch.delenv(ADDRESS)
    assert delegate(["tessera", "run", "graph"]) is None


def test_a_block_inside_a_block_uses_the_same_server(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    with forkserver():
        address = os.environ[ADDRESS]
        with forkserver():
            assert os.environ[ADDRESS] == address
        assert os.environ[ADDRESS] == address
    assert ADDRESS not in os.environ
    assert not Path(address).exists()


def test_every_room_of_every_stage_is_imported():
    rooms = module._rooms()
    assert "tessera.stages.monitor.report" in rooms["monitor"], "an entry point imports it late"
    assert "tessera.stages.hstu.stage" in rooms["hstu"]
    assert module._number(rooms, {"words": ["tessera", "run", "ingest"]}) == 1
    assert module._number(rooms, {}) == -1


def test_a_command_that_is_gone_before_it_said_what_it_wants_stops_nobody(served, tmp_path):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ[ADDRESS])
    process = _start(tmp_path, "graph")
    process.communicate()
    assert process.returncode == 0


def test_the_waiting_command_stays_light():
    done = subprocess.run(
        [sys.executable, "-c", "import json, sys, tessera.platform.pipeline.forkserver; "
         "print(json.dumps([m for m in ('typer', 'pydantic', 'ibis') if m in sys.modules]))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
