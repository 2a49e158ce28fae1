"""Two workspaces run one pipeline: each takes what a step reads and gives what it wrote.

`dvc` is real; the stages are shell commands that count how often they ran.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.pipeline import exchange
from tessera.platform.pipeline.dvc import dvc, target
from tessera.platform.pipeline.dvc_files import entries
from tessera.platform.pipeline.exchange import open_exchange
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.paths import EXCHANGE, Workspace
from tessera.platform.workspace.run_lock import require_run_lock, take_run_lock
from tessera.platform.workspace.stores import open_store

PIPELINE = """
stages:
  snapshot:
    cmd: echo {run} > data/market/request.json
    outs: [data/market/request.json]
    always_changed: true
  synth:
    cmd: mkdir -p data/market/source && echo rows > data/market/source/a && echo x >> {counted}
    deps: [code]
    outs: [data/market/source]
  ingest:
    cmd: cat data/market/request.json data/market/source/a > data/market/events.parquet
    deps: [data/market/request.json, data/market/source, code]
    outs: [data/market/events.parquet]
"""
STAGES = ("synth", "ingest")


@dataclass(frozen=True)
class Place:
    """A workspace, and how often `synth` ran in any."""

    workspace: Workspace
    counted: Path

    def pin(self, request):
        text = PIPELINE.format(run=request, counted=self.counted)
        self.workspace.dvc_yaml.write_text(text)
        return self

    def step(self, name, run="run 1", *, killed=False):
        """Do a step as a worker does; one that is killed never gives what it wrote."""
        met = open_exchange(self.workspace, run)
        met.receive(name)
        assert dvc(self.workspace, "repro", "-q", "-s", target(self.workspace, name)) == 0
        record = self.workspace.records / f"{name}.json"
        record.parent.mkdir(exist_ok=True)
        record.write_text(json.dumps({"stage": name, "at": self.workspace.root.name}))
        if not killed:
            met.send(name)

    @property
    def met(self):
        return self.workspace.root.parent / "exchange"

    @property
    def events(self):
        return self.workspace.artifact("events").read_text()

    @property
    def runs(self):
        return len(self.counted.read_text().split())


@pytest.fixture
def places(tmp_path, repository, monkeypatch):
    """Three workspaces that share the exchange alone."""
    monkeypatch.setenv(EXCHANGE, str(tmp_path / "exchange"))
    monkeypatch.setattr(exchange, "stages", lambda _: ALL_STAGES[: len(STAGES)])
    (tmp_path / "exchange").mkdir()

    def make(name):
        root = tmp_path / name
        (root / ".dvc").mkdir(parents=True)
        (root / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  analytics = false\n")
        (root / "data" / "market").mkdir(parents=True)
        shutil.copytree(repository / "profiles", root / "profiles")
        shutil.copy(repository / "params.yaml", root)
        (root / "code").write_text("one commit")
        return Place(Workspace(root, "market"), tmp_path / "counted").pin("first")

    return make("one"), make("two"), make("three")


def test_a_run_passes_from_workspace_to_workspace_and_ends_whole(places):
    """Snapshot and ingest here, synth there; in the next run nothing that stands runs again."""
    one, two, three = places
    one.step("snapshot")
    two.step("synth")
    one.step("ingest")
    assert one.events == "first\nrows\n"
    open_exchange(one.workspace, "run 1").receive("publish")
    assert set(entries(one.workspace)) == {"snapshot", *STAGES}
    told = json.loads((one.workspace.records / "synth.json").read_text())
    assert told == {"stage": "synth", "at": "two"}, "what the runner keeps comes along"
    one.pin("second").step("snapshot", "run 2")
    three.step("synth", "run 2")
    two.pin("second").step("ingest", "run 2")
    assert two.events == "second\nrows\n"
    assert one.runs == 1, "what two had made was at hand for three, and had not changed"
    assert [path.name for path in (one.met / "market").glob("*/")] == ["run%202"]


def test_an_object_store_is_an_exchange_too(places, bucket, monkeypatch):
    """As above, with real dvc on the other side of HTTP; pieces of the first run go."""
    monkeypatch.setenv(EXCHANGE, f"{bucket}/team")
    one, two, _ = places
    one.step("snapshot")
    two.step("synth")
    one.step("ingest")
    assert one.events == "first\nrows\n"
    one.pin("second").step("snapshot", "run 2")
    met = open_store(f"{bucket}/team/market", EXCHANGE)
    assert met.names() == [f"run%202/{step}.json" for step in ("ingest", "snapshot", "synth")]


def test_a_worker_that_is_killed_before_it_gives_leaves_its_stage_to_the_other(places):
    one, two, _ = places
    one.step("snapshot")
    two.step("synth", killed=True)
    with pytest.raises(TesseraError, match="no worker left what synth wrote .*clear the run from"):
        one.step("ingest")
    one.step("synth")
    two.step("ingest")
    two.step("ingest")  # given, but Airflow did not hear of it
    assert two.events == "first\nrows\n"
    assert one.runs == 2


def test_another_commit_in_a_workspace_is_refused_before_anything_is_mixed(places):
    one, two, _ = places
    one.step("snapshot")
    two.step("synth")
    (one.workspace.root / "code").write_text("another commit")
    one.step("ingest")
    met = open_exchange(one.workspace, "run 1")
    with pytest.raises(TesseraError, match=r"code was another for synth .*two\) than for ingest"):
        met.receive("publish")


def test_an_artifact_that_is_gone_from_the_exchange_is_one_line(places):
    one, two, _ = places
    one.step("snapshot")
    two.step("synth")
    shutil.rmtree(one.met / "cache")
    with pytest.raises(TesseraError, match="an artifact that ingest reads is not in .*cache"):
        one.step("ingest")


def test_an_exchange_that_takes_no_artifacts_gets_no_piece_either(places):
    one, *_ = places
    (one.met / "cache").write_text("no folder")
    with pytest.raises(TesseraError, match="cache takes no artifacts"):
        one.step("snapshot")
    assert not list(one.met.rglob("*.json"))


def test_a_machine_that_works_alone_has_no_exchange_and_a_folder_that_is_none_is_one_line(
    workspace, monkeypatch, tmp_path
):
    monkeypatch.delenv(EXCHANGE, raising=False)
    assert open_exchange(workspace, "run 1") is None
    monkeypatch.setenv(EXCHANGE, str(tmp_path / "nowhere"))
    with pytest.raises(BadParams, match="TESSERA_EXCHANGE: .*nowhere cannot be written .*mount it"):
        open_exchange(workspace, "run 1")
    monkeypatch.setenv(EXCHANGE, str(tmp_path))
    with pytest.raises(BadParams, match="set TESSERA_RUN"):
        open_exchange(workspace, None)


@pytest.mark.parametrize("kind", ["folder", "object store"])
def test_a_run_that_lost_the_profile_is_refused_in_every_workspace(
    places, kind, request, monkeypatch
):
    if kind == "object store":
        monkeypatch.setenv(EXCHANGE, request.getfixturevalue("bucket"))
    one, two, _ = places
    assert take_run_lock(one.workspace, "run 1", lambda _: False)
    require_run_lock(two.workspace, "run 1")
    with pytest.raises(TesseraError, match="run run 1 has taken over"):
        require_run_lock(two.workspace, "run 0")
