"""Promote and roll back: by the verdict, or by a person with a name and a reason."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tessera.contracts.errors import BadParams, BrokenBundle, GateClosed
from tessera.platform.cli import cli_acts, summary
from tessera.platform.cli.cli import app
from tessera.platform.release import acts, pointer, registry
from tessera.platform.release.history import history
from tessera.platform.release.overrides import Override
from tessera.platform.workspace import files

GIVEN = Override("shown to the risk committee", "Ada")


@pytest.fixture
def two(workspace, make_candidate):
    """v0, v1 and v2 were published; v2 is current."""
    make_candidate(workspace)
    acts.promote(workspace)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    acts.promote(workspace)
    return workspace


def _files(workspace):
    return {path.name: files.sha256(path) for path in (workspace.registry / "bundles").iterdir()}


def test_promote_publishes_what_the_verdict_promotes(workspace, make_candidate, alias):
    make_candidate(workspace)
    done = acts.promote(workspace)
    assert (done.version, done.moved, done.decision) == ("v1", True, "PROMOTE")
    assert [entry["act"] for entry in history(workspace)] == ["bootstrap", "promote"]
    assert alias["market"] == history(workspace)[-1]["identity"]


@pytest.mark.parametrize("decision", ["HOLD", "REJECT", "INVALID"])
@pytest.mark.parametrize(
    "given", [None, Override(GIVEN.reason), Override(None, "Ada"), Override("", "Ada")]
)
def test_without_promote_reason_and_approver_are_both_needed(
    workspace, make_candidate, decision, given
):
    make_candidate(workspace, decision)
    with pytest.raises(GateClosed, match=f"verdict is {decision} .*--reason and --approver"):
        acts.promote(workspace, override=given)
    assert pointer.current_version(workspace) == "v0"
    assert [entry["act"] for entry in history(workspace)] == ["bootstrap"]


@pytest.mark.parametrize("decision", ["HOLD", "REJECT", "INVALID"])
def test_an_override_publishes_and_is_recorded_for_ever(workspace, make_candidate, decision):
    make_candidate(workspace, decision)
    assert acts.promote(workspace, override=GIVEN).version == "v1"
    entry = history(workspace)[-1]
    assert (entry["override_reason"], entry["approver"]) == (GIVEN.reason, "Ada")
    sealed = files.read_json(pointer.current_bundle(workspace) / "manifest.json")
    assert (sealed["override_reason"], sealed["approver"]) == (GIVEN.reason, "Ada")


@pytest.mark.parametrize(
    "given",
    [
        Override(" " * 20, "Ada"),
        Override("\u200b" * 20, "Ada"),
        Override("\u00a0\u3000\u2800\u3164" * 5, "Ada"),
        Override(". . . . . . . . . .", "Ada"),
        Override("nnnnnnnnnnnnnnnn", "Ada"),
        Override(GIVEN.reason, "   "),
        Override(GIVEN.reason, "\u200b\u200b\u200b"),
        Override(GIVEN.reason, "--"),
    ],
)
def test_blanks_are_neither_a_reason_nor_a_name(workspace, make_candidate, given):
    make_candidate(workspace, "HOLD")
    with pytest.raises(BadParams, match="in words|2 letters"):
        acts.promote(workspace, override=given)
    assert pointer.current_version(workspace) in (None, "v0")


def test_what_is_recorded_has_no_hidden_marks(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    acts.promote(
        workspace, override=Override(" shown to\u00a0the\u200b risk\ncommittee", "\ufeffAda ")
    )
    entry = history(workspace)[-1]
    assert (entry["override_reason"], entry["approver"]) == (GIVEN.reason, "Ada")


@pytest.mark.parametrize("given", [Override("short", "Ada"), Override("a real reason", "A")])
def test_a_reason_or_a_name_too_short_to_be_one_is_refused(workspace, make_candidate, given):
    make_candidate(workspace, "HOLD")
    with pytest.raises(BadParams):
        acts.promote(workspace, override=given)


def test_a_candidate_judged_against_another_champion_is_refused_even_with_a_reason(
    two, make_candidate
):
    make_candidate(two, judged_against="v1", weight=3.0)
    with pytest.raises(GateClosed, match="judged against v1 but v2 is published"):
        acts.promote(two, override=GIVEN)


def test_promoting_what_is_current_changes_nothing(two):
    before = history(two)
    assert acts.promote(two) == registry.Published("v2", False, "PROMOTE", "v2 is current already")
    assert acts.promote(two, "v2").moved is False
    assert history(two) == before


def test_another_bundle_than_the_approved_one_is_refused(workspace, make_candidate):
    make_candidate(workspace)
    approved = acts.proposal(workspace)["identity"]
    make_candidate(workspace, weight=2.0)
    with pytest.raises(GateClosed, match="not the one that was approved"):
        acts.promote(workspace, identity=approved)
    assert pointer.current_version(workspace) is None
    assert acts.promote(workspace, identity=acts.proposal(workspace)["identity"]).version == "v1"


def test_a_former_version_comes_back_only_with_a_reason_and_an_approver(two, alias):
    before = _files(two)
    with pytest.raises(GateClosed, match="not judged anew: .*--reason and --approver"):
        acts.promote(two, "v1")
    assert acts.promote(two, "v1", GIVEN).version == "v1"
    assert pointer.current_bundle(two).name == "v1"
    assert _files(two) == before, "byte for byte, and no new version"
    assert history(two)[-1]["override_reason"] == GIVEN.reason
    assert alias["market"] == history(two)[-1]["identity"]
    assert acts.rollback(two, None, "it was no better").version == "v2"


def test_a_version_never_published_is_refused_with_those_that_were(two):
    with pytest.raises(BadParams, match="choose one of v0, v1, v2"):
        acts.promote(two, "../../v1", GIVEN)


def test_a_candidate_that_was_rolled_back_does_not_come_back_by_itself(two):
    acts.rollback(two, None, "complaints of investors")
    with pytest.raises(GateClosed, match="tessera promote --version v2"):
        acts.promote(two)
    done = registry.publish(two, None, None)
    assert (done.version, done.moved) == ("v1", False), "nor through the pipeline"
    assert acts.promote(two, "v2", GIVEN).version == "v2"


def test_rollback_restores_the_version_before_byte_for_byte(two, alias):
    before = _files(two)
    done = acts.rollback(two, None, "complaints of investors", "Ada")
    assert (done.version, done.moved) == ("v1", True)
    assert pointer.current_bundle(two).name == "v1"
    assert _files(two) == before
    entry = history(two)[-1]
    assert (entry["act"], entry["from"], entry["to"]) == ("rollback", "v2", "v1")
    assert (entry["reason"], entry["approver"]) == ("complaints of investors", "Ada")
    assert alias["market"] == entry["identity"]


def test_rollbacks_go_on_backwards_to_the_logging_policy_and_no_further(two, alias):
    assert acts.rollback(two, None, "complaints").version == "v1"
    assert acts.rollback(two, None, "it was worse").version == "v0"
    assert alias["market"] is None, "a policy without a model is no registered champion"
    with pytest.raises(GateClosed, match="nothing to go back to: v0 is all"):
        acts.rollback(two, None, "it was the worst")


def test_rollback_to_a_named_version(two):
    assert acts.rollback(two, "v0", "complaints").version == "v0"
    with pytest.raises(GateClosed, match="nothing to go back to"):
        acts.rollback(two, "v2", "better after all")


@pytest.mark.parametrize("to", ["v2", "v7", "../v1"])
def test_rollback_to_what_does_not_lie_behind_is_refused(two, to):
    with pytest.raises(
        GateClosed, match="is not one of the versions before v2: choose one of v0, v1"
    ):
        acts.rollback(two, to, "complaints")


def test_rollback_with_nothing_published_is_refused(workspace):
    with pytest.raises(GateClosed, match="nothing to go back to: nothing is all"):
        acts.rollback(workspace, None, "complaints")


def test_a_rollback_needs_a_reason(two):
    with pytest.raises(BadParams, match="--reason"):
        acts.rollback(two, None, "  ")
    with pytest.raises(BadParams, match="in words"):
        acts.rollback(two, None, "\u200b" * 20)
    with pytest.raises(BadParams, match="2 letters"):
        acts.rollback(two, None, "complaints", "\u3164\u3164")
    assert pointer.current_version(two) == "v2"


@pytest.mark.parametrize("damage", ["changed", "missing", "swapped"])
def test_a_broken_target_is_refused_and_nothing_moves(two, damage):
    bundle, before = two.registry / "bundles" / "v1", history(two)
    if damage == "changed":
        (bundle / "model" / "config.json").write_text("{}")
    elif damage == "missing":
        files.remove(bundle)
    else:
        files.remove(bundle)
        (two.registry / "bundles" / "v2").rename(bundle)
    with pytest.raises(BrokenBundle) as no:
        acts.rollback(two, None, "complaints")
    assert "\n" not in str(no.value)
    assert pointer.current_version(two) == "v2"
    assert history(two) == before


def test_a_broken_current_version_can_be_left(two):
    (two.registry / "bundles" / "v2" / "model" / "config.json").write_text("{}")
    assert acts.rollback(two, None, "v2 is broken on the disk").version == "v1"


def test_the_summary_marks_what_is_published_against_its_verdict(workspace, make_candidate):
    def told():
        text = io.StringIO()
        summary._override(workspace, Console(file=text, width=200))
        return text.getvalue()

    make_candidate(workspace)
    acts.promote(workspace)
    assert told() == ""
    make_candidate(workspace, "REJECT", judged_against="v1", weight=2.0)
    acts.promote(workspace, override=GIVEN)
    assert "OVERRIDE v2 is published by override (Ada" in told()
    acts.rollback(workspace, None, "it was worse")
    assert told() == ""


def test_the_commands_say_one_line_each(two, monkeypatch):
    monkeypatch.setattr(cli_acts, "open_workspace", lambda profile: two)

    def call(*words):
        return CliRunner().invoke(app, words, catch_exceptions=False).output.strip()

    assert call("rollback", "--reason", "complaints") == (
        "rolled back to v1, every hash matches (complaints)"
    )
    words = ("promote", "--bundle", "v2", "--reason", GIVEN.reason, "--approver", "Ada")
    assert call(*words) == f"PROMOTE: published v2 (override: {GIVEN.reason})"
    assert call("promote", "--version=", "--reason=", "--approver=", "--identity=") == (
        "PROMOTE: v2 stays (v2 is current already)"
    )
    assert "OVERRIDE" in call("history")
    assert "6 entries, every hash matches" not in call("history")
    assert "5 entries, every hash matches" in call("history", "--verify")
    assert json.loads(call("verdict", "--json"))["decision"] == "PROMOTE"
    assert json.loads(call("verdict", "--json", "--version", "v1"))["needs_override"]


def test_a_version_that_is_current_again_is_nothing_to_go_back_to(two):
    acts.promote(two, "v1", GIVEN)
    with pytest.raises(GateClosed, match="choose one of v0, v2"):
        acts.rollback(two, "v1", "complaints")
    assert pointer.current_version(two) == "v1"
    assert acts.rollback(two, "v2", "complaints").version == "v2"
