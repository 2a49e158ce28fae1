"""Stage runs and published bundles reach MLflow once each, and only legitimate ones reign."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tessera.bundles.manifest import seal
from tessera.contracts.errors import BrokenStore, GateClosed
from tessera.platform.tracking import peek
from tessera.platform.tracking.tracking import (
    champion,
    champion_identity,
    follow,
    log_pending,
    set_champion,
)
from tessera.platform.tracking.tracking_runs import ELSEWHERE
from tessera.platform.workspace import files
from tessera.platform.workspace.stores import open_store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, when read here


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Empty database, made once: its tables take longer than all tests."""
    store = tmp_path_factory.mktemp("fresh")
    (store / "runs").mkdir()
    write_record(store / "runs", "seed", profile="seed")
    log_pending(store / "runs", store / "mlflow")
    return store / "mlflow" / "mlflow.db"


@pytest.fixture
def store(fresh, tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    with (
        closing(sqlite3.connect(fresh)) as source,
        closing(sqlite3.connect(folder / "mlflow.db")) as target,
    ):
        source.backup(target)
    return folder


def write_record(folder: Path, stage: str, profile: str = "market", **more) -> Path:
    record = {
        "stage": stage,
        "profile": profile,
        "started": "2024-05-01T10:00:00+00:00",
        "seconds": 1.5,
        "params": {"seed": 7, "shape": {"width": 64}},
        "metrics": {"edges": 12.0},
        "artifacts": {},
    }
    path = folder / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | more))
    return path


