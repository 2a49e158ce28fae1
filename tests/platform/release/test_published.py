"""What is published can be had elsewhere; of two publishers one wins, the other changed nothing.

What hangs on the store is one law for a folder and for an object store.
"""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import BadParams, BrokenBundle, GateClosed, TesseraError
from tessera.contracts.hashes import sha256
from tessera.platform.cli import doctor, repair
from tessera.platform.release import (
    acts,
    chain,
    exploration,
    journal,
    notice,
    pointer,
    published,
    registry,
    seals,
)
from tessera.platform.release.history import history
from tessera.platform.workspace import files, paths
from tessera.platform.workspace.bucket import Bucket
from tessera.platform.workspace.paths import open_workspace
from tessera.platform.workspace.store import Folder

both_stores = pytest.mark.parametrize("place", ["folder", "bucket"], indirect=True)
WHY = "the log cannot be trusted"


@pytest.fixture
def second(place, workspace, make_candidate):
    """v1 is published, there too, and a candidate waits."""
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    return workspace


def state(workspace):
    """Every byte that an act may change, locks left out."""
    found = (path for path in workspace.registry.rglob("*") if path.is_file())
    return {
        path.relative_to(workspace.registry).as_posix(): path.read_bytes()
        for path in found
        if path.name != ".lock"
    }


def agrees(workspace, place):
    """What can be had elsewhere is what is current here, signed, and whole."""
    told, version = place.notice(), pointer.current_version(workspace)
    assert (told["version"], told["n"]) == (version, history(workspace)[-1]["n"])
    assert seals.signature_fault(seals.public_key(workspace), notice.PURPOSE, told) is None
    sealed = read_manifest(workspace.bundles / version)
    assert told["identity"] == sealed["identity"]
    there = set(place.files())
    assert {f"market/files/{one}" for one in notice.listed(told, version, sealed).values()} <= there
    assert doctor._elsewhere(workspace) == "what is current is what can be had there"
    assert journal.state_fault(workspace) is None
    assert not list(workspace.bundles.glob(".*"))


def test_without_the_setting_no_store_is_asked_and_an_intent_holds_no_more(
    workspace, make_candidate, monkeypatch
):
    def never(*_):
        raise AssertionError("a store was opened")

    intents, write = [], files.write_json
    monkeypatch.setattr(paths, "open_store", never)
    monkeypatch.setattr(
        files, "write_json",
        lambda value, path: (intents.append(value) if path.name == journal.INTENT else None,
                             write(value, path)),
    )  # fmt: skip
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    exploration.stop(workspace, WHY)
    assert [sorted(one) for one in intents] == [["line", "pointer", "seal"]] * 3
    assert not [entry for entry in history(workspace) if "turn" in entry]
    assert sorted(path.name for path in workspace.registry.iterdir() if path.is_file()) == [
        ".lock", "current.json", "history.head.json", "history.jsonl"
    ]  # fmt: skip
    assert doctor._elsewhere(workspace) == "nothing is to be had elsewhere"


@both_stores
def test_what_is_published_can_be_had_and_a_rollback_sends_no_file_again(
    second, place, monkeypatch
):
    agrees(second, place)
    acts.promote(second)
    agrees(second, place)
    assert sorted(place.notice()["versions"]) == ["v0", "v1", "v2"]
    kind = type(place.store)
    monkeypatch.setattr(kind, "upload", lambda *_: pytest.fail("sent again"))
    acts.rollback(second, None, "complaints")
    agrees(second, place)
    assert place.notice()["version"] == "v1"


def test_a_file_is_named_by_what_it_holds(second, place, tmp_path):
    for name in place.files():
        place.store.download(name, tmp_path / "file")
        assert sha256(tmp_path / "file") == name.rpartition("/")[2]


