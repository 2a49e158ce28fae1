"""Whatever a library raises, a person reads one line of ours that names file and remedy.

Each place that calls a library is called with a fault planted into the library behind it.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import duckdb
import faiss
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import yaml
from ibis.common.exceptions import IbisError

from tessera.bundles import vectors
from tessera.contracts.errors import (
    BadInput,
    BadParams,
    BrokenBundle,
    BrokenStore,
    StageFailed,
    TesseraError,
    Unreadable,
)
from tessera.contracts.library_errors import first_line, translate_errors
from tessera.model.trunk import saved
from tessera.platform.cli import cli, ui
from tessera.platform.pipeline import dvc, runner
from tessera.platform.tracking import tracking
from tessera.platform.watching import codes
from tessera.platform.workspace import files, params
from tessera.platform.workspace.catalogue import find, stages
from tessera.serve import ranker, recommend
from tessera.stages.monitor import spec

PAGES = "no column `ts` in orders.csv\n\nDid you mean `day`?\n  at line 3\n"


def _raises(error):
    def call(*_args, **_options):
        raise error

    return call


def _stage(workspace, error, monkeypatch):
    """Run a stage whose library fails."""
    for pinned in ("source", "served"):
        workspace.artifact(pinned).mkdir(parents=True)
    files.write_json({"cut": None}, workspace.artifact("request"))
    read = params.load_params(workspace)
    real = runner.importlib.import_module
    mine = {"tessera.stages.ingest.stage": SimpleNamespace(run=_raises(error))}
    monkeypatch.setattr(
        runner.importlib,
        "import_module",
        lambda name, *more: mine[name] if name in mine else real(name, *more),
    )
    runner.run_stage(find("ingest", stages("market")), workspace, read)


def _torn_table(workspace, monkeypatch):
    path = workspace.artifact("events")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")
    names = {"users": "user_id", "split": None}
    for name, column in names.items():
        if column:
            pq.write_table(pa.table({column: ["u"]}), workspace.artifact(name))
        else:
            files.write_json({}, workspace.artifact(name))
    runner.run_stage(find("causal", stages("market")), workspace, params.load_params(workspace))


def _json(workspace, monkeypatch):
    path = workspace.data / "metrics" / "graph.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"edges": 1')
    files.read_json(path)


def _not_utf8(workspace, monkeypatch):
    workspace.overrides.write_bytes(b"hstu:\n  epochs: \xff\n")
    params.load_params(workspace)


def _watch_not_utf8(workspace, monkeypatch):
    path = workspace.root / "monitoring" / "watch.yaml"
    path.write_bytes(b"reference_days: \xff\n")
    spec.load_watch(path)


def _yaml(workspace, monkeypatch):
    params._sections.cache_clear()  # read before by another test
    monkeypatch.setattr(params.files, "parse_yaml", _raises(yaml.YAMLError(PAGES)))
    params.load_params(workspace)


def _faiss(workspace, monkeypatch):
    monkeypatch.setattr(faiss, "read_index", _raises(RuntimeError(PAGES)))
    workspace.data.mkdir(parents=True)
    (workspace.data / "vectors.json").write_text("[]")
    vectors.Search.open(workspace.data)


def _codes(workspace, monkeypatch):
    workspace.data.mkdir(parents=True)
    (workspace.data / "trie.json").write_text("[]")
    (workspace.data / "trie.safetensors").write_bytes(b"torn")
    codes.read_codes(workspace.data)


def _weights(workspace, monkeypatch):
    monkeypatch.setattr(saved, "load_file", _raises(safetensors.SafetensorError(PAGES)))
    workspace.data.mkdir(parents=True)
    for name in ("config.json", "items.json"):
        (workspace.data / name).write_text("{}")
    saved.load_model(workspace.data)


def _arrow(workspace, monkeypatch):
    monkeypatch.setattr(recommend.pq, "read_table", _raises(pa.ArrowInvalid(PAGES)))
    recommend.Recommender.open(workspace.data)


def _facts(workspace, monkeypatch):
    monkeypatch.setattr(ranker, "has_facts", lambda _: True)
    monkeypatch.setattr(ranker, "open_facts", _raises(duckdb.IOException(PAGES)))
    ranker.open_ranker(workspace.data)


def _mlflow(error):
    def call(workspace, monkeypatch):
        monkeypatch.setattr(tracking, "_opened", _raises(error))
        with tracking._client(workspace.tracking):
            pass

    return call


def _dvc(workspace, monkeypatch):
    monkeypatch.setattr(dvc.subprocess, "run", _raises(PermissionError(13, "Permission denied")))
    dvc.dvc(workspace, "repro")


def _airflow(workspace, monkeypatch):
    monkeypatch.setattr(ui.processes, "start", _raises(FileNotFoundError(2, "No such file")))
    workspace.data.mkdir(parents=True)
    (workspace.data / "logs").mkdir()
    ui._start("airflow", ("scheduler",), {}, workspace.data, [])


def _of(error):
    return lambda workspace, monkeypatch: _stage(workspace, error, monkeypatch)


DOORS = {
    "duckdb in a stage": (_of(duckdb.BinderException(PAGES)), StageFailed, "ingest: duckdb says"),
    "ibis in a stage": (_of(IbisError(PAGES)), StageFailed, "ingest: ibis says 'no column `ts`"),
    "arrow in a stage": (_of(pa.ArrowInvalid(PAGES)), StageFailed, "ingest: pyarrow says"),
    "a full disk": (_of(OSError(28, "No space left")), TesseraError, "no space left .* free some"),
    "no memory": (_of(MemoryError()), StageFailed, "ingest: .* says 'MemoryError'"),
    "a torn table": (_torn_table, BadInput, r"causal: data/market/events\.parquet cannot be read"),
    "a torn JSON": (_json, Unreadable, r"metrics/graph\.json is no JSON .*run again what writes"),
    "a profile in another encoding": (_not_utf8, BadParams, r"market\.yaml is not UTF-8.*save it"),
    "a watch in another encoding": (_watch_not_utf8, BadParams, r"watch\.yaml is not UTF-8"),
    "YAML": (_yaml, BadParams, r"params\.yaml is not YAML: no column"),
    "FAISS": (_faiss, BrokenBundle, "its vectors cannot be read: .*publish it again"),
    "codes of a bundle": (_codes, BrokenBundle, "its codes cannot be read: .*publish it again"),
    "weights": (_weights, BrokenBundle, "is no sequence model .*publish it again"),
    "tables of a bundle": (_arrow, BrokenBundle, "its tables cannot be read: pyarrow says"),
    "facts of a bundle": (_facts, BrokenBundle, "its ranking head cannot be read .*publish it"),
    "MLflow": (_mlflow(RuntimeError(PAGES)), BrokenStore, "cannot be used .*doctor --repair"),
    "SQLite": (
        _mlflow(sqlite3.OperationalError("database is locked")),
        BrokenStore,
        "end the program that holds it",
    ),
    "dvc": (_dvc, TesseraError, "dvc cannot be started: .*Permission denied.*make install"),
    "Airflow": (_airflow, TesseraError, "airflow cannot be started: .*make install"),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_fault_behind_the_door_is_one_line_of_ours(name, workspace, monkeypatch):
    call, kind, says = DOORS[name]
    with pytest.raises(kind, match=says) as told:
        call(workspace, monkeypatch)
    assert isinstance(told.value, TesseraError)
    assert told.value.__cause__ is not None, "--debug shows what the library said"
    assert "\n" not in str(told.value)
    assert "Did you mean" not in str(told.value) or name in ("YAML", "MLflow")


def test_what_is_ours_already_passes_as_it_is():
    mine = BadInput("orders.csv: no column day: map it")
    with pytest.raises(BadInput) as told, translate_errors(StageFailed, "ingest", "mend that"):
        raise mine
    assert told.value is mine


def test_a_library_that_says_nothing_is_named_by_its_error():
    assert first_line(RuntimeError("")) == "RuntimeError"
    assert first_line(RuntimeError("\n\n  torn \n page")) == "torn"


def test_even_what_nobody_foresaw_is_one_line_and_no_traceback(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", _raises(duckdb.IOException(PAGES)))
    monkeypatch.setattr(sys, "argv", ["tessera", "history"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    told = capsys.readouterr().err
    assert told.startswith("error: duckdb says IOException 'no column")
    assert told.count("\n") == 1


@pytest.mark.parametrize("words", [("history",), ("verdict",), ("-h",), ("--version",)])
def test_what_only_reads_a_verdict_imports_nothing_heavy(workspace, words):
    """Each of these costs seconds and hundreds of megabytes."""
    heavy = ("torch", "ibis", "pyarrow", "numpy", "pandas", "mlflow", "duckdb", "matplotlib")
    code = (
        "import sys; from tessera.platform.cli import cli\n"
        f"sys.argv = ['tessera', *{words!r}]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"sys.exit(' '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": "/usr/bin",
            "TESSERA_ROOT": str(workspace.root),
            "PYTHONPATH": ":".join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
