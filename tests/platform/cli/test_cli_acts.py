"""What decides on publishing: without a reason and a name nothing is done."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "--reason", "          ", "--approver", "   "),
        ("promote", "--reason", "reviewed by the committee", "--approver", "  "),
        ("hold", "--reason", "  "),
        ("rollback", "--reason", "\u200b\u200b\u200b\u200b"),
    ],
)
def test_blanks_are_no_reason_and_no_approver(say, workspace, make_candidate, words):
    make_candidate(workspace, "INVALID")
    code, _, err = say(*words)
    assert code == 2
    assert "reason" in err or "name" in err
    assert not (workspace.registry / "current.json").exists()