@both_stores
def test_of_two_registries_that_publish_at_once_one_wins_and_the_other_changed_nothing(
    place, workspace, other, make_candidate, monkeypatch
):
    for one, weight in ((workspace, 1.0), (other, 2.0)):
        make_candidate(one, weight=weight)
    both, first, replace = threading.Barrier(2, timeout=300), threading.Event(), None
    kind, outcome = type(place.store), {}
    replace = kind.replace

    def together(self, name, content, seen):
        if name == notice.NAME and not first.is_set():
            assert seen is None
            both.wait()
            first.set()
        return replace(self, name, content, seen)

    def publish(one):
        try:
            outcome[one.root.name] = registry.publish(one, None, None).version
        except GateClosed as error:
            outcome[one.root.name] = error

    monkeypatch.setattr(kind, "replace", together)
    threads = [threading.Thread(target=publish, args=(one,)) for one in (workspace, other)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    (lost,) = [name for name, told in outcome.items() if isinstance(told, GateClosed)]
    loser, winner = (other, workspace) if lost == "other" else (workspace, other)
    assert outcome[winner.root.name] == "v1"
    assert "somebody else published to" in str(outcome[lost])
    assert "so nothing has changed here" in str(outcome[lost])
    agrees(winner, place)
    assert state(loser) == {}
    assert history(loser) == []


def test_another_registry_is_refused_and_changes_nothing(other, second, place, make_candidate):
    make_candidate(other, weight=3.0)
    before = place.notice()
    with pytest.raises(GateClosed, match="is not what this registry put there, so somebody else"):
        registry.publish(other, None, None)
    assert (state(other), place.notice()) == ({}, before)
    with pytest.raises(TesseraError, match="somebody else publishes there: set TESSERA_PUBLISHED"):
        doctor._elsewhere(other)


def test_a_copy_of_the_registry_that_went_on_is_not_overtaken(second, place, tmp_path):
    copy = open_workspace("market", shutil.copytree(second.root, tmp_path / "copy"))
    acts.promote(copy)
    before = state(second)
    with pytest.raises(
        GateClosed, match=r"tells of act 3, which is not in this history.*another c"
    ):
        acts.promote(second)
    assert state(second) == before
    agrees(copy, place)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"n": 9}', *(b'{"n": 9, "seal": {"mac": "%s"}}' % one
                                      for one in ("é".encode(), b"\\ud800"))],
)  # fmt: skip
def test_a_torn_or_foreign_notice_is_not_written_over(second, place, content):
    place.store.put("market/current.json", content)
    before = state(second)
    with pytest.raises(GateClosed, match="is not what this registry put there"):
        acts.promote(second)
    assert state(second) == before
    assert place.store.get("market/current.json").content == content


def test_an_older_notice_that_is_put_back_is_named_and_written_over(second, place):
    old = place.store.get("market/current.json").content
    acts.promote(second)
    place.store.put("market/current.json", old)
    with pytest.raises(TesseraError, match=r"tells of v1 after act 2, and v2 is current after ac"):
        doctor._elsewhere(second)
    assert repair._elsewhere(second)[0].endswith("/market holds what is current")
    agrees(second, place)
    place.store.put("market/current.json", old)
    acts.rollback(second, None, "complaints")
    agrees(second, place)


def test_what_was_current_before_the_setting_is_told_by_repair(
    workspace, make_candidate, tmp_path, monkeypatch
):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    monkeypatch.setenv(paths.PUBLISHED, str(tmp_path))
    with pytest.raises(TesseraError, match="tells of nothing after act 0, and v1 is current"):
        doctor._elsewhere(workspace)
    assert repair._elsewhere(workspace)
    assert doctor._elsewhere(workspace) == "what is current is what can be had there"
    lost = next((tmp_path / "market" / "files").iterdir())
    lost.write_bytes(lost.read_bytes()[:-1])
    with pytest.raises(TesseraError, match="1 files of v1 are not whole there: the next act"):
        doctor._elsewhere(workspace)
    assert repair._elsewhere(workspace)
    assert repair._elsewhere(workspace) == []


