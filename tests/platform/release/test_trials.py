"""Canary and shadow begin and end by acts of the history; an ended canary stays ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tessera.contracts.errors import BrokenBundle
from tessera.platform.release import acts
from tessera.platform.release.history import history
from tessera.platform.release.journal import state_fault
from tessera.platform.release.pointer import current_version
from tessera.platform.release.trials import Trials
from tessera.serve.challengers import Challenger
from tessera.serve.params import ServeParams


@pytest.fixture
def two(workspace, make_candidate):
    """v1 is current, and another candidate waits."""
    make_candidate(workspace)
    acts.promote(workspace)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    return workspace


def trials(workspace, **params):
    return Trials(workspace, ServeParams(**params))


def tried(workspace):
    return [(one["act"], one["tried"]) for one in history(workspace) if "tried" in one]


def challenger(name, identity):
    return Challenger(Path(name), name, identity, lambda: None)


def test_a_version_and_the_candidate_are_found_and_checked_when_they_are_opened(two):
    found = trials(two, canary="candidate", canary_share=0.1, shadow="v1").challengers()
    assert found.share == 0.1
    assert (found.shadow.version, found.shadow.path.name) == ("v1", "v1")
    found.shadow.check()
    found.canary.check()
    identity = acts.proposal(two)["identity"]
    assert found.canary.version == f"candidate-{identity[:12]}"
    (found.canary.path / "policy.json").write_text("{}")
    with pytest.raises(BrokenBundle, match=r"policy.json does not match the manifest"):
        found.canary.check()
    assert trials(two).challengers().canary is None
    found = trials(two, canary="v1", shadow="v7").challengers()
    assert found.canary.version == "v1"
    assert (found.unfound["shadow"].name, found.shadow) == ("v7", None)
    assert "no version 'v7' was ever published: choose one of v0" in str(
        found.unfound["shadow"].error
    )


def test_that_there_is_no_candidate_is_one_line_that_says_what_to_do(two):
    shutil.rmtree(two.artifact("bundle"))
    found = trials(two, canary="candidate").challengers()
    assert (found.canary, found.unfound["canary"].name) == (None, "candidate")
    assert str(found.unfound["canary"].error) == (
        "profile market has no candidate now: run `tessera run --profile market`, or name a "
        "published version"
    )


def test_each_beginning_is_recorded_once_and_again_with_another_share(two):
    one, other = trials(two, canary_share=0.1), trials(two, canary_share=0.2)
    v2 = challenger("v2", "b" * 64)
    for _ in range(2):
        one.began("canary", v2)
        one.began("shadow", v2)
    other.began("canary", v2)
    other.began("canary", challenger("v2", "c" * 64))  # another bundle of that name
    acts = [("canary-begin", "v2"), ("shadow-begin", "v2"), *[("canary-begin", "v2")] * 2]
    assert tried(two) == acts
    begun = [one for one in history(two) if one["act"] == "canary-begin"]
    assert [one["share"] for one in begun] == [0.1, 0.2, 0.2]
    assert [one["tried_identity"][0] for one in begun] == ["b", "b", "c"]
    assert state_fault(two) is None
    assert current_version(two) == "v1"


def test_a_canary_ends_once_for_good_and_the_candidate_is_judged_as_before(two):
    found = trials(two, canary="candidate")
    canary = found.challengers().canary
    found.began("canary", canary)
    for _ in range(2):
        found.ended(canary, "it is dismissed too often")
    assert found.challengers().canary is None
    assert tried(two)[1:] == [("canary-end", canary.version)]
    assert history(two)[-1]["reason"] == "it is dismissed too often"
    assert state_fault(two) is None
    assert acts.promote(two).version == "v2"
    assert trials(two, canary="v2").challengers().canary is None  # the same bundle by another name


def test_an_end_is_of_a_bundle_and_not_of_its_name(two):
    found = trials(two, canary="v1")
    found.ended(challenger("v1", "b" * 64), "it was another one")
    assert found.challengers().canary.version == "v1"
