"""With approval a PROMOTE waits for a person; whoever does not answer, or says no, holds it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.cli import cli_acts, summary
from tessera.platform.cli.cli import app
from tessera.platform.cli.history_table import show_history
from tessera.platform.pipeline import main_job, task
from tessera.platform.release import acts, pointer, registry
from tessera.platform.release.history import history
from tessera.platform.release.overrides import Override

ADA = Override(approver="Ada")


@pytest.fixture
def waiting(workspace, make_candidate):
    """v0 is current, and a candidate that the verdict promotes waits."""
    make_candidate(workspace, evidence={"candidate": "c1"})
    registry.publish(workspace, None, None, approval=True)
    return workspace


def _acts(workspace):
    return [entry["act"] for entry in history(workspace)]


def test_a_promote_waits_and_the_pointer_stays(waiting):
    assert pointer.current_version(waiting) == "v0"
    assert _acts(waiting) == ["bootstrap", "wait"]
    entry = history(waiting)[-1]
    assert (entry["from"], entry["to"], entry["decision"]) == ("v0", "v0", "PROMOTE")
    assert entry["reason"] == "waits for approval: planted PROMOTE"
    assert entry["candidate"] == "c1"


@pytest.mark.parametrize("approval", [True, False])
def test_it_goes_on_waiting_whatever_a_later_run_asks_for(waiting, approval):
    before = history(waiting)
    done = registry.publish(waiting, "a reason that is long enough", None, approval=approval)
    assert (done.version, done.moved) == ("v0", False)
    assert history(waiting) == before


def test_what_the_verdict_holds_does_not_wait_but_is_held(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    registry.publish(workspace, None, None, approval=True)
    assert _acts(workspace) == ["bootstrap", "hold"]


def test_an_approval_publishes_it_with_the_name_of_who_gave_it(waiting):
    with pytest.raises(GateClosed, match="needs approval: give --approver NAME"):
        acts.promote(waiting)
    assert acts.promote(waiting, override=ADA).version == "v1"
    entry = history(waiting)[-1]
    assert (entry["act"], entry["approver"], entry["override_reason"]) == ("promote", "Ada", None)
    assert not acts.proposal(waiting)["waits"]


def test_a_rejection_holds_it_for_good(waiting):
    done = acts.hold(waiting, "too near to the audit", "Eve")
    assert (done.version, done.moved) == ("v0", False)
    entry = history(waiting)[-1]
    assert (entry["act"], entry["approver"]) == ("hold", "Eve")
    assert entry["reason"] == "not approved: too near to the audit"
    assert not acts.proposal(waiting)["waits"]
    assert not registry.publish(waiting, "a reason that is long enough", None).moved
    with pytest.raises(GateClosed, match="needs approval"):
        acts.promote(waiting)
    assert acts.promote(waiting, override=ADA).version == "v1"


def test_where_nothing_waits_nothing_is_turned_down(waiting, make_candidate):
    shown = history(waiting)[-1]["identity"]
    make_candidate(waiting, weight=2.0)
    registry.publish(waiting, None, None, approval=True)
    acts.hold(waiting, "nobody answered", identity=shown)
    assert _acts(waiting) == ["bootstrap", "wait", "wait"], "another one was shown"
    acts.hold(waiting, "nobody answered")
    before = history(waiting)
    assert acts.hold(waiting, "nobody answered").reason == "no candidate waits for approval"
    assert history(waiting) == before
    with pytest.raises(BadParams, match="--reason"):
        acts.hold(waiting, " ")
    with pytest.raises(BadParams, match="2 letters"):
        acts.hold(waiting, "too near to the audit", "\u200b\u200b")


@pytest.mark.parametrize(("params", "form", "act"), [
    ("", False, "publish"), ("", True, "wait"),
    ("gate:\n  approval: true\n", False, "wait"),
])  # fmt: skip
def test_a_run_asks_nobody_unless_the_params_or_its_form_say_so(
    workspace, make_candidate, monkeypatch, params, form, act
):
    monkeypatch.setattr(main_job, "track", lambda workspace: None)
    workspace.overrides.write_text(params)
    make_candidate(workspace)
    assert task.run_task(workspace, "publish", task.Order(approval=form)) == 0
    assert _acts(workspace)[-1] == act


def test_where_the_params_ask_for_approval_no_promote_goes_without(workspace, make_candidate):
    """Also before the pipeline recorded that the candidate waits: `dvc repro` alone does not."""
    (workspace.root / "params.yaml").write_text("gate:\n  approval: true\n")
    make_candidate(workspace)
    with pytest.raises(GateClosed, match="needs approval: give --approver NAME"):
        acts.promote(workspace)
    assert acts.promote(workspace, override=Override(approver="an officer")).version == "v1"


def test_the_step_waiting_names_the_bundle_and_is_skipped_if_none_waits(waiting, capsys):
    assert task.run_task(waiting, "waiting", task.Order()) == 0
    assert capsys.readouterr().out.split()[-1] == history(waiting)[-1]["identity"]
    acts.promote(waiting, override=ADA)
    assert task.run_task(waiting, "waiting", task.Order()) == task.SKIPPED


def test_verdict_and_history_say_that_it_waits(waiting):
    for name in ("verdict", "seal"):
        path = waiting.artifact(name)
        path.write_bytes((waiting.artifact("bundle") / path.name).read_bytes())
    said = _said(waiting)
    assert "waits for approval: `tessera promote --approver NAME`" in said
    assert "waits for approval: planted" in said.split("reason")[-1]
    acts.promote(waiting, override=ADA)
    assert "`tessera promote --approver" not in _said(waiting)


def _said(workspace):
    told = Console(file=io.StringIO(), width=250)
    summary.show_verdict(workspace, told)
    show_history(workspace, verify=False, console=told)
    return told.file.getvalue()


def test_the_command_turns_down_what_waits(waiting, monkeypatch):
    monkeypatch.setattr(cli_acts, "open_workspace", lambda profile: waiting)
    done = CliRunner().invoke(app, ["hold", "--reason", "too near to the audit"])
    assert (done.exit_code, done.output.strip()) == (
        0,
        "PROMOTE: v0 stays (not approved: too near to the audit)",
    )
