from concurrent.futures import ThreadPoolExecutor

import pytest

from tessera.contracts.errors import BadParams, Unreadable
from tessera.platform.workspace.paths import EXCHANGE, open_workspace
from tessera.platform.workspace.run_lock import holder, take_run_lock


def _running(*runs):
    return lambda run: run in runs


def test_the_first_run_gets_the_turn_and_keeps_it_when_it_asks_again(workspace):
    assert holder(workspace) is None
    assert take_run_lock(workspace, "day-1", _running("day-1"))
    assert take_run_lock(workspace, "day-1", _running("day-1"))
    assert holder(workspace) == "day-1"


def test_a_run_waits_while_the_holder_runs_and_gets_the_turn_when_it_ended(workspace):
    take_run_lock(workspace, "day-1", _running("day-1"))
    assert not take_run_lock(workspace, "day-2", _running("day-1", "day-2"))
    assert holder(workspace) == "day-1"
    assert take_run_lock(workspace, "day-2", _running("day-2"))
    assert holder(workspace) == "day-2"


def test_profiles_do_not_wait_for_each_other(root, workspace):
    take_run_lock(workspace, "day-1", _running("day-1"))
    assert take_run_lock(open_workspace("tie", root), "day-2", _running("day-1", "day-2"))


def test_of_many_runs_at_once_exactly_one_gets_the_turn(workspace):
    runs = [f"day-{day}" for day in range(16)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda run: take_run_lock(workspace, run, _running(*runs)), runs))
    assert sum(got) == 1
    assert holder(workspace) == runs[got.index(True)]


def test_a_holder_that_takes_it_again_meanwhile_keeps_it(workspace):
    """Another run saw that it had ended; it was cleared and began again before that run could."""
    assert take_run_lock(workspace, "day-1", _running())

    def has_ended(run):
        return not take_run_lock(workspace, run, _running(run))

    assert not take_run_lock(workspace, "day-2", has_ended)
    assert holder(workspace) == "day-1"


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"taken": 1}'])
def test_what_is_no_run_lock_is_one_line(workspace, torn):
    take_run_lock(workspace, "day-1", _running())
    (workspace.data / ".run_lock.json").write_text(torn)
    with pytest.raises(Unreadable, match=r"run_lock\.json is no run lock: remove it while no run"):
        take_run_lock(workspace, "day-2", _running())


def test_a_mount_that_is_not_there_gives_no_run_lock_of_its_own(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv(EXCHANGE, str(tmp_path / "mount"))
    with pytest.raises(BadParams, match="mount cannot be written"):
        take_run_lock(workspace, "day-1", _running())
    assert not (tmp_path / "mount").exists()
