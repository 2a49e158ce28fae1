"""A long measurement that is killed goes on where it was, and begins anew for other code."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

import pytest

from benchmarks import common
from benchmarks.common import Kept, each, spans, sum_of

_STUDY = """
import os, signal, sys
from pathlib import Path
from benchmarks.common import Kept, each

folder, fatal = Path(sys.argv[1]), int(sys.argv[2])

def work(piece):
    if piece == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    print("measured", piece)
    return piece**2

print(each(work, range(5), "study", Kept("study", {"seed": 0}, folder)))
"""


@pytest.fixture
def study(tmp_path):
    """Measure a square of each piece; return what is found and what was asked for."""

    def run(pieces, settings=None, folder=tmp_path):
        asked = []

        def work(piece):
            asked.append(piece)
            return piece**2

        kept = Kept("study", settings or {"seed": 0}, folder)
        return each(work, pieces, "study", kept), asked

    return run


def test_a_killed_command_goes_on_behind_its_last_piece(tmp_path, repository):
    def run(fatal):
        command = [sys.executable, "-c", _STUDY, str(tmp_path), str(fatal)]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    assert run(fatal=3).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["study.jsonl"], "and nothing half-written"
    told = run(fatal=-1).stdout.splitlines()
    assert told == ["measured 3", "measured 4", "[0, 1, 4, 9, 16]"]


def test_more_pieces_of_the_same_study_keep_those_there_are(study):
    assert study(range(3))[1] == [0, 1, 2]
    assert study(range(5)) == ([0, 1, 4, 9, 16], [3, 4])


def test_a_line_that_a_kill_tore_is_measured_again(study, tmp_path):
    study(range(3))
    path = tmp_path / "study.jsonl"
    path.write_text(path.read_text()[:-3])
    assert study(range(3)) == ([0, 1, 4], [2])
    assert study(range(3))[1] == []


def test_other_settings_begin_anew(study):
    study(range(3))
    assert study(range(3), {"seed": 1})[1] == [0, 1, 2]
    assert study(range(3))[1] == [0, 1, 2], "the other study took the place"


def test_other_code_begins_anew(study, monkeypatch):
    study(range(3))
    monkeypatch.setattr(common, "code", lambda: "other")
    assert study(range(3))[1] == [0, 1, 2]


def test_code_is_what_was_loaded_below_src_and_benchmarks_and_the_lock(tmp_path, monkeypatch):
    for name in ("src/used_part.py", "src/idle_part.py", "docs/told_part.py", "requirements.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    for folder in ("src", "docs"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    for name in ("used_part", "told_part"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    before = common.code(tmp_path)
    for name in ("src/idle_part.py", "docs/told_part.py"):
        (tmp_path / name).write_text("x = 2\n")
    assert common.code(tmp_path) == before
    for name in ("src/used_part.py", "requirements.lock"):
        (tmp_path / name).write_text("x = 2\n")
        after = common.code(tmp_path)
        assert after != before
        before = after


def test_what_json_cannot_hold_is_refused_rather_than_changed(tmp_path):
    kept = Kept("study", {}, tmp_path)
    with pytest.raises(TypeError):
        kept["piece"] = object()
    kept["piece"] = (0.1 + 0.2, float("nan"))
    (found, missing) = Kept("study", {}, tmp_path)["piece"]
    assert found == 0.1 + 0.2
    assert missing != missing


def test_two_processes_find_what_one_does(tmp_path):
    one = each(abs, range(-5, 5), "alone")
    two = each(abs, range(-5, 5), "together", Kept("study", {}, tmp_path), processes=2)
    assert one == two == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_groups_cover_every_number_once():
    assert spans(5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert sum_of([{"a": 1, "b": 0}, {"a": 2, "b": 5}]) == {"a": 3, "b": 5}
