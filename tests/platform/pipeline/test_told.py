"""A scheduler's log says what a stage did and where to look."""

from __future__ import annotations

from tessera.platform.pipeline import task
from tessera.platform.pipeline.task import Order
from tessera.platform.pipeline.told import told
from tessera.platform.workspace import files


def _record(workspace, stage, **metrics):
    record = {"seconds": 2.5, "started": "2024-05-01T10:00:00.123+00:00", "metrics": metrics}
    files.write_json(record, workspace.records / f"{stage}.json")


def test_rows_metrics_and_the_page_are_told(workspace):
    _record(workspace, "ingest", rows_in=1200.0, rows_quarantined=11.0, items=60.0)
    assert told(workspace, "ingest") == [
        "ingest: 2.5 s, started 2024-05-01T10:00:00 UTC",
        "  1,200 rows in, 1,189 good, 11 quarantined",
        "  items 60",
    ], "a page that is not there is not named"
    page = workspace.validation / "index.html"
    page.parent.mkdir()
    page.write_text("<!doctype html>")
    assert told(workspace, "ingest")[-1] == f"  page: {page.as_uri()}"


def test_a_step_without_a_record_says_nothing(workspace):
    assert told(workspace, "snapshot") == []


def test_a_task_prints_it(workspace, monkeypatch, capsys):
    _record(workspace, "graph", edges=12.0)
    monkeypatch.setattr(task, "dvc", lambda *_, **__: 0)
    assert task.run_task(workspace, "graph", Order()) == 0
    assert "graph: 2.5 s" in capsys.readouterr().out
