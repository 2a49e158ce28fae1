"""Stores that disagree: whatever became of registry and MLflow, the registry is the truth.

Each row of the registry (as it was, older, gone, broken) meets each column of MLflow (as it was,
older, gone, of another version, torn): the next act goes on, or says in one line what to do.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from tessera.contracts.errors import BrokenHistory, BrokenStore, TesseraError
from tessera.platform.cli import doctor, repair
from tessera.platform.pipeline import main_job
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import acts, journal, pointer, registry
from tessera.platform.tracking import tracking, tracking_runs

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own
    pytest.mark.usefixtures("new_stores_are_copies"),
]


@pytest.fixture(autouse=True)
def alias():
    """No stand-in: these tests are about MLflow's own store."""


def _settle(store):
    """Bring the write-ahead log home, so that one file is all."""
    with closing(sqlite3.connect(store / tracking.DATABASE)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
def two(workspace, make_candidate, tmp_path):
    """v1 and then v2 were published; what both stores were at v1 is kept aside."""
    main_job.write_pipeline(workspace)
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    _settle(workspace.tracking)
    shutil.copytree(workspace.registry, tmp_path / "registry-v1")
    shutil.copy(workspace.tracking / tracking.DATABASE, tmp_path / "mlflow-v1")
    make_candidate(workspace, judged_against="v1", weight=2.0)
    acts.promote(workspace)
    _settle(workspace.tracking)
    return workspace


def _registry_old(workspace, kept):
    shutil.rmtree(workspace.registry)
    shutil.copytree(kept / "registry-v1", workspace.registry)


REGISTRIES = {
    "whole": lambda workspace, kept: None,
    "older": _registry_old,
    "gone": lambda workspace, kept: shutil.rmtree(workspace.registry),
}


def _put(path, content):
    """Bring a file as from a backup: another one of the same name, without a log beside it."""
    for found in path.parent.glob(f"{path.name}*"):
        found.rename(found.with_name(f"was.{found.name}"))
    path.write_bytes(content)


def _of_another_version(path):
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = 'fffffffff'")
        opened.commit()


STORES = {
    "whole": lambda path, kept: None,
    "older": lambda path, kept: _put(path, (kept / "mlflow-v1").read_bytes()),
    "gone": lambda path, kept: path.parent.rename(kept / "gone"),
    "empty": lambda path, kept: _put(path, b""),
    "torn": lambda path, kept: _put(path, path.read_bytes()[:70000]),
}


@pytest.mark.parametrize("of_store", STORES)
@pytest.mark.parametrize("of_registry", REGISTRIES)
def test_the_next_act_goes_on_and_mlflow_follows_the_registry(
    two, make_candidate, tmp_path, of_registry, of_store
):
    REGISTRIES[of_registry](two, tmp_path)
    STORES[of_store](two.tracking / tracking.DATABASE, tmp_path)
    against = pointer.current_version(two) or "v0"
    make_candidate(two, judged_against=against, weight=3.0)
    done = acts.promote(two)
    assert done.moved
    assert pointer.current_bundle(two).name == done.version
    assert tracking.champion_identity(two.profile, two.tracking) is not None
    assert journal.alias_fault(two) is None


@pytest.mark.parametrize("of_store", ["whole", "gone", "torn"])
def test_a_broken_registry_is_one_line_whatever_mlflow_says(two, tmp_path, of_store):
    STORES[of_store](two.tracking / tracking.DATABASE, tmp_path)
    (two.registry / "current.json").write_text('{"vers')
    with pytest.raises(BrokenHistory, match=r"current\.json cannot be read: bring it back"):
        registry.publish(two, None, None)


@pytest.mark.parametrize("of_registry", REGISTRIES)
def test_a_store_of_another_version_stops_no_act_and_repair_begins_anew(
    two, make_candidate, tmp_path, capsys, of_registry
):
    REGISTRIES[of_registry](two, tmp_path)
    path = two.tracking / tracking.DATABASE
    _put(path, path.read_bytes())
    _of_another_version(path)
    against = pointer.current_version(two) or "v0"
    make_candidate(two, judged_against=against, weight=3.0)
    assert acts.promote(two).moved
    assert "warning: MLflow's alias stays behind" in capsys.readouterr().err
    with pytest.raises(BrokenStore, match="doctor --repair"):
        doctor._mlflow(two)
    told = repair.repair(two)
    assert any("MLflow begins anew" in line for line in told), told
    assert "MLflow's alias names what is published" in told
    assert journal.alias_fault(two) is None
    assert doctor._mlflow(two) == "can be opened"
    assert repair.repair(two) == [], "there is nothing left to do"


def test_a_registry_that_is_gone_starts_over_though_the_alias_names_a_version(two, make_candidate):
    """The pins hold v1 of the registry that is gone: the next run is judged against v0."""
    two.overrides.write_text("hstu:\n  epochs: 1\n")
    snapshot(two)
    assert not snapshot(two)
    shutil.rmtree(two.registry)
    assert snapshot(two), "what nobody here published is judged against no more"
    assert not snapshot(two)
    with journal.one_act(two):
        pass
    assert tracking.champion(two.profile, two.tracking) is None
    make_candidate(two, "HOLD")
    assert registry.publish(two, None, None).version == "v0"


def test_a_locked_store_costs_a_warning_that_says_what_to_do(two, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "_PATIENCE_S", 0)
    (two.records).mkdir(parents=True)
    record = {"profile": "market", "stage": "graph", "started": "2024-05-01T10:00:00+00:00"}
    (two.records / "graph.json").write_text(json.dumps({**record, "seconds": 1.0}))
    path = two.tracking / tracking.DATABASE
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        main_job.track(two)
    told = capsys.readouterr().err
    assert told.startswith("warning: MLflow's store"), told
    assert "locked" in told
    assert "end the program that holds it" in told
    assert told.count("\n") == 1
    assert path.exists(), "what is locked is not torn"


def test_a_deleted_experiment_and_a_deleted_model_version_come_back(two):
    with tracking._client(two.tracking) as client:
        experiment = tracking_runs.experiment(client, two.profile, two.tracking)
        client.delete_experiment(experiment)
        assert tracking_runs.experiment(client, two.profile, two.tracking) == experiment
        assert client.get_experiment(experiment).lifecycle_stage == "active"
        version = tracking.champion(two.profile, two.tracking)
        client.delete_model_version(tracking._model(two.profile), version)
    assert journal.alias_fault(two)
    assert repair.repair(two) == ["MLflow's alias names what is published"]
    assert journal.alias_fault(two) is None
    with tracking._client(two.tracking) as client:
        client.delete_registered_model(tracking._model(two.profile))
    assert repair.repair(two) == ["MLflow's alias names what is published"]


def test_what_only_a_person_may_decide_is_left_to_the_checks(two):
    (two.registry / "history.jsonl").write_text("")
    before = sorted(path.name for path in two.registry.iterdir())
    repair.repair(two)
    assert sorted(path.name for path in two.registry.iterdir()) == before
    with pytest.raises(TesseraError, match="broken at entry 1"):
        doctor._history(two)
