"""A kill while dvc writes its files, at any byte, costs one stage and one line."""

from __future__ import annotations

import json

import pytest
import yaml

from tessera.platform.pipeline import dvc_files
from tessera.platform.workspace.paths import open_workspace


def _file(name, *, folder=False):
    more = {"nfiles": 2} if folder else {}
    return {"path": name, "hash": "md5", "md5": "0" * 32, "size": 350, **more}


def _stage(name):
    return {
        "cmd": f"tessera run {name} --profile market",
        "deps": [_file(f"src/tessera/{name}", folder=True)],
        "params": {"params.yaml": {f"{name}.seed": 7, f"{name}.shape": {"width": 64}}},
        "outs": [_file(f"data/market/{name}.parquet")],
    }


def _text(*names):
    lock = {"schema": "2.0", "stages": {name: _stage(name) for name in names}}
    return yaml.safe_dump(lock, sort_keys=False).encode()


WHOLE = _text("ingest", "graph")


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    """A disk that is asked a thousand times takes minutes."""
    monkeypatch.setattr(dvc_files.files.os, "fsync", lambda _: None)


@pytest.fixture
def lock(workspace):
    """The lock of a finished run, which was kept."""
    path = workspace.root / "dvc.lock"
    path.write_bytes(WHOLE)
    dvc_files.keep(workspace)
    return path


def _dvc_reads(text):
    """Whether dvc itself takes a lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML, YAMLError
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text) or {})
    except (YAMLError, Invalid, UnicodeDecodeError):
        return False
    return True


@pytest.mark.parametrize("part", range(8))
def test_what_is_called_whole_dvc_reads_at_every_cut(part):
    for length in range(part, len(WHOLE) + 1, 8):
        if dvc_files.is_whole(WHOLE[:length]):
            assert _dvc_reads(WHOLE[:length]), WHOLE[:length][-60:]
    assert dvc_files.is_whole(WHOLE)


def test_the_last_whole_lock_comes_back_at_every_cut(workspace, lock):
    for length in range(len(WHOLE)):
        lock.write_bytes(WHOLE[:length])
        (line,) = dvc_files.repair(workspace.root)
        assert line.startswith("dvc.lock is damaged: the last whole one comes back"), line
        assert lock.read_bytes() == WHOLE
    assert dvc_files.repair(workspace.root) == []


@pytest.mark.parametrize("names", [("ingest", "graph", "sid"), ("graph",)])
def test_a_lock_that_tells_something_else_is_left_alone(workspace, lock, names):
    lock.write_bytes(_text(*names))
    assert dvc_files.repair(workspace.root) == []
    assert lock.read_bytes() == _text(*names)


def test_a_torn_lock_is_never_kept_over_a_whole_one(workspace, lock):
    lock.write_bytes(WHOLE[:-40])
    assert not dvc_files.is_whole(WHOLE[:40])
    lock.write_bytes(WHOLE[:40])
    dvc_files.keep(workspace)
    dvc_files.repair(workspace.root)
    assert lock.read_bytes() == WHOLE


def test_without_a_kept_lock_a_torn_one_goes_and_it_is_said(workspace):
    (workspace.root / "dvc.lock").write_bytes(b"")
    assert dvc_files.repair(workspace.root) == [
        "dvc.lock is damaged: no whole one was kept, every stage runs again"
    ]
    assert not (workspace.root / "dvc.lock").exists()


def test_the_lock_of_any_profile_stops_dvc_so_each_is_mended(root, workspace):
    tie = open_workspace("tie", root)
    tie.dvc_yaml.parent.mkdir()
    tie.dvc_yaml.with_name("dvc.lock").write_bytes(WHOLE)
    dvc_files.keep(tie)
    tie.dvc_yaml.with_name("dvc.lock").write_bytes(WHOLE[:99])
    (line,) = dvc_files.repair(root)
    assert line.startswith("profiles/tie/dvc.lock is damaged")
    assert tie.dvc_yaml.with_name("dvc.lock").read_bytes() == WHOLE


def test_a_torn_record_of_who_reads_and_writes_goes_at_every_cut(workspace):
    path = workspace.root / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    text = json.dumps({"write": {"data/market/graph": {"pid": 7, "cmd": "repro"}}, "read": {}})
    for length in range(len(text)):
        path.write_text(text[:length])
        assert dvc_files.repair(workspace.root) == [".dvc/tmp/rwlock is damaged: it is removed"]
        assert not path.exists()
    path.write_text(text)
    assert dvc_files.repair(workspace.root) == []
