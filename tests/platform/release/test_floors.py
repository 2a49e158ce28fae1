"""How loose the gate's params may be is pinned by the first run; only a recorded act moves it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.cli import cli_acts
from tessera.platform.cli.cli import app
from tessera.platform.release import acts, floors, pointer, registry
from tessera.platform.release.history import history
from tessera.platform.release.overrides import Override
from tessera.stages.ope.params import OpeParams

GIVEN = Override("the trial is small", "R. Officer")
LOOSE = {
    "alpha": 0.2, "margin": 1.0, "epsilon": 1.0, "min_ess": 1.0, "max_dropped": 1.0,
    "min_as_served": 0.0, "max_duplicates": 1.0, "max_z": 10.0, "max_share": 1.0,
    "max_dismissals_rise": 3.0,
    "max_roi_loss": 1.0, "max_gini": 1.0, "max_top_share": 1.0, "min_coverage": 0.0,
    "min_sid_capacity": 0.0, "max_sid_collisions": 1.0, "min_sid_use": 0.0,
    "min_sid_told_apart": 0.0, "min_sid_survival": 0.0, "max_calibration_error": 1.0,
    "max_mflops": 1e9, "permutations": 0,
}  # fmt: skip


def _params(workspace, **ope):
    lines = "".join(f"  {name}: {value}\n" for name, value in ope.items())
    workspace.overrides.write_text(f"ope:\n{lines}" if lines else "")


def test_every_param_of_the_gate_has_a_floor_or_a_reason_for_none():
    fields = set(OpeParams.model_fields)
    assert set(floors.FLOORS) | set(floors.FREE) == fields, (
        "say which side of a new one is stricter"
    )
    assert not set(floors.FLOORS) & set(floors.FREE)
    assert set(LOOSE) == set(floors.FLOORS)


CAN_BE_LOOSER = [name for name in sorted(LOOSE) if LOOSE[name] != floors.default(name)]
"""All but the one that asks for nothing until somebody moves its floor."""


def test_only_one_param_asks_for_nothing_by_default():
    assert set(LOOSE) - set(CAN_BE_LOOSER) == {"min_as_served"}


@pytest.mark.parametrize("name", CAN_BE_LOOSER)
def test_each_param_looser_than_its_floor_is_invalid_and_named(workspace, gate, name):
    _params(workspace, **{name: LOOSE[name]})
    verdict = gate.judge(workspace)
    assert verdict["decision"] == "INVALID"
    assert verdict["loosened"] == [
        f"ope.{name} {LOOSE[name]:g} is looser than the floor {floors.default(name):g}"
    ]


def test_uniform_slates_by_loose_params_are_not_published(workspace, gate):
    """A profile that is loose from its first run on brings no loose floors along."""
    _params(workspace, **LOOSE)
    gate.run(workspace, "ope")
    gate.run(workspace, "index")
    assert not registry.publish(workspace, None, None).moved
    assert pointer.current_version(workspace) in (None, "v0")
    assert history(workspace)[-1]["decision"] == "INVALID"


def test_the_committed_params_are_within_the_floors(workspace, gate):
    assert gate.judge(workspace)["decision"] == "PROMOTE"
    assert [entry["act"] for entry in history(workspace)] == ["floors"]
    assert history(workspace)[0]["floors"] == {name: floors.default(name) for name in floors.FLOORS}


def test_the_first_run_pins_what_is_stricter_than_the_defaults(workspace, gate):
    _params(workspace, min_ess=2000.0)
    gate.judge(workspace)
    _params(workspace)
    assert gate.judge(workspace)["loosened"] == ["ope.min_ess 1000 is looser than the floor 2000"]


def test_a_moved_floor_is_an_act_with_reason_and_approver(workspace, gate):
    _params(workspace, min_ess=50.0)
    acts.move_floors(workspace, ["min_ess=50", "ope.permutations=5"], GIVEN)
    assert gate.judge(workspace)["decision"] == "PROMOTE"
    entry = history(workspace)[-1]
    assert (entry["act"], entry["approver"]) == ("floors", "R. Officer")
    assert entry["reason"] == entry["override_reason"] == "the trial is small"
    assert floors.pinned(workspace)["permutations"] == 5
    assert floors.pinned(workspace)["alpha"] == 0.05, "the others stand where they stood"


@pytest.mark.parametrize(
    ("words", "given", "kind", "says"),
    [
        (["min_ess=50"], Override("the trial is small"), GateClosed, "needs --reason"),
        (["min_ess=50"], Override(approver="R. Officer"), GateClosed, "needs --reason"),
        (["caps=1"], GIVEN, BadParams, "ope.caps has no floor"),
        (["min_ess"], GIVEN, BadParams, "write it like"),
        (["alpha=0.9"], GIVEN, BadParams, "ope.alpha"),
        (["min_ess=1000"], GIVEN, GateClosed, "nothing was moved"),
    ],
)
def test_a_floor_is_not_moved_in_silence(workspace, words, given, kind, says):
    with pytest.raises(kind, match=says):
        acts.move_floors(workspace, words, given)
    assert history(workspace) == []


def test_a_reason_written_once_does_not_publish_loose_params(workspace, gate, monkeypatch):
    """A standing reason is for logs that cannot be judged, not for a gate that was loosened."""
    from tessera.platform.pipeline import main_job

    monkeypatch.setattr(main_job, "track", lambda workspace: None)
    workspace.overrides.write_text(
        "ope:\n  margin: 1.0\ngate:\n  override_reason: nothing was logged\n"
    )
    gate.run(workspace, "ope")
    gate.run(workspace, "index")
    assert not main_job.publish(workspace).moved


def test_the_command_shows_and_moves_floors(workspace, monkeypatch):
    monkeypatch.setattr(cli_acts, "open_workspace", lambda profile: workspace)
    shown = CliRunner().invoke(app, ["floors"])
    assert "ope.min_ess: at least 1000" in shown.output
    words = ["--set", "min_ess=50", "--reason", GIVEN.reason, "--approver", GIVEN.approver]
    moved = CliRunner().invoke(app, ["floors", *words])
    assert (moved.exit_code, "ope.min_ess: at least 50" in moved.output) == (0, True)
    assert "judge again" not in moved.output


def test_who_moves_a_floor_is_told_that_the_verdict_is_older(workspace, monkeypatch):
    """Nothing else that a stage reads has changed, so a plain run would keep it."""
    monkeypatch.setattr(cli_acts, "open_workspace", lambda profile: workspace)
    workspace.artifact("verdict").parent.mkdir(parents=True, exist_ok=True)
    workspace.artifact("verdict").write_text("{}")
    words = ["--set", "min_ess=50", "--reason", GIVEN.reason, "--approver", GIVEN.approver]
    moved = CliRunner().invoke(app, ["floors", *words])
    assert (
        f"judge again: tessera run --profile {workspace.profile} --from-stage ope" in moved.output
    )
    assert "judge again" not in CliRunner().invoke(app, ["floors"]).output