def read(store: Path, profile: str = "market"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(profile)
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_record_becomes_a_finished_run(tmp_path, store):
    data = tmp_path / "data"
    (data / "training").mkdir(parents=True)
    (data / "training/hstu.csv").write_text("epoch,loss,ndcg\n1,3.5,\n2,2.5,0.1\n")
    (data / "verdict.json").write_text('{"decision": "HOLD"}')
    hashes = {"training": files.sha256(data / "training"), "verdict": "of another run"}
    write_record(data / "runs", "hstu", artifacts=hashes)

    assert log_pending(data / "runs", store) == 1

    client, (run,) = read(store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "hstu"
    assert run.info.end_time - run.info.start_time == 1500
    assert run.data.params == {"seed": "7", "shape.width": "64"}
    assert run.data.metrics["edges"] == 12.0
    assert run.data.tags["sha256.verdict"] == "of another run"
    curve = client.get_metric_history(run.info.run_id, "hstu.loss")
    assert [(point.step, point.value) for point in curve] == [(1, 3.5), (2, 2.5)]
    assert [found.path for found in client.list_artifacts(run.info.run_id)] == ["training"]
    assert (store / "mlartifacts/market" / run.info.run_id / "artifacts/training/hstu.csv").exists()


def test_files_of_runs_lie_in_an_object_store_where_one_is_named(
    store, tmp_path, bucket, monkeypatch
):
    monkeypatch.setenv(ELSEWHERE, f"{bucket}/mlflow/")
    data = tmp_path / "data"
    (data / "training").mkdir(parents=True)
    (data / "training/hstu.csv").write_text("epoch,loss,ndcg\n1,3.5,\n")
    hashes = {"training": files.sha256(data / "training")}
    write_record(data / "runs", "hstu", artifacts=hashes)
    assert log_pending(data / "runs", store) == 1
    (name,) = open_store(bucket, ELSEWHERE).below("mlflow/market").names()
    assert name.endswith("/artifacts/training/hstu.csv")
    assert not (store / "mlartifacts").exists()


def test_a_record_is_logged_once_and_again_when_it_changed(tmp_path, store):
    write_record(tmp_path / "runs", "graph")
    assert log_pending(tmp_path / "runs", store) == 1
    assert log_pending(tmp_path / "runs", store) == 0
    write_record(tmp_path / "runs", "graph", metrics={"edges": 13.0})
    write_record(tmp_path / "runs", "sid")
    assert log_pending(tmp_path / "runs", store) == 2
    assert len(read(store)[1]) == 3


def test_a_run_that_was_killed_half_way_is_logged_anew(tmp_path, store):
    path = write_record(tmp_path / "runs", "graph")
    client, _ = read(store)
    experiment = client.create_experiment("market")
    client.create_run(experiment, tags={"tessera.record": files.sha256(path)})
    assert log_pending(tmp_path / "runs", store) == 1
    assert [run.info.status for run in read(store)[1]] == ["FINISHED"]


def test_profiles_have_their_own_experiments(tmp_path, store):
    write_record(tmp_path / "a", "graph", profile="market")
    write_record(tmp_path / "b", "graph", profile="tie")
    log_pending(tmp_path / "a", store)
    log_pending(tmp_path / "b", store)
    assert len(read(store, "market")[1]) == len(read(store, "tie")[1]) == 1


def test_no_records_need_no_database(tmp_path):
    assert log_pending(tmp_path / "none", tmp_path / "store") == 0
    assert not (tmp_path / "store").exists()


def test_many_writers_at_the_same_time_log_each_record_once(tmp_path, store):
    for number in range(4):
        write_record(tmp_path / "runs", f"stage{number}")
    with ThreadPoolExecutor(4) as pool:
        logged = list(pool.map(lambda _: log_pending(tmp_path / "runs", store), range(4)))
    assert sum(logged) == 4
    assert sorted(run.info.run_name for run in read(store)[1]) == [f"stage{n}" for n in range(4)]


def test_with_nothing_new_mlflow_is_not_imported(tmp_path, store):
    write_record(tmp_path / "runs", "graph")
    log_pending(tmp_path / "runs", store)
    script = (
        "import sys; from pathlib import Path\n"
        "from tessera.platform.tracking.tracking import log_pending\n"
        f"assert log_pending(Path({str(tmp_path / 'runs')!r}), Path({str(store)!r})) == 0\n"
        "assert 'mlflow' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def make_bundle(folder: Path, content: str, **facts) -> Path:
    folder.mkdir(parents=True)
    (folder / "codes.json").write_text(content)
    seal(folder, {"kind": "model", "version": folder.name} | facts)
    return folder


def test_the_champion_follows_promoted_bundles(tmp_path, store):
    assert champion("market", store) is None
    first = make_bundle(tmp_path / "v1", "1", decision="PROMOTE")
    second = make_bundle(
        tmp_path / "v2", "2", decision="HOLD", override_reason="shown to the board"
    )
    assert set_champion("market", first, store) == "1"
    assert set_champion("market", second, store) == "2"
    assert champion("market", store) == "2"
    assert set_champion("market", first, store) == "1", "a rollback makes no new version"
    assert champion("market", store) == "1"
    assert champion("tie", store) is None

    from mlflow.tracking import MlflowClient

    client = MlflowClient(registry_uri=f"sqlite:///{store / 'mlflow.db'}")
    found = client.get_model_version_by_alias("tessera-market", "champion")
    assert found.tags["tessera.decision"] == "PROMOTE"
    assert found.source == first.as_uri()


def test_the_alias_follows_what_is_published_and_goes_where_there_is_no_model(tmp_path, store):
    model = make_bundle(tmp_path / "v1", "1", decision="PROMOTE")
    follow("market", model, store)
    sealed = json.loads((model / "manifest.json").read_text())
    assert champion_identity("market", store) == sealed["identity"]
    logging = make_bundle(tmp_path / "v0", "0", kind="logging")
    follow("market", logging, store)
    assert champion("market", store) is champion_identity("market", store) is None
    follow("market", model, store)
    assert champion("market", store) == "1"


def test_a_torn_database_holds_nothing_and_makes_room_for_a_new_one(tmp_path, capsys):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    (folder / "mlflow.db").write_text("this is no database, whatever its name says" * 9)
    assert champion_identity("market", folder) is None
    follow("market", make_bundle(tmp_path / "v1", "1", decision="PROMOTE"), folder)
    assert champion("market", folder) == "1"
    assert "it lies in mlflow.db.aside, MLflow begins anew" in capsys.readouterr().err
    assert (folder / "mlflow.db.aside").read_text().startswith("this is no database")


def test_a_folder_that_takes_nothing_is_one_line_of_ours(tmp_path):
    (tmp_path / "mlflow").write_text("a file where the folder should be")
    write_record(tmp_path / "runs", "graph")
    with pytest.raises(BrokenStore, match="cannot be used .*File exists") as told:
        log_pending(tmp_path / "runs", tmp_path / "mlflow")
    assert "\n" not in str(told.value)


def test_stages_of_one_pipeline_run_are_children_of_one_parent(tmp_path, store):
    data = tmp_path / "data"
    (data / "watch").mkdir(parents=True)
    (data / "watch" / "index.html").write_text("watched")
    (data / "validation").mkdir()
    (data / "validation" / "index.html").write_text("checked")
    (data / "verdict.html").write_text("judged")
    pages = {"verdict_page": files.sha256(data / "verdict.html")}
    watch = {"watch": files.sha256(data / "watch")}
    one = {"run": "run 2024-05-01T10:00", "inputs": {"events": "ab" * 32}}
    write_record(data / "runs", "ope", metrics={"lift": 0.2}, **one)
    write_record(data / "runs", "report", artifacts=pages, metrics={}, **one)
    write_record(data / "runs", "monitor", artifacts=watch, metrics={"drift": 0.1}, **one)
    write_record(data / "runs", "graph", run="scheduled__2024-05-02")
    log_pending(data / "runs", store)

    client, runs = read(store)
    named = {run.info.run_name: run for run in runs}
    parent = named["run 2024-05-01T10:00"]
    belongs = {name: run.data.tags.get("mlflow.parentRunId") for name, run in named.items()}
    assert belongs["ope"] == belongs["monitor"] == parent.info.run_id
    assert belongs["graph"] == named["scheduled__2024-05-02"].info.run_id
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"ope.lift": 0.2, "monitor.drift": 0.1}
    found = {found.path for found in client.list_artifacts(parent.info.run_id)}
    assert found == {"verdict.html", "watch", "validation"}
    (read_one,) = named["ope"].inputs.dataset_inputs
    assert (read_one.dataset.name, read_one.dataset.digest) == ("events", ("ab" * 32)[:36])
    assert read_one.dataset.source == json.dumps({"uri": (data / "events.parquet").as_uri()})
    assert log_pending(data / "runs", store) == 0


def test_a_page_of_another_run_is_not_shown_as_this_ones(tmp_path, store):
    data = tmp_path / "data"
    data.mkdir()
    (data / "verdict.html").write_text("judged later")
    write_record(data / "runs", "report", artifacts={"verdict_page": "of before"}, run="run 1")
    log_pending(data / "runs", store)
    client, runs = read(store)
    parent = next(run for run in runs if run.info.run_name == "run 1")
    assert client.list_artifacts(parent.info.run_id) == []


def test_registering_the_same_bundle_twice_gives_one_version(tmp_path, store):
    bundle = make_bundle(tmp_path / "v1", "1", decision="PROMOTE")
    assert set_champion("market", bundle, store) == set_champion("market", bundle, store) == "1"


@pytest.mark.parametrize("facts", [{}, {"decision": "HOLD"}, {"override_reason": ""}])
def test_a_bundle_without_evidence_cannot_be_champion(tmp_path, store, facts):
    bundle = make_bundle(tmp_path / "v1", "1", **facts)
    with pytest.raises(GateClosed, match="v1 has no PROMOTE verdict"):
        set_champion("market", bundle, store)
    assert champion("market", store) is None


def test_nothing_is_written_into_the_current_folder(tmp_path, store, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_record(tmp_path / "runs", "graph")
    log_pending(tmp_path / "runs", store)
    set_champion("market", make_bundle(tmp_path / "v1", "1", decision="PROMOTE"), store)
    assert list((tmp_path / "here").iterdir()) == []
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_is_read_without_mlflow_is_what_its_client_says(tmp_path, store):
    """The tables are MLflow's own: another version of it may change them."""
    write_record(tmp_path / "runs", "graph")
    log_pending(tmp_path / "runs", store)
    bundle = make_bundle(tmp_path / "v1", "1", decision="PROMOTE")
    set_champion("market", bundle, store)
    client, (run,) = read(store)
    assert peek.logged(store / "mlflow.db") >= {run.data.tags["tessera.record"]}
    named = client.get_model_version_by_alias("tessera-market", "champion")
    assert champion("market", store) == str(named.version)
    assert champion_identity("market", store) == named.tags["tessera.identity"]
    client.delete_run(run.info.run_id)
    client.delete_model_version("tessera-market", named.version)
    assert run.data.tags["tessera.record"] not in peek.logged(store / "mlflow.db")
    assert champion("market", store) is champion_identity("market", store) is None
    assert log_pending(tmp_path / "runs", store) == 1, "logged again"
    assert set_champion("market", bundle, store) == "2", "registered again"


def test_a_database_of_other_tables_is_no_reason_to_log_twice(tmp_path, store, monkeypatch):
    write_record(tmp_path / "runs", "graph")
    assert log_pending(tmp_path / "runs", store) == 1
    monkeypatch.setattr(peek, "_LOGGED", "SELECT value FROM renamed_tags WHERE key = ?")
    assert log_pending(tmp_path / "runs", store) == 0
    assert len(read(store)[1]) == 1
