"""`dvc.lock` and `data/` may disagree in every way: the next run ends with what the source says."""

from __future__ import annotations

import os
import shutil
import warnings
from types import SimpleNamespace

import dvc.repo.reproduce
import pytest
from dvc.cli import main as dvc_main

from tessera.platform.pipeline import dvc

PIPELINE = """\
stages:
  ingest:
    cmd: cp source.txt data/market/events.txt
    deps: [source.txt]
    outs: [data/market/events.txt]
  graph:
    cmd: cp data/market/events.txt data/market/edges.txt
    deps: [data/market/events.txt]
    outs: [data/market/edges.txt]
"""


def _forked(words, cwd, env, check):
    """Run `dvc` in a fork, which need not import it."""
    if (child := os.fork()) == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(env)
            code = dvc_main(words[1:])
        finally:
            os._exit(code)
    return SimpleNamespace(returncode=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.fixture(scope="module", autouse=True)
def _dvc_is_imported_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dvc, "subprocess", SimpleNamespace(run=_forked))
        yield


@pytest.fixture(scope="module")
def repository_that_ran(tmp_path_factory, repository):
    """Two runs of two stages that only copy; what the first left is kept beside it."""
    root = tmp_path_factory.mktemp("ran") / "repository"
    (root / "data" / "market").mkdir(parents=True)
    shutil.copytree(repository / "profiles", root / "profiles")
    (root / "dvc.yaml").write_text(PIPELINE)
    workspace = dvc.Workspace(root, "market")
    assert dvc.dvc(workspace, "init", "-q", "--no-scm") == 0
    for source in ("first", "second"):
        (root / "source.txt").write_text(source)
        assert dvc.dvc(workspace, "repro", "-q") == 0
        kept = root.parent / source
        shutil.copytree(root / "data", kept / "data")
        shutil.copy(root / "dvc.lock", kept)
    return root


LOCKS = {
    "whole": lambda lock, older: None,
    "older": lambda lock, older: shutil.copy(older / "dvc.lock", lock),
    "gone": lambda lock, older: lock.unlink(),
    "torn": lambda lock, older: lock.write_bytes(lock.read_bytes()[:-150]),
    "empty": lambda lock, older: lock.write_bytes(b""),
}


def _older(data, older):
    shutil.rmtree(data)
    shutil.copytree(older / "data", data)


def _torn(data, _older):
    path = data / "market" / "events.txt"
    path.unlink()
    path.write_text("sec")


DATA = {
    "whole": lambda data, older: None,
    "older": _older,
    "gone": lambda data, older: shutil.rmtree(data),
    "torn": _torn,
}


@pytest.mark.parametrize("of_data", DATA)
@pytest.mark.parametrize("of_lock", LOCKS)
def test_the_next_run_ends_with_what_the_source_says(
    repository_that_ran, tmp_path, of_lock, of_data
):
    root = tmp_path / "repository"
    shutil.copytree(repository_that_ran, root)
    older = repository_that_ran.parent / "first"
    LOCKS[of_lock](root / "dvc.lock", older)
    DATA[of_data](root / "data", older)
    (root / "data" / "market").mkdir(parents=True, exist_ok=True)
    workspace = dvc.Workspace(root, "market")
    assert dvc.dvc(workspace, "repro", "-q") == 0
    assert workspace.data.joinpath("edges.txt").read_text() == "second"
    assert dvc.dvc_files.faults(root) == []
