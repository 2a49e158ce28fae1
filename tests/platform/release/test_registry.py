"""Publishing is atomic, recorded, repeatable, and closed to what the verdict does not allow."""

from __future__ import annotations

import json
import os
import threading

import pyarrow.parquet as pq
import pytest

from tessera.bundles.manifest import check
from tessera.contracts.errors import BrokenBundle, BrokenHistory, GateClosed
from tessera.platform.release import pointer, registry
from tessera.platform.workspace import files


def test_first_publication_bootstraps_the_logging_policy_then_promotes(workspace, make_candidate):
    make_candidate(workspace)
    done = registry.publish(workspace, None, None)
    assert (done.version, done.moved, done.decision) == ("v1", True, "PROMOTE")
    assert [entry["act"] for entry in registry.history(workspace)] == ["bootstrap", "publish"]
    assert check(workspace.registry / "bundles" / "v0")["kind"] == "logging"
    assert pointer.current_bundle(workspace).name == "v1"


@pytest.mark.parametrize("decision", ["HOLD", "REJECT", "INVALID"])
def test_without_promote_the_first_version_stays(workspace, make_candidate, decision):
    make_candidate(workspace, decision)
    done = registry.publish(workspace, None, None)
    assert (done.version, done.moved) == ("v0", False)
    assert pointer.current_bundle(workspace).name == "v0"
    assert registry.history(workspace)[-1]["act"] == "hold"


def test_an_override_is_recorded_for_ever_and_stands_in_the_manifest(workspace, make_candidate):
    make_candidate(workspace, "INVALID")
    done = registry.publish(workspace, "first release, reviewed", "risk officer")
    assert done.moved
    entry = registry.history(workspace)[-1]
    assert entry["override_reason"] == "first release, reviewed"
    assert check(pointer.current_bundle(workspace))["override_reason"] == "first release, reviewed"


def test_publishing_the_same_bundle_twice_changes_nothing(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    before = registry.history(workspace)
    again = registry.publish(workspace, None, None)
    assert (again.version, again.moved) == ("v1", False)
    assert registry.history(workspace) == before


def test_a_held_bundle_can_still_be_overridden(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    registry.publish(workspace, None, None)
    assert registry.publish(workspace, "approved by the committee", None).version == "v1"


def test_a_candidate_judged_against_an_older_champion_is_refused(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v0", weight=2.0)
    with pytest.raises(GateClosed, match="judged against v0 but v1"):
        registry.publish(workspace, None, None)
    assert pointer.current_version(workspace) == "v1"


def test_nothing_published_says_what_to_run(workspace):
    with pytest.raises(GateClosed, match="tessera run --profile market"):
        pointer.current_bundle(workspace)


def test_a_reader_refuses_a_changed_file(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    (pointer.current_bundle(workspace) / "model" / "config.json").write_text("{}")
    with pytest.raises(BrokenBundle, match="config.json"):
        pointer.current_bundle(workspace)


def test_a_reader_refuses_a_bundle_that_was_swapped_whole(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    current = workspace.registry / "current.json"
    current.write_text(
        json.dumps({"version": "v0", "identity": files.read_json(current)["identity"]})
    )
    with pytest.raises(BrokenHistory, match="no act of profile market made v0 current"):
        pointer.current_bundle(workspace)


def test_a_corrupt_candidate_is_never_published(workspace, make_candidate):
    bundle = make_candidate(workspace)
    (bundle / "model" / "config.json").write_text("tampered")
    with pytest.raises(BrokenBundle):
        registry.publish(workspace, None, None)
    assert pointer.current_version(workspace) is None


def test_no_space_leaves_the_old_version_current(workspace, make_candidate, monkeypatch):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v1", weight=2.0)

    def full(*_args, **_kwargs):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(registry.shutil, "copytree", full)
    with pytest.raises(OSError, match="No space left"):
        registry.publish(workspace, None, None)
    assert pointer.current_bundle(workspace).name == "v1"


def test_a_torn_last_line_of_the_history_is_dropped(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    registry.publish(workspace, None, None)
    with (workspace.registry / "history.jsonl").open("a") as stream:
        stream.write('{"act": "publ')
    make_candidate(workspace, "REJECT", weight=2.0)
    registry.publish(workspace, None, None)
    decisions = [entry.get("decision") for entry in registry.history(workspace)]
    assert decisions == [None, "HOLD", "REJECT"]


def test_a_candidate_that_changes_while_it_is_copied_is_refused(
    workspace, make_candidate, monkeypatch
):
    make_candidate(workspace)
    real = registry.shutil.copytree

    def swapped(source, target, *rest, **options):
        real(source, target, *rest, **options)
        if str(target).endswith(".v1.making"):
            (target / "verdict.json").write_text('{"decision": "REJECT", "reason": "swapped"}')

    monkeypatch.setattr(registry.shutil, "copytree", swapped)
    with pytest.raises(BrokenBundle, match="verdict.json"):
        registry.publish(workspace, None, None)
    assert pointer.current_version(workspace) == "v0"


def test_the_first_version_serves_no_vector_of_the_candidate(workspace, make_candidate):
    make_candidate(workspace, "HOLD")
    registry.publish(workspace, None, None)
    users = pq.read_table(pointer.current_bundle(workspace) / "users.parquet")
    assert "vector" not in users.column_names


def test_readers_see_the_old_or_the_new_bundle_whole(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    seen, failures, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                seen.add(pointer.current_bundle(workspace).name)
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 12):
        make_candidate(workspace, judged_against=f"v{version}", weight=float(version + 1))
        registry.publish(workspace, None, None)
    stop.set()
    reader.join()
    assert not failures
    assert seen
    assert pointer.current_version(workspace) == "v12"


def test_who_asks_each_second_hashes_a_bundle_again_only_when_a_file_was_written(
    workspace, make_candidate, monkeypatch
):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    checked, check_all = [], pointer.current_bundle
    monkeypatch.setattr(
        pointer, "current_bundle", lambda one: checked.append(one) or check_all(one)
    )
    current = pointer.Watched(workspace)
    assert [current().name for _ in range(3)] == ["v1"] * 3
    assert len(checked) == 1
    damaged = workspace.registry / "bundles" / "v1" / "items.parquet"
    whole = damaged.read_bytes()
    told = damaged.stat()
    damaged.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    os.utime(damaged, ns=(told.st_atime_ns, told.st_mtime_ns))  # as long and as old as it was
    for _ in range(3):
        with pytest.raises(BrokenBundle, match=r"items.parquet does not match"):
            current()
    assert len(checked) == 2
    damaged.write_bytes(whole)
    assert current().name == "v1"
    make_candidate(workspace, judged_against="v1", weight=2.0)
    registry.publish(workspace, None, None)
    assert [current().name for _ in range(2)] == ["v2"] * 2
    assert len(checked) == 4
