import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tessera.platform.workspace import processes

KILLED_PARENT = """
import subprocess, sys, time
from tessera.platform.workspace import processes
words = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
subprocess.Popen(processes.ends_with_us(words), start_new_session=True)
time.sleep(600)
"""
DEAF_PARENT = """
import signal, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
     " print('ready', flush=True); time.sleep(60)"],
    start_new_session=True,
)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def deaf(tmp_path, monkeypatch):
    """A server whose child sits in another session and ignores SIGTERM."""
    monkeypatch.setattr(processes, "_GRACE_S", 0.3)
    log = tmp_path / "log"
    server = processes.start([sys.executable, "-c", DEAF_PARENT], os.environ, log, tmp_path)
    while "ready" not in log.read_text():
        assert server.poll() is None
    child = next(int(word) for word in log.read_text().split() if word.isdigit())
    yield server, child
    processes.stop([server])


def test_stop_ends_even_a_deaf_grandchild_in_another_session(deaf):
    server, child = deaf
    processes.stop([server])
    assert server.poll() is not None
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_a_server_has_its_own_process_group_so_that_ctrl_c_reaches_us_first(deaf):
    server, _ = deaf
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


def test_stopping_twice_is_fine(deaf):
    server, _ = deaf
    processes.stop([server])
    processes.stop([server])


def test_a_port_that_someone_listens_on_is_not_free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not processes.is_free(listener.getsockname()[1])
        port = listener.getsockname()[1]
    assert processes.is_free(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_plain_kill_stops_the_block_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), processes.stopped_like_ctrl_c():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_commands_are_those_beside_this_python():
    done = subprocess.run([processes.command("python"), "-V"], check=False, capture_output=True)
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_a_server_ends_with_whoever_started_it_even_if_that_was_killed_outright():
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED_PARENT], stdout=subprocess.PIPE, text=True
    )
    with parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    try:
        child.wait(timeout=30)
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()
