"""A stage is seen whole or not at all."""

from __future__ import annotations

import errno
import types
from dataclasses import replace

import pyarrow as pa
import pytest
from pydantic import BaseModel

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.errors import BadInput, LostRows, StageFailed, TesseraError
from tessera.contracts.tables import EFFECTS, QUARANTINE
from tessera.platform.pipeline import runner
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage

STAGE = Stage("made_up", ("request",), ("effects", "sid_health"), "a stage for tests")
GOOD = {
    "cause_id": "a", "effect_id": "b", "effect": 0.1, "stderr": 0.01,
    "false_sign_rate": 0.01, "low": 0.0, "high": 0.2, "support": 3,
}  # fmt: skip


class Params(BaseModel):
    pass


PARAMS = {"made_up": Params()}


def _door(monkeypatch, body):
    def run(*, request, effects, sid_health, params):
        return body(request, effects, sid_health)

    real = runner.importlib.import_module
    fake = types.SimpleNamespace(run=run)
    monkeypatch.setattr(
        runner.importlib,
        "import_module",
        lambda name: fake if name == STAGE.entry_point else real(name),
    )


def _write(_request, effects, sid_health, rows=(GOOD,)):
    write_table(pa.Table.from_pylist(list(rows), schema(EFFECTS)), EFFECTS, effects)
    sid_health.write_text("{}")
    return {"rows": float(len(rows))}


@pytest.fixture
def asked(workspace):
    files.write_json({"cut": None}, workspace.artifact("request"))
    return workspace


def test_what_a_stage_wrote_is_validated_recorded_and_shown(asked, monkeypatch):
    _door(monkeypatch, _write)
    assert runner.run_stage(STAGE, asked, PARAMS) == {"rows": 1.0}
    record = files.read_json(asked.records / "made_up.json")
    assert record["artifacts"]["effects"] == files.sha256(asked.artifact("effects"))
    assert files.read_json(asked.metrics("made_up")) == {"rows": 1.0}


def test_a_missing_input_names_the_remedy(workspace, monkeypatch):
    _door(monkeypatch, _write)
    with pytest.raises(BadInput, match="request.json is missing: run"):
        runner.run_stage(STAGE, workspace, PARAMS)


def test_a_table_that_fails_its_suite_stays_unseen(asked, monkeypatch):
    _door(monkeypatch, lambda *paths: _write(*paths, rows=(GOOD, GOOD)))
    with pytest.raises(TesseraError, match="effects"):
        runner.run_stage(STAGE, asked, PARAMS)
    assert not asked.artifact("effects").exists()
    assert not asked.artifact("sid_health").exists()


def test_a_failing_stage_keeps_the_old_outputs_whole(asked, monkeypatch):
    _door(monkeypatch, _write)
    runner.run_stage(STAGE, asked, PARAMS)
    before = files.sha256(asked.artifact("effects"))

    def half(request, effects, sid_health):
        _write(request, effects, sid_health)
        raise ValueError("in the middle")

    _door(monkeypatch, half)
    with pytest.raises(StageFailed, match="made_up: .*in the middle"):
        runner.run_stage(STAGE, asked, PARAMS)
    assert files.sha256(asked.artifact("effects")) == before
    assert not (asked.data / ".staging" / "made_up").exists()


def test_no_space_is_one_line_and_leaves_nothing(asked, monkeypatch):
    def full(_request, effects, _sid_health):
        effects.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    _door(monkeypatch, full)
    with pytest.raises(TesseraError, match="no space left.*free some"):
        runner.run_stage(STAGE, asked, PARAMS)
    assert not asked.artifact("effects").exists()
    assert not (asked.data / ".staging" / "made_up").exists()


def test_a_stage_that_forgets_an_output_is_refused(asked, monkeypatch):
    _door(monkeypatch, lambda *_: {})
    with pytest.raises(TesseraError, match="did not write effects"):
        runner.run_stage(STAGE, asked, PARAMS)


def test_of_several_processes_one_writes(asked, monkeypatch):
    _door(monkeypatch, _write)
    stage = replace(STAGE, parallel=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert runner.run_stage(stage, asked, PARAMS) == {"rows": 1.0}
    assert not asked.artifact("effects").exists()
    assert not (asked.records / "made_up.json").exists()
    monkeypatch.setenv("RANK", "0")
    runner.run_stage(stage, asked, PARAMS)
    assert asked.artifact("effects").exists()


def test_a_machine_that_only_helped_keeps_no_checkpoint(asked, monkeypatch):
    _door(monkeypatch, _write)
    kept = asked.data / ".scratch" / "made_up" / "code" / "hstu.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank, local, is_left in (("1", "1", True), ("2", "0", False)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", local)
        runner.run_stage(replace(STAGE, parallel=True), asked, PARAMS)
        assert kept.exists() == is_left


@pytest.mark.parametrize("left_over", ["1", ""])
def test_a_rank_without_a_world_means_nothing(asked, monkeypatch, left_over):
    _door(monkeypatch, _write)
    monkeypatch.setenv("RANK", left_over)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    runner.run_stage(STAGE, asked, PARAMS)
    assert asked.artifact("effects").exists()


def test_a_stage_for_one_process_refuses_several(asked, monkeypatch):
    _door(monkeypatch, _write)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TesseraError, match="one process: start it without torchrun"):
        runner.run_stage(STAGE, asked, PARAMS)
    assert not asked.artifact("effects").exists()


INGEST = Stage("made_up", ("request",), ("quarantine",), "a stage that sets rows aside")
ASIDE = {"table": "events", "source_file": "a.csv", "source_row": 3, "reason": "x: wrong",
         "row": '{"x": "one, \\n two"}'}  # fmt: skip


def _opens(monkeypatch, run):
    real, entry_point = runner.importlib.import_module, types.SimpleNamespace(run=run)
    monkeypatch.setattr(
        runner.importlib,
        "import_module",
        lambda name: entry_point if name == INGEST.entry_point else real(name),
    )


def _aside(path, rows):
    write_table(pa.Table.from_pylist(rows, schema(QUARANTINE)), QUARANTINE, path)


def test_what_a_stopped_ingest_set_aside_is_kept_and_shown(asked, monkeypatch, capsys):
    counts = {"events_in": 5.0, "events_good": 4.0, "events_quarantined": 1.0,
              "rows_quarantined": 1.0, "coverage_events_users": 0.25}  # fmt: skip

    def stops(*, request, quarantine, params):
        del request, params
        _aside(quarantine, [ASIDE])
        error = LostRows("events: too many")
        error.metrics = counts
        raise error

    _opens(monkeypatch, stops)
    with pytest.raises(LostRows, match=r"every row set aside stands in data/.*quarantine\.csv"):
        runner.run_stage(INGEST, asked, PARAMS)
    kept = asked.data / "refused" / "quarantine.csv"
    assert "x: wrong" in kept.read_text()
    assert not asked.artifact("quarantine").exists(), "nothing of the run is visible"
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 x: wrong" in printed
    assert "events in users 25.00 %" in printed

    def ends(*, request, quarantine, params):
        del request, params
        _aside(quarantine, [ASIDE])
        return counts

    _opens(monkeypatch, ends)
    runner.run_stage(INGEST, asked, PARAMS)
    assert not kept.exists(), "it is of the past"
    assert "1 x: wrong" in capsys.readouterr().out
