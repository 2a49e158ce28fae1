"""What was acknowledged is there, what a crash tore is cut off, what was changed is refused."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from tessera.serve import log as served_log
from tessera.serve.hours import open_segments
from tessera.serve.log import VOID, BrokenLog, ServedLog, line, mend, on_disk, read_segment

ROWS = [{"n": n, "text": "é\n\t"} for n in range(5)]


@pytest.fixture
def log(tmp_path):
    found = ServedLog(tmp_path / "1.log")
    yield found
    found.close()


def test_what_was_acknowledged_can_be_read_by_others_at_once(log):
    for row in ROWS:
        log.append(row).result(5)
        assert read_segment(log.path).records[-1] == row
    assert read_segment(log.path).records == ROWS
    assert read_segment(log.path).torn == 0


def test_an_acknowledgement_waits_for_the_disk(log, monkeypatch):
    may, synced = threading.Event(), []
    real = os.fsync
    monkeypatch.setattr(
        served_log.os, "fsync", lambda handle: (may.wait(5), synced.append(handle), real(handle))
    )
    done = log.append(ROWS[0])
    with pytest.raises(TimeoutError):
        done.result(0.05)
    may.set()
    done.result(5)
    assert len(synced) == 1


def test_many_that_wait_are_written_with_few_syncs(log, monkeypatch):
    may, synced = threading.Event(), []
    monkeypatch.setattr(served_log.os, "fsync", lambda handle: (may.wait(5), synced.append(handle)))
    waiting = [log.append({"n": n}) for n in range(200)]
    may.set()
    for one in waiting:
        one.result(5)
    assert len(synced) <= 3
    assert [row["n"] for row in read_segment(log.path).records] == list(range(200))


@pytest.mark.parametrize("left", range(1, len(line(ROWS[4]))))
def test_a_torn_line_at_the_end_is_cut_off(tmp_path, left):
    whole, path = b"".join(map(line, ROWS[:4])), tmp_path / "1.log"
    path.write_bytes(whole + line(ROWS[4])[:left])
    found = read_segment(path)
    assert (found.records, found.torn) == (ROWS[:4], left)
    assert mend(found) == left
    assert path.read_bytes() == whole
    assert mend(read_segment(path)) == 0


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_changed_line_that_is_not_the_last_is_refused_by_its_number(tmp_path, at):
    lines, path = [line(row) for row in ROWS], tmp_path / "1.log"
    lines[at] = lines[at].replace(b'"n":', b'"m":')
    path.write_bytes(b"".join(lines))
    with pytest.raises(BrokenLog, match=f"damaged in line {at + 1}: bring it back"):
        read_segment(path)


def test_segments_come_in_order_of_time(tmp_path):
    for name in ("2", "1", "3"):
        (tmp_path / f"{name}.log").write_bytes(line({"name": name}))
    assert [one.records[0]["name"] for one in open_segments(tmp_path)] == ["1", "2", "3"]


def test_nothing_is_written_behind_a_failure(log, monkeypatch):
    log.append(ROWS[0]).result(5)

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(served_log.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        log.append(ROWS[1]).result(5)
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space"):
        log.append(ROWS[2]).result(5)
    assert log.failed is not None
    assert read_segment(log.path).records == ROWS[:1], "nobody is told no of what is there"


def test_a_full_disk_leaves_no_part_of_what_was_refused(log, monkeypatch):
    log.append(ROWS[0]).result(5)
    real = log._file

    class Full:
        def write(self, lines):
            if len(lines) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real.write(lines[:20])

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(OSError, match="No space"):
        log.append(*ROWS).result(5)
    assert log.path.read_bytes() == line(ROWS[0])


def test_what_was_given_up_is_not_in_the_log(log, monkeypatch, until):
    may, real = threading.Event(), os.fsync
    monkeypatch.setattr(served_log.os, "fsync", lambda handle: (may.wait(5), real(handle)))
    monkeypatch.setattr(served_log, "COMMIT_S", 0.05)
    slow = log.append(*ROWS[:2])
    until(lambda: log.path.stat().st_size)
    never, later = log.append(ROWS[2]), log.append(ROWS[3])
    for given_up in (slow, never):
        with pytest.raises(TimeoutError):
            on_disk(given_up)
    may.set()
    later.result(5)
    log.append(ROWS[4]).result(5)
    assert log.failed is None
    void = {"kind": VOID}
    assert read_segment(log.path).records == [void, void, ROWS[3], ROWS[4]]


_DIES = """
import os, signal, sys, time
from pathlib import Path
from tessera.serve import log as served_log
log = served_log.ServedLog(Path(sys.argv[1]))
log.append({"n": 0}).result(5)
served_log.COMMIT_S = 0.05
served_log.os.fsync = lambda _: time.sleep(60)
row = {"text": "long enough"}
slow = log.append(row, row)
while log.path.stat().st_size < 60:
    time.sleep(0.01)
try:
    served_log.on_disk(slow)
except TimeoutError:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_while_a_sync_hangs_leaves_nothing_that_was_given_up(tmp_path):
    path = tmp_path / "1.log"
    done = subprocess.run([sys.executable, "-c", _DIES, path], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    found = read_segment(path)
    assert (found.records, found.torn) == ([{"n": 0}, {"kind": VOID}, {"kind": VOID}], 0)


def test_what_is_given_up_while_it_is_written_is_taken_back_before_the_sync(log, monkeypatch):
    may, seen, real = threading.Event(), [], log._file

    class Slow:
        def write(self, lines):
            may.wait(5)
            return real.write(lines)

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(log, "_file", Slow())
    sync = os.fsync
    synced = lambda handle: (seen.append(log.path.read_bytes()), sync(handle))  # noqa: E731
    monkeypatch.setattr(served_log.os, "fsync", synced)
    monkeypatch.setattr(served_log, "COMMIT_S", 0.05)
    with pytest.raises(TimeoutError):
        on_disk(log.append(ROWS[0]))
    may.set()
    log.append(ROWS[1]).result(5)
    assert b'"void"' in seen[0], "a crash before the sync leaves none of it"
    assert [one.get("kind") for one in read_segment(log.path).records] in ([VOID, None], [None])


def test_what_is_told_at_the_last_moment_counts(monkeypatch):
    class Told(Future):
        def result(self, timeout=None):
            if not self.done():
                self.set_result(None)
                raise TimeoutError
            return super().result(timeout)

    on_disk(Told())


def test_two_processes_never_share_a_segment(log):
    with pytest.raises(FileExistsError):
        ServedLog(log.path)


def test_closing_writes_what_waits(tmp_path):
    log = ServedLog(tmp_path / "1.log")
    waiting = [log.append({"n": n}) for n in range(50)]
    log.close()
    assert all(one.done() for one in waiting)
    assert len(read_segment(log.path).records) == 50


def _write(told, path):
    log = ServedLog(path)
    for n in range(1_000_000):
        log.append({"n": n, "pad": "x" * (n % 3000)}).result(5)
        print(n, file=told)


def test_a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing(tmp_path, rng, forked):
    for kill in range(12):
        path = tmp_path / f"{kill}.log"
        with forked(_write, path) as writer:
            acknowledged = [int(writer.told.readline()) for _ in range(rng.integers(1, 40))]
            writer.kill()
            acknowledged += [int(one) for one in writer.told.read().split("\n")[:-1]]
        mend(read_segment(path))
        found = [row["n"] for row in read_segment(path).records]
        assert found == list(range(len(found)))
        assert found[: len(acknowledged)] == acknowledged
