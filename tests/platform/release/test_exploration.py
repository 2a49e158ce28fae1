"""Exploration is stopped and let go on by acts; a publication does not let it go on."""

from __future__ import annotations

import pytest

from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.release import acts, exploration, retraining
from tessera.platform.release.history import history, moves
from tessera.platform.release.journal import state_fault
from tessera.platform.release.trials import Trials
from tessera.serve.params import ServeParams

WHY = "the log cannot be trusted"


def test_it_stops_once_and_a_person_lets_it_go_on(workspace, make_candidate):
    registry = Trials(workspace, ServeParams())
    assert registry.explores()
    assert exploration.stop(workspace, WHY)
    assert not exploration.stop(workspace, WHY)
    make_candidate(workspace)
    acts.promote(workspace)
    assert not registry.explores()
    exploration.resume(workspace, "the log was mended", "A. Rossi")
    assert registry.explores()
    told = [(one["act"], one["to"], one.get("approver")) for one in history(workspace)]
    assert told[0] == ("explore-stop", None, None)
    assert told[-1] == ("explore-resume", "v1", "A. Rossi")
    assert [one["act"] for one in moves(history(workspace))] == ["bootstrap", "promote"]
    assert state_fault(workspace) is None


def test_it_takes_a_reason_and_a_person(workspace):
    with pytest.raises(BadParams, match="a reason must be given in words"):
        exploration.stop(workspace, "")
    with pytest.raises(GateClosed, match="exploration is not stopped"):
        exploration.resume(workspace, WHY, "A. Rossi")
    exploration.stop(workspace, WHY)
    with pytest.raises(BadParams, match="a name has at least 2 letters"):
        exploration.resume(workspace, WHY, "-")
    assert not exploration.explores(workspace)


def test_that_training_is_asked_for_moves_nothing(workspace, make_candidate):
    make_candidate(workspace)
    acts.promote(workspace)
    retraining.ask(workspace, "alarm 2025-01-02-abcdef01: drift of investors")
    (asked,) = retraining.asked(workspace)
    assert (asked["from"], asked["to"]) == ("v1", "v1")
    assert state_fault(workspace) is None
