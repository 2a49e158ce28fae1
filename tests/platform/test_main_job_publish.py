"""An override covers what it was given for, and nothing else."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tessera.contracts.errors import BadParams
from tessera.platform.cli.cli import app
from tessera.platform.pipeline import main_job
from tessera.platform.pipeline.task import Order, run_task

STANDING = "gate:\n  override_reason: this source logs no exposures\n"


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setattr(main_job, "track", lambda workspace: None)


@pytest.mark.parametrize(
    ("decision", "version"), [("INVALID", "v1"), ("HOLD", "v0"), ("REJECT", "v0")]
)
def test_a_standing_override_covers_invalid_alone(workspace, make_candidate, decision, version):
    workspace.overrides.write_text(STANDING)
    make_candidate(workspace, decision)
    assert main_job.publish(workspace).version == version


def test_a_reason_given_with_the_act_covers_any_verdict(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    assert main_job.publish(workspace, "approved by the committee").version == "v1"


def test_a_reason_too_short_to_be_one_is_refused(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    with pytest.raises(BadParams, match="override_reason"):
        main_job.publish(workspace, "why not")


def test_a_standing_reason_of_blanks_is_refused(workspace, make_candidate):
    workspace.overrides.write_text('gate: {override_reason: "            "}\n')
    make_candidate(workspace, "INVALID")
    with pytest.raises(BadParams, match="override_reason: .*in words"):
        main_job.publish(workspace)


@pytest.mark.parametrize("blank", [" " * 20, "\u200b" * 20, "\u2800" * 20])
def test_a_reason_of_blanks_is_refused_before_any_stage_runs(workspace, monkeypatch, blank):
    monkeypatch.setattr(main_job, "repro", lambda *_: pytest.fail("a stage ran"))
    done = CliRunner().invoke(app, ["run", "--override-reason", blank])
    assert isinstance(done.exception, BadParams)
    order = Order(override_reason=blank)
    with pytest.raises(BadParams, match="in words"):
        run_task(workspace, "snapshot", order)
    with pytest.raises(BadParams, match="in words"):
        main_job.publish(workspace, blank)