def test_a_server_that_is_gone_in_the_middle_of_the_upload_changes_nothing(
    second, place, monkeypatch
):
    kind, before, told, sent = type(place.store), state(second), place.notice(), []
    upload = kind.upload

    def ends(self, path, name):
        if len(sent) == 2:
            raise TesseraError(f"cannot write {name}: it does not answer")
        sent.append(name)
        upload(self, path, name)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "upload", ends)
        with pytest.raises(TesseraError, match="it does not answer"):
            acts.promote(second)
    assert (state(second), place.notice()) == (before, told)
    acts.promote(second)
    agrees(second, place)


def test_a_bundle_that_changes_while_it_is_sent_is_not_published(second, place, monkeypatch):
    before, told = state(second), place.notice()
    lay = published.Elsewhere._lay

    def changes(self, made):
        (notice.bundle_of(second, "v2") / "split.json").write_text("{}")
        lay(self, made)

    monkeypatch.setattr(published.Elsewhere, "_lay", changes)
    with pytest.raises(BrokenBundle, match=r"v2: split.json does not match the manifest"):
        acts.promote(second)
    assert (state(second), place.notice()) == (before, told)


STEPS = {
    "before it is laid there": (published.Elsewhere, "_lay"),
    "after it was laid there": (published.Elsewhere, "_lay", "after"),
    "after the intent": (journal, "_finish"),
    "before it is told": (published.Elsewhere, "win"),
    "after it was told": (published.Elsewhere, "win", "after"),
    "before the bundle has its name": (journal, "_name_bundle"),
    "after the pointer": (journal, "_tell_mlflow"),
    "between history and head": (chain.Chain, "write_head"),
    "before the intent goes": (journal, "_forget"),
}
UNDONE = ("before it is laid there", "after it was laid there")


@pytest.mark.parametrize("moment", STEPS)
def test_a_publication_that_is_killed_is_completed_or_undone_there_too(
    second, place, killed, moment
):
    assert killed(lambda: acts.promote(second), *STEPS[moment])
    assert pointer.current_bundle(second).name in ("v1", "v2"), "a reader is always served"
    with journal.one_act(second):
        pass
    assert pointer.current_version(second) == ("v1" if moment in UNDONE else "v2")
    agrees(second, place)
    assert acts.promote(second).version == "v2"
    agrees(second, place)
    assert [entry["act"] for entry in history(second)] == ["bootstrap", "publish", "promote"]


def test_killed_before_it_is_told_it_is_given_up_where_a_copy_was_first(
    second, place, killed, tmp_path, capsys, monkeypatch
):
    """By the same person in the same second, of the same candidate: still one of them wins."""
    for one in (chain, registry):
        monkeypatch.setattr(one, "now", lambda: "2026-11-30T12:00:00+00:00")
    copy = open_workspace("market", shutil.copytree(second.root, tmp_path / "copy"))
    before = state(second)
    assert killed(lambda: acts.promote(second), published.Elsewhere, "win")
    acts.promote(copy)
    with journal.one_act(second):
        pass
    assert "warning: an interrupted act is given up:" in capsys.readouterr().err
    assert state(second) == before
    agrees(copy, place)


def test_an_act_whose_pointer_moved_was_won_whatever_lies_there_since(second, place, killed):
    assert killed(lambda: acts.promote(second), journal, "_tell_mlflow")
    place.store.put("market/current.json", b"of somebody else")
    with journal.one_act(second):
        pass
    assert pointer.current_bundle(second).name == "v2"
    assert journal.state_fault(second) is None


