"""A clock that another process moves, for a simulated market alone."""

import subprocess
import sys

import pytest

from tessera.contracts.errors import BadInput
from tessera.platform.cli import cli_serve
from tessera.serve.clock import Clock, ToldClock, is_told


def test_it_stands_until_it_is_moved(tmp_path):
    assert not is_told(tmp_path)
    clock = ToldClock.begin(tmp_path, 5)
    follows = Clock(source=ToldClock(tmp_path))
    assert is_told(tmp_path)
    assert (clock(), follows.now()) == (5, 5)
    clock.move(1 << 50)
    assert follows.now() == 1 << 50


def test_another_process_moves_it(tmp_path):
    clock = ToldClock.begin(tmp_path, 5)
    words = (
        "from pathlib import Path; from tessera.serve.clock import ToldClock;"
        f"ToldClock(Path({str(tmp_path)!r})).move(77)"
    )
    subprocess.run([sys.executable, "-c", words], check=True)
    assert clock() == 77


def test_a_start_goes_on_from_what_it_is_told(tmp_path):
    ToldClock.begin(tmp_path, 5)
    assert ToldClock.begin(tmp_path, 9)() == 9


def test_only_a_simulated_market_is_told_its_time(workspace, root):
    workspace.served.mkdir(parents=True)
    ToldClock.begin(workspace.served, 123)
    assert cli_serve._clock(workspace).now() == 123
    (root / "profiles" / "market.yaml").write_text("ingest: {source: movielens}\n")
    assert cli_serve._clock(workspace).now() > 1 << 50


def test_several_workers_cannot_be_told(workspace):
    workspace.served.mkdir(parents=True)
    ToldClock.begin(workspace.served, 123)
    with pytest.raises(BadInput, match="serve with one worker"):
        cli_serve._listen_together(workspace, None, 2, "sqlite")
