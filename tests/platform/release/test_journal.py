"""A kill at any moment leaves a state that the next act completes or undoes."""

from __future__ import annotations

import pytest

from tessera.bundles.manifest import check
from tessera.contracts.errors import GateClosed
from tessera.platform.cli import doctor
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import acts, chain, journal, pointer, registry
from tessera.platform.release.history import history
from tessera.platform.workspace import files

PUBLISHING = {
    "before the copy": (registry.shutil, "copytree"),
    "after the copy": (registry, "commit"),
    "before the intent": (chain.Chain, "next_line"),
    "after the intent": (journal, "_finish"),
    "before the bundle has its name": (journal, "_name_bundle"),
    "before the pointer": (journal, "_name_bundle", "after"),
    "after the pointer": (journal, "_tell_mlflow"),
    "before the history": (chain.Chain, "append"),
    "between history and head": (chain.Chain, "write_head"),
    "before the intent goes": (journal, "_forget"),
}
UNDONE = ("before the copy", "after the copy", "before the intent")


def _whole(workspace, alias, version):
    """Pointer, alias and history agree on a version, and nothing is left over."""
    assert pointer.current_bundle(workspace).name == version
    last = [entry for entry in history(workspace) if entry["act"] != "hold"][-1]
    identity = check(workspace.registry / "bundles" / version)["identity"]
    assert (last["to"], last["identity"]) == (version, identity)
    assert alias[workspace.profile] == identity
    assert journal.state_fault(workspace) is None
    assert journal.unfinished(workspace) is None
    assert not list(workspace.registry.glob("bundles/.*"))
    assert not list(workspace.registry.glob(".*.json.*"))


@pytest.fixture
def second(workspace, make_candidate):
    """v1 is published, a candidate waits."""
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    return workspace


@pytest.mark.parametrize("moment", PUBLISHING)
def test_a_publication_killed_at_any_step_is_completed_or_undone(second, alias, killed, moment):
    assert killed(lambda: acts.promote(second), *PUBLISHING[moment])
    assert pointer.current_bundle(second).name in ("v1", "v2"), "a reader is always served"
    with journal.one_act(second):
        pass
    _whole(second, alias, "v1" if moment in UNDONE else "v2")
    assert acts.promote(second).version == "v2"
    _whole(second, alias, "v2")
    assert [entry["act"] for entry in history(second)] == ["bootstrap", "publish", "promote"]


@pytest.mark.parametrize("moment", [name for name in PUBLISHING if "copy" not in name])
def test_a_rollback_killed_at_any_step_is_completed_or_undone(second, alias, killed, moment):
    acts.promote(second)
    before = {path.name: check(path) for path in (second.registry / "bundles").iterdir()}
    assert killed(lambda: acts.rollback(second, None, "complaints"), *PUBLISHING[moment])
    with journal.one_act(second):
        pass
    _whole(second, alias, "v2" if moment in UNDONE else "v1")
    assert {p.name: check(p) for p in (second.registry / "bundles").iterdir()} == before


@pytest.mark.parametrize("moment", ["after the intent", "between history and head"])
def test_a_hold_killed_half_way_is_recorded_once(second, make_candidate, killed, moment):
    make_candidate(second, "HOLD", judged_against="v1", weight=3.0)
    assert killed(lambda: registry.publish(second, None, None), *PUBLISHING[moment])
    assert registry.publish(second, None, None).version == "v1"
    assert [entry["act"] for entry in history(second)] == ["bootstrap", "publish", "hold"]
    assert journal.state_fault(second) is None


@pytest.mark.parametrize(("when", "name"), [("instead", ".v2.making"), ("after", "v2")])
def test_an_interrupted_act_whose_bundle_broke_is_undone(second, alias, killed, when, name):
    assert killed(lambda: acts.promote(second), journal, "_name_bundle", when)
    (second.registry / "bundles" / name / "verdict.json").write_text("{}")
    with journal.one_act(second):
        pass
    _whole(second, alias, "v1")
    assert acts.promote(second).version == "v2"


def test_a_broken_history_is_not_repaired_over(second, killed):
    assert killed(lambda: acts.promote(second), chain.Chain, "append")
    path = second.registry / "history.jsonl"
    path.write_text(path.read_text().replace("planted PROMOTE", "praised PROMOTE"))
    with pytest.raises(journal.BrokenHistory, match="broken at entry 2"):
        acts.promote(second)


def test_without_mlflow_the_registry_is_the_truth_and_the_next_act_tells_it(
    second, alias, monkeypatch, capsys
):
    works = journal.tracking.follow

    def fails(*_args):
        raise OSError("unable to open database file")

    monkeypatch.setattr(journal.tracking, "follow", fails)
    assert acts.promote(second).version == "v2"
    assert "warning: MLflow's alias stays behind" in capsys.readouterr().err
    with pytest.raises(Exception, match="the next act sets it"):
        doctor._alias(second)
    assert pointer.current_bundle(second).name == "v2"
    monkeypatch.setattr(journal.tracking, "follow", works)
    with pytest.raises(GateClosed):
        acts.rollback(second, "v9", "no such version")
    _whole(second, alias, "v2")
    assert doctor._alias(second) == "names what is published"


def test_doctor_tells_of_an_interrupted_act_and_of_a_broken_chain(second, killed):
    assert doctor._history(second) == "2 acts, every hash matches"
    assert killed(lambda: acts.promote(second), chain.Chain, "append")
    with pytest.raises(Exception, match="the next one completes it"):
        doctor._history(second)
    (second.registry / "history.jsonl").write_text("")
    with pytest.raises(Exception, match="broken at entry 1"):
        doctor._history(second)


def test_after_a_rollback_a_candidate_judged_against_what_was_withdrawn_is_judged_again(
    workspace, make_candidate
):
    snapshot(workspace)
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    acts.promote(workspace)
    assert not snapshot(workspace), "a promotion alone does not move the pins"
    workspace.overrides.write_text("hstu:\n  epochs: 1\n")
    assert snapshot(workspace)
    acts.rollback(workspace, "v1", "complaints")
    assert snapshot(workspace)
    pinned = files.read_json(workspace.artifact("champion") / "champion.json")
    assert pinned["version"] == "v1"
    assert not snapshot(workspace)
