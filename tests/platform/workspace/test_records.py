"""Every stage run knows its pipeline run and what it read, by whatever command it was started."""

from __future__ import annotations

from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.workspace import files
from tessera.platform.workspace.records import current_run, read_hashes


def test_the_snapshot_begins_a_run_of_its_own_or_the_schedulers(workspace, monkeypatch):
    assert current_run(workspace) is None
    snapshot(workspace)
    first = current_run(workspace)
    assert first.startswith("run 20")
    monkeypatch.setenv("TESSERA_RUN", "scheduled__2024-05-02")
    snapshot(workspace)
    assert current_run(workspace) == "scheduled__2024-05-02"


def test_what_a_stage_read_is_what_its_authors_wrote_down(tmp_path):
    files.write_json({"artifacts": {"events": "a", "items": "b"}}, tmp_path / "ingest.json")
    files.write_json({"artifacts": {"edges": "c"}}, tmp_path / "graph.json")
    assert read_hashes(tmp_path, ("edges", "events", "source")) == {"edges": "c", "events": "a"}