@pytest.mark.parametrize(
    ("written", "place"), [(True, "bucket"), (True, "folder"), (False, "folder")],
    indirect=["place"],
)  # fmt: skip
def test_where_nobody_knows_whether_it_was_told_the_next_act_asks_again(
    second, place, monkeypatch, written
):
    kind = type(place.store)
    replace = kind.replace

    def lost(self, name, content, seen):
        if name == notice.NAME:
            if written:
                replace(self, name, content, seen)
            raise TesseraError("the server does not answer")
        return replace(self, name, content, seen)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "replace", lost)
        with pytest.raises(TesseraError, match="whether the act was told is not known, and the n"):
            acts.promote(second)
    assert pointer.current_version(second) == "v1"
    assert acts.promote(second).version == "v2"
    agrees(second, place)


def test_without_the_setting_an_interrupted_act_is_done_here_alone(second, place, killed):
    assert killed(lambda: acts.promote(second), published.Elsewhere, "win")
    place.unset()
    with journal.one_act(second):
        pass
    assert (pointer.current_version(second), place.notice()["version"]) == ("v2", "v1")


def test_that_exploration_stops_waits_for_no_server(second, place, monkeypatch, capsys):
    exploration.stop(second, WHY)
    assert place.notice()["explores"] is False
    agrees(second, place)

    def silent(*_):
        raise TesseraError("the server does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(type(place.store), "get", silent)
        exploration.resume(second, WHY, "A. Rossi")
    assert "warning: TESSERA_PUBLISHED stays behind (the server does" in capsys.readouterr().err
    assert (exploration.explores(second), place.notice()["explores"]) == (True, False)
    assert repair._elsewhere(second)
    agrees(second, place)


def test_acts_that_change_nothing_for_a_service_ask_no_server(second, place, monkeypatch):
    place.store.put("market/current.json", b"torn")
    acts.hold(second, "nobody waits")
    registry.publish(second, None, None, approval=True)
    assert [one["act"] for one in history(second)] == ["bootstrap", "publish", "wait"]


def test_a_server_that_ignores_conditions_is_refused(
    bucket, workspace, make_candidate, monkeypatch
):
    def careless(self, name, content, seen):
        self.put(name, content)
        return True

    monkeypatch.setenv(paths.PUBLISHED, bucket)
    monkeypatch.setattr(Bucket, "replace", careless)
    make_candidate(workspace)
    with pytest.raises(BadParams, match=r"TESSERA_PUBLISHED: .* does not keep If-None-Match and"):
        registry.publish(workspace, None, None)
    assert state(workspace) == {}
    with pytest.raises(BadParams, match="does not keep"):
        doctor._elsewhere(workspace)


def test_a_wrong_setting_is_one_line_and_changes_nothing(
    bucket, workspace, make_candidate, monkeypatch, tmp_path
):
    wrong = {
        "no address": ("s3://B", "TESSERA_PUBLISHED is no address of an object store"),
        "no bucket": (f"{bucket}-nowhere", "TESSERA_PUBLISHED: cannot list .*bucket does not"),
        "no folder": (str(tmp_path / "none"), "TESSERA_PUBLISHED: .*none cannot be written"),
        "no key": (bucket, "TESSERA_PUBLISHED: cannot list .*Unable to locate credentials"),
    }
    make_candidate(workspace)
    for what, (address, line) in wrong.items():
        monkeypatch.setenv(paths.PUBLISHED, address)
        if what == "no key":
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        for does in (lambda: registry.publish(workspace, None, None), lambda: doctor._elsewhere(
            workspace)):  # fmt: skip
            with pytest.raises(BadParams, match=line):
                does()
    assert state(workspace) == {}


def test_a_notice_holds_no_secret(second, place):
    secret = (second.state / seals.KEY).read_bytes().hex()
    assert secret not in json.dumps(place.notice())
    assert not [name for name in place.store.names() if "seal.key" in name]


def test_a_folder_keeps_no_half_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "made").write_bytes(b"whole")

    def half(source, path):
        path.write_bytes(b"who")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.shutil, "copyfile", half)
    with pytest.raises(TesseraError, match="no space left on the device"):
        Folder(tmp_path / "store").upload(tmp_path / "made", "a/b")
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
