"""Every act leaves one line for ever, and whoever touches a line is found out."""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from tessera.contracts.errors import BrokenHistory
from tessera.platform.cli.history_table import show_history
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import acts, history, pointer, registry
from tessera.platform.release.journal import one_act, state_fault
from tessera.platform.release.overrides import Override
from tessera.platform.workspace import files

WHY = "shown to the risk committee"


@pytest.fixture
def lived(workspace, make_candidate):
    """A registry with four acts: v0, v1, v2 by override, back to v1."""
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, "HOLD", judged_against="v1", weight=2.0)
    acts.promote(workspace, override=Override(WHY, "Ada"))
    acts.rollback(workspace, None, "complaints of investors")
    return workspace


def _lines(workspace):
    return (workspace.registry / "history.jsonl").read_text().splitlines()


def _write(workspace, lines):
    (workspace.registry / "history.jsonl").write_text("".join(line + "\n" for line in lines))


def _edited(line, **facts):
    return json.dumps({**json.loads(line), **facts})


def _shown(workspace, verify=False):
    text = io.StringIO()
    show_history(workspace, verify, Console(file=text, width=250))
    return text.getvalue()


def test_each_line_holds_the_hash_of_the_line_before(lived):
    lines = _lines(lived)
    assert len(lines) == 4
    previous = [json.loads(line)["previous"] for line in lines]
    assert previous == ["0" * 64] + [hashlib.sha256(x.encode()).hexdigest() for x in lines[:-1]]
    assert history.chain(lived).head()["sha256"] == hashlib.sha256(lines[-1].encode()).hexdigest()
    assert state_fault(lived) is None


def test_an_entry_says_who_when_what_from_where_to_where_and_on_what_evidence(lived):
    entry = history.history(lived)[2]
    verdict = lived.registry / "bundles" / "v2" / "verdict.json"
    told = {name: entry[name] for name in ("act", "from", "to", "decision", "approver")}
    assert told == {
        "act": "promote", "from": "v1", "to": "v2", "decision": "HOLD", "approver": "Ada"
    }  # fmt: skip
    assert entry["verdict_sha256"] == files.sha256(verdict)
    assert entry["identity"] == files.read_json(verdict.with_name("manifest.json"))["identity"]
    assert entry["override_reason"] == WHY
    assert entry["at"].endswith("+00:00")
    assert entry["who"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_changed_entry_is_found_and_refuses_further_acts(lived, number):
    lines = _lines(lived)
    lines[number - 1] = _edited(lines[number - 1], reason="nothing to see here")
    _write(lived, lines)
    assert f"broken at entry {number}:" in state_fault(lived)
    with pytest.raises(BrokenHistory, match=f"broken at entry {number}:.*no act is possible"):
        acts.rollback(lived, None, "another reason")
    assert _lines(lived) == lines
    assert pointer.current_version(lived) == "v1"


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_removed_entry_is_found(lived, number):
    lines = _lines(lived)
    del lines[number - 1]
    _write(lived, lines)
    assert f"broken at entry {number}:" in state_fault(lived)


def test_an_entry_that_no_act_wrote_is_found(lived):
    lines = _lines(lived)
    forged = history.chain(lived).next_line({"act": "publish", "from": "v1", "to": "v2"})
    _write(lived, [*lines, forged])
    assert "broken at entry 5: no act wrote it" in state_fault(lived)


def test_a_line_that_is_not_json_is_found_and_the_rest_still_shown(lived):
    lines = _lines(lived)
    lines[1] = "not json"
    _write(lived, lines)
    shown = _shown(lived)
    assert "unreadable" in shown
    assert "is broken at entry 2:" in shown
    assert "complaints of investors" in shown
    with pytest.raises(BrokenHistory, match="broken at entry 2"):
        _shown(lived, verify=True)


def test_a_history_that_is_gone_refuses_further_acts(lived):
    (lived.registry / "history.jsonl").unlink()
    with pytest.raises(BrokenHistory, match="broken at entry 1: it is missing"):
        acts.rollback(lived, None, "another reason")


def test_a_pointer_that_no_act_moved_refuses_further_acts(lived):
    v2 = files.read_json(lived.registry / "bundles" / "v2" / "manifest.json")
    pointer = {"version": "v2", "identity": v2["identity"]}
    files.write_json(pointer, lived.registry / "current.json")
    with pytest.raises(BrokenHistory, match="last act made v1 current, current.json names v2"):
        acts.rollback(lived, None, "another reason")


def test_an_older_format_is_refused_in_one_line(workspace, make_candidate):
    make_candidate(workspace)
    workspace.registry.mkdir(parents=True)
    _write(workspace, ['{"at": "2024-05-01T00:00:00+00:00", "act": "publish", "version": "v1"}'])
    with pytest.raises(BrokenHistory, match="of an older format.*move it away to begin anew") as no:
        registry.publish(workspace, None, None)
    assert "\n" not in str(no.value)
    with pytest.raises(BrokenHistory, match="of an older format"):
        snapshot(workspace)
    assert not workspace.artifact("request").exists(), "it is said before any stage runs"


def test_the_table_is_newest_first_and_marks_overrides_for_ever(lived):
    rows = [line for line in _shown(lived).splitlines() if "│" in line]
    assert [row.split("│")[4].strip() for row in rows] == [
        "rollback", "promote", "publish", "bootstrap"
    ]  # fmt: skip
    assert [WHY in row and "OVERRIDE" in row for row in rows] == [False, True, False, False]
    assert "v2 -> v1" in rows[0]
    assert "approved by Ada" in rows[1]


def test_verify_prints_the_head_to_keep_elsewhere(lived):
    assert history.chain(lived).head()["sha256"] in _shown(lived, verify=True)


def test_a_reader_waits_for_the_end_of_an_act(lived):
    with ThreadPoolExecutor(1) as aside:
        with one_act(lived):
            shown = aside.submit(_shown, lived)
            with pytest.raises(TimeoutError):
                shown.result(timeout=0.3)
        assert "rollback" in shown.result(timeout=60)


def test_two_acts_at_the_same_time_take_run_locks(lived, make_candidate):
    make_candidate(lived, judged_against="v1", weight=3.0)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: acts.promote(lived), range(4)))
    assert sorted(one.moved for one in done) == [False, False, False, True]
    assert state_fault(lived) is None
    assert len(_lines(lived)) == 5


def test_markup_in_a_reason_is_text(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    why = "[bold]so[/] said the [/board]"
    acts.promote(workspace, override=Override(why, "A[/]da"))
    assert why in _shown(workspace)


@pytest.mark.parametrize(
    ("done", "behind"),
    [
        ([], []),
        (["publish v1", "publish v2", "rollback v1"], ["v1"]),
        (["publish v1", "publish v2", "rollback v1", "promote v2"], ["v1", "v2"]),
        (["publish v1", "publish v2", "publish v3", "rollback v1", "publish v4"], ["v1", "v4"]),
        (["publish v1", "publish v2", "promote v1", "rollback v2"], ["v1", "v2"]),
        (["bootstrap v0", "hold v0", "publish v1", "hold v1"], ["v0", "v1"]),
    ],
)
def test_what_lies_behind_is_the_path_without_what_was_rolled_back(done, behind):
    entries = [dict(zip(("act", "to"), act.split(), strict=True)) for act in done]
    assert history.versions_behind(entries) == behind


@pytest.mark.parametrize("name", ["history.head.json", "act.json", "current.json"])
def test_a_small_file_that_is_no_json_is_named(lived, name):
    (lived.registry / name).write_text("half a fi")
    with pytest.raises(BrokenHistory, match=name):
        state_fault(lived)
