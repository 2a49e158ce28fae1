import pytest

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.pipeline import task
from tessera.platform.pipeline.main_job import Request
from tessera.platform.pipeline.task import Order, downstream, forced, run_task
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.paths import open_workspace
from tessera.platform.workspace.run_lock import take_run_lock


@pytest.fixture
def calls(monkeypatch):
    """Record what dvc is called with, instead of calling it."""
    seen = []

    def dvc(workspace, *arguments, extra=None):
        seen.append((arguments, extra))
        return 0

    monkeypatch.setattr(task, "dvc", dvc)
    return seen


def _run(workspace, name, run=None, **request):
    return run_task(workspace, name, Order(Request(**request), run=run))


def test_a_stage_is_run_alone_by_dvc(workspace, calls):
    assert _run(workspace, "graph") == 0
    ((arguments, _),) = calls
    assert arguments == (
        "--wait-for-lock",
        "repro",
        "--single-item",
        "--no-run-cache",
        "dvc.yaml:graph",
    )


def test_the_snapshot_renders_the_pipeline_and_hands_on_cut_and_data(root, calls, tmp_path):
    workspace = open_workspace("far-trans", root)
    _run(workspace, "snapshot", data=tmp_path, cut="2021-07-01")
    ((arguments, extra),) = calls
    assert arguments[-1] == "profiles/far-trans/dvc.yaml:snapshot"
    assert extra == {"TESSERA_SOURCE": str(tmp_path), "TESSERA_CUT": "2021-07-01"}
    assert "tessera snapshot --profile far-trans" in workspace.dvc_yaml.read_text()


def test_a_stage_that_the_source_has_not_is_skipped(root, calls):
    assert _run(open_workspace("far-trans", root), "synth") == task.SKIPPED
    assert calls == []


def test_an_unknown_step_is_one_line_that_lists_the_known_ones(workspace, calls):
    with pytest.raises(BadParams, match=r"no step 'grahp': choose one of snapshot, .*graph"):
        _run(workspace, "grahp")


def test_a_failed_stage_fails_the_task(workspace, monkeypatch):
    monkeypatch.setattr(task, "dvc", lambda *_, **__: 255)
    with pytest.raises(TesseraError, match="graph stopped"):
        _run(workspace, "graph")


def test_from_stage_forces_that_stage_and_those_after_it():
    request = Request(from_stage="hstu")
    chosen = {stage.name for stage in ALL_STAGES if forced(stage.name, request)}
    assert chosen == {"hstu", "evaluate", "ope", "report", "index", "monitor"}
    with pytest.raises(BadParams, match="no step 'nothing'"):
        downstream("nothing")


def test_force_forces_every_stage_but_never_the_snapshot(workspace, calls):
    _run(workspace, "graph", force=True)
    _run(workspace, "snapshot", force=True)
    (stage, _), (snapshot, _) = calls
    assert "--force" in stage
    assert "--force" not in snapshot


def test_a_step_of_a_run_that_lost_its_turn_stops_before_it_mixes_artifacts(workspace, calls):
    take_run_lock(workspace, "day-1", is_running=lambda _: True)
    _run(workspace, "graph", run="day-1")
    take_run_lock(workspace, "day-2", is_running=lambda _: False)
    for name in ("snapshot", "sid", "publish"):
        with pytest.raises(TesseraError, match="run day-2 has taken over data/market"):
            _run(workspace, name, run="day-1")
    assert len(calls) == 1


def test_a_step_by_hand_needs_no_turn(workspace, calls):
    take_run_lock(workspace, "day-1", is_running=lambda _: True)
    assert _run(workspace, "graph") == 0


def test_publish_hands_on_the_recorded_reason(workspace, make_candidate, monkeypatch, capsys):
    make_candidate(workspace, decision="HOLD")
    monkeypatch.setattr("tessera.platform.pipeline.main_job.track", lambda _: None)
    run_task(workspace, "publish", Order(override_reason="agreed with the product owner"))
    assert "HOLD: v1 is current (override: agreed" in capsys.readouterr().out
