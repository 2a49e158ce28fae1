"""A mirror serves what another registry published, whole and signed, or keeps what it has."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import BadParams, BrokenBundle, BrokenSeal, GateClosed, TesseraError
from tessera.platform.cli import cli_fetch, doctor
from tessera.platform.cli.cli import app
from tessera.platform.release import (
    acts,
    bundles,
    exploration,
    journal,
    mirror,
    mirrored,
    pointer,
    registry,
    seals,
    trials,
)
from tessera.platform.release.mirror import NotBeside, open_mirror
from tessera.platform.release.mirrored import (
    Followed,
    Keeping,
    Mirrored,
    followed,
    kept_up,
    registry_of,
)
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import MIRROR_KEY, PUBLISHED
from tessera.serve.params import ServeParams

both_stores = pytest.mark.parametrize("place", ["folder", "bucket"], indirect=True)
NOTICE = "market/current.json"
WHY = "the log cannot be trusted"


class Machine:
    """Another machine, that has the public key and nothing else of the registry."""

    def __init__(self, workspace, key, monkeypatch):
        self.workspace, self.key, self._patch = workspace, key, monkeypatch

    @contextmanager
    def here(self, key=None):
        """Do what stands in the block on that machine."""
        with self._patch.context() as patch:
            patch.setenv(MIRROR_KEY, key or self.key)
            yield open_mirror(self.workspace)

    def fetch(self, *beside):
        """Bring what is published; return the version that is current then, checked."""
        with self.here() as found:
            found.fetch(beside)
            return pointer.current_bundle(self.workspace).name

    def current(self):
        """Return the version that is current, checked."""
        with self.here():
            return pointer.current_bundle(self.workspace).name


@pytest.fixture
def machine(other, place, workspace, make_candidate, monkeypatch):
    """v1 is published, and a candidate waits; nothing was brought yet."""
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    make_candidate(workspace, judged_against="v1", weight=2.0)
    return Machine(other, seals.public_key(workspace).hex(), monkeypatch)


def holding(place, name):
    """Return the place of a file of the current bundle, by its name there."""
    told = place.notice()
    sealed = json.loads(
        place.store.get(
            f"market/files/{told['versions'][told['version']]['manifest.json']}"
        ).content
    )
    return f"market/files/{sealed['files'][name]}"


@both_stores
def test_what_is_published_is_served_elsewhere_by_the_public_key_alone(machine, place, workspace):
    assert machine.fetch() == "v1"
    assert not (machine.workspace.state / seals.KEY).exists()
    acts.promote(workspace)
    assert machine.current() == "v1"
    assert machine.fetch() == "v2"
    acts.rollback(workspace, None, "complaints")
    assert machine.fetch() == "v1"
    here, there = (one.bundles for one in (machine.workspace, workspace))
    for version in ("v1", "v2"):
        assert read_manifest(here / version) == read_manifest(there / version)
    assert not list(here.glob(".*"))


def test_what_is_here_already_is_not_brought_again(machine, place, monkeypatch):
    machine.fetch()
    monkeypatch.setattr(type(place.store), "download", lambda *_: pytest.fail("brought again"))
    assert machine.fetch() == "v1"


def test_a_reader_writes_nothing_there(machine, place, monkeypatch):
    for name in ("put", "replace", "upload", "remove"):
        monkeypatch.setattr(type(place.store), name, lambda *_: pytest.fail("written"))
    assert machine.fetch() == "v1"


def refused(machine, line, kind=BrokenBundle):
    """Nothing is brought, in one line, and what is here goes on."""
    before = machine.current()
    with pytest.raises(kind, match=line) as error:
        machine.fetch()
    assert machine.current() == before
    assert "\n" not in str(error.value)


def test_a_bundle_that_was_altered_there_is_refused_and_the_old_one_goes_on(
    machine, place, workspace
):
    machine.fetch()
    acts.promote(workspace)
    name = holding(place, "model/config.json")
    whole = place.store.get(name).content
    place.store.put(name, whole.replace(b"2.0", b"9.0"))
    refused(
        machine, r"config.json of v2\) is not what its name says: remove it there, and `tessera"
    )
    place.store.remove(name)
    refused(machine, r"config.json of v2\) is missing: remove it there")
    place.store.put(name, whole)
    assert machine.fetch() == "v2"


def test_a_manifest_that_names_other_files_is_refused(machine, place, workspace):
    machine.fetch()
    acts.promote(workspace)
    told = place.notice()
    place.store.put(f"market/files/{told['versions']['v2']['manifest.json']}", b"{}")
    refused(machine, r"manifest.json of v2\) is not what its name says")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda _: b"", "carries no signature"),
        (lambda _: b"[" * 100_000, "carries no signature"),
        (lambda told: json.dumps(told).encode()[:-9], "carries no signature"),
        (lambda told: json.dumps({**told, "version": "v0"}).encode(), "was not signed by this key"),
        (lambda told: json.dumps({**told, "explores": False}).encode(), "was not signed by this"),
        (lambda told: json.dumps({**told, "n": 99}).encode(), "was not signed by this key"),
    ],
    ids=["empty", "deep", "torn", "another version", "another word on exploration", "a later act"],
)
def test_a_notice_that_the_registry_did_not_write_is_refused(machine, place, change, line):
    machine.fetch()
    place.store.put(NOTICE, change(place.notice()))
    refused(machine, f"current.json {line}")


def test_a_notice_of_another_profile_or_purpose_is_refused(machine, place, workspace):
    machine.fetch()
    told = {name: value for name, value in place.notice().items() if name != "seal"}
    for purpose, profile, line in (("notice", "tie", "tells of profile tie"),
                                   ("act", "market", "was not signed by this key")):  # fmt: skip
        made = seals.seal(workspace, purpose, {**told, "profile": profile})
        place.store.put(NOTICE, json.dumps(made).encode())
        refused(machine, line)


def test_what_another_registry_published_is_refused(machine, place, other, make_candidate):
    with machine.here(key="ab" * 32), pytest.raises(BrokenBundle, match="was not signed by this k"):
        open_mirror(machine.workspace).fetch()
    with pytest.raises(BrokenSeal, match="is no public key: set it"), machine.here(key="none"):
        pass
    assert not (machine.workspace.registry / "current.json").exists()


def test_an_older_notice_that_is_put_back_is_refused(machine, place, workspace):
    old = place.store.get(NOTICE).content
    acts.promote(workspace)
    machine.fetch()
    place.store.put(NOTICE, old)
    refused(machine, r"tells of act 2, and act 3 is known here: somebody put an older one back")
    with machine.here(), pytest.raises(BrokenBundle, match="tells of act 2, and act 3 is known"):
        doctor._elsewhere(machine.workspace)


def test_a_machine_that_knew_nothing_takes_an_older_notice(machine, place, workspace):
    """What no reader can tell: nobody told it of a newer one."""
    old = place.store.get(NOTICE).content
    acts.promote(workspace)
    place.store.put(NOTICE, old)
    assert machine.fetch() == "v1"


STEPS = {
    "before the bundle": (mirror.Mirror, "_bring"),
    "before a file": (mirror.Mirror, "_download"),
    "after a file": (mirror.Mirror, "_download", "after"),
    "before it has its name": (mirror.files, "move_into_place"),
    "after it has its name": (mirror.Mirror, "_bring", "after"),
    "before the notice": (mirror.files, "write_bytes"),
    "after the notice": (mirror.files, "write_bytes", "after"),
}


@pytest.mark.parametrize("moment", STEPS)
def test_a_mirror_that_is_killed_serves_and_goes_on(machine, workspace, killed, moment):
    machine.fetch()
    acts.promote(workspace)
    assert killed(machine.fetch, *STEPS[moment])
    assert machine.current() == ("v2" if moment == "after the notice" else "v1")
    assert machine.fetch() == "v2"
    assert not list(machine.workspace.bundles.glob(".*"))


def test_a_bundle_that_broke_here_is_brought_again(machine, monkeypatch):
    machine.fetch()
    (machine.workspace.bundles / "v1" / "split.json").write_text("{}")
    with machine.here(), pytest.raises(BrokenBundle, match="split.json does not match the manife"):
        pointer.current_bundle(machine.workspace)
    monkeypatch.setattr(cli_fetch, "open_workspace", lambda _: machine.workspace)
    with machine.here():
        told = CliRunner().invoke(app, ["fetch"], standalone_mode=False).output
    assert told.startswith("v1 of ")
    assert told.endswith("/market is here after act 2, every hash matches\n")


def test_acts_are_done_beside_the_registry_and_a_registry_is_no_mirror(
    machine, workspace, make_candidate
):
    machine.fetch()
    make_candidate(machine.workspace)
    with machine.here():
        for act in (lambda: acts.promote(machine.workspace),
                    lambda: exploration.stop(machine.workspace, WHY)):  # fmt: skip
            with pytest.raises(GateClosed, match=f"{MIRROR_KEY} is set, so what is published he"):
                act()
        with pytest.raises(GateClosed, match=f"{MIRROR_KEY} is set"):
            journal.require_whole(machine.workspace)
        with pytest.raises(BadParams, match="registry/market has acts of its own"):
            open_mirror(workspace)
    with pytest.raises(BadParams, match=f"set {PUBLISHED} to where another registry publishes"):
        open_mirror(machine.workspace)


def test_nothing_published_and_nothing_here_are_one_line(machine, place):
    with (
        machine.here(),
        pytest.raises(GateClosed, match="nothing of profile market is here yet: r"),
    ):
        pointer.current_bundle(machine.workspace)
    place.store.remove(NOTICE)
    with machine.here() as found, pytest.raises(GateClosed, match="nothing is published at .*mark"):
        found.fetch()


def test_a_store_that_is_gone_lets_what_is_here_go_on(machine, place, monkeypatch, caplog):
    def silent(*_):
        raise TesseraError("the server does not answer")

    with machine.here(), monkeypatch.context() as patch:
        patch.setattr(type(place.store), "get", silent)
        with (
            pytest.raises(TesseraError, match="does not answer"),
            kept_up(machine.workspace, ServeParams()),
        ):
            pass
    machine.fetch()
    with machine.here() as found, monkeypatch.context() as patch:
        patch.setattr(type(place.store), "get", silent)
        patch.setattr(mirrored, "_LOOK_S", 60.0)
        with kept_up(machine.workspace, ServeParams()):
            assert Followed(machine.workspace)().name == "v1"
        keeping = Keeping(found, ())
        caplog.clear()
        assert not keeping.look()
        assert not keeping.look()
        assert caplog.text.count("cannot be brought: the server does not answer") == 1
        patch.undo()
    with machine.here():
        assert keeping.look()


def test_what_is_refused_is_an_alarm_of_the_service_and_no_reason_not_to_start(
    machine, place, workspace
):
    machine.fetch()
    with machine.here() as found:
        current, keeping = Followed(machine.workspace), Keeping(found, ())
        assert current().name == "v1"
        whole = place.store.get(NOTICE).content
        place.store.put(NOTICE, b"torn")
        assert not keeping.look()
        with pytest.raises(BrokenBundle, match="current.json carries no signature.*goes on"):
            current()
        assert Followed(machine.workspace)().name == "v1", "a process that starts now serves it"
        place.store.put(NOTICE, whole)
        assert keeping.look()
        assert current().name == "v1"


def test_a_service_follows_the_mirror_that_it_is_of_or_its_registry(
    machine, place, workspace, monkeypatch
):
    assert isinstance(followed(workspace), pointer.Watched)
    assert isinstance(registry_of(workspace, ServeParams()), trials.Trials)
    brought, fetch = threading.Event(), mirror.Mirror.fetch

    def seen(self, beside=()):
        told = fetch(self, beside)
        if told["version"] == "v2":
            brought.set()
        return told

    monkeypatch.setattr(mirror.Mirror, "fetch", seen)
    monkeypatch.setattr(mirrored, "_LOOK_S", 0.01)
    first = place.store.get(NOTICE).content
    acts.promote(workspace)
    second = place.store.get(NOTICE).content
    place.store.put(NOTICE, first)
    with machine.here(), kept_up(machine.workspace, ServeParams()):
        current = followed(machine.workspace)
        assert isinstance(current, Followed)
        assert isinstance(registry_of(machine.workspace, ServeParams()), Mirrored)
        assert current().name == "v1"
        place.store.put(NOTICE, second)
        assert brought.wait(300)
        assert current().name == "v2"
    assert not [one for one in threading.enumerate() if one.name == "mirror"]


def test_a_service_asks_the_notice_what_it_asks_a_registry(machine, place, workspace, caplog):
    acts.promote(workspace)
    machine.fetch("v1", "v7")
    with machine.here():
        params = ServeParams(canary="v1", canary_share=0.1, shadow="candidate")
        asked = Mirrored(machine.workspace, params)
        found = asked.challengers()
        assert (found.canary.version, found.share, found.shadow) == ("v1", 0.1, None)
        found.canary.check()
        assert "a candidate is tried beside its registry alone" in str(
            found.unfound["shadow"].error
        )
        assert asked.explores()
        with caplog.at_level(logging.INFO):
            asked.began("canary", found.canary)
            asked.ended(found.canary, "it was dismissed too often")
            asked.ended(found.canary, "it was dismissed too often")
        assert asked.challengers().canary is None
        assert json.loads((machine.workspace.registry / "ended.json").read_text()) == [
            found.canary.identity
        ]
        (machine.workspace.bundles / "v1" / "split.json").write_text("{}")
        with pytest.raises(BrokenBundle, match="split.json"):
            found.canary.check()
        missing = Mirrored(machine.workspace, ServeParams(shadow="v0")).challengers()
        assert "v0 is not here yet" in str(missing.unfound["shadow"].error)


def test_what_cannot_stand_beside_holds_up_nothing(machine, place, workspace, caplog):
    machine.fetch()
    shutil.rmtree(machine.workspace.bundles / "v1")
    place.store.remove(holding(place, "model/config.json"))  # v1's, which v2 does not share
    acts.promote(workspace)
    exploration.stop(workspace, WHY)
    with machine.here() as found:
        with pytest.raises(NotBeside, match="v1 stands beside nothing: .*config.json of v1"):
            found.fetch(("v1",))
        assert not Mirrored(machine.workspace, ServeParams()).explores()
        keeping = Keeping(found, ("v1",))
        assert not keeping.look()
        assert not keeping.look()
        assert caplog.text.count("v1 stands beside nothing") == 1
        assert Followed(machine.workspace)().name == "v2"
        with kept_up(machine.workspace, ServeParams(canary="v1")):
            assert Followed(machine.workspace)().name == "v2"


def test_what_a_machine_kept_for_itself_may_be_torn(machine, place, workspace):
    machine.fetch()
    for name, torn in (("mirror.json", "{}"), ("mirror.json", "["), ("ended.json", "{")):
        (machine.workspace.registry / name).write_text(torn)
        with machine.here() as found:
            assert Keeping(found, ()).look()
            assert Mirrored(machine.workspace, ServeParams()).challengers().canary is None


def test_a_refusal_that_cannot_be_noted_ends_no_thread(machine, place, workspace, monkeypatch):
    machine.fetch()
    place.store.put(NOTICE, b"{")

    def full(*_):
        raise OSError(28, "No space left on device")

    with machine.here() as found, monkeypatch.context() as patch:
        patch.setattr(mirrored, "_note_fault", full)
        assert not Keeping(found, ()).look()


def test_that_exploration_stops_and_a_canary_ends_is_known_elsewhere(machine, place, workspace):
    acts.promote(workspace)
    exploration.stop(workspace, WHY)
    one = trials.challenger(workspace, "v1")
    trials.Trials(workspace, ServeParams(canary="v1")).ended(one, "dismissed too often")
    machine.fetch("v1")
    with machine.here():
        asked = Mirrored(machine.workspace, ServeParams(canary="v1"))
        assert (asked.explores(), asked.challengers().canary) == (False, None)


def test_the_doctor_says_how_far_a_mirror_is(machine, workspace):
    machine.fetch()
    acts.promote(workspace)
    with machine.here():
        with pytest.raises(TesseraError, match="tells of act 3, and act 2 is known here: run `tes"):
            doctor._elsewhere(machine.workspace)
        machine.fetch()
        assert doctor._elsewhere(machine.workspace) == "what is current is what can be had there"
        told = doctor._history(machine.workspace), doctor._alias(machine.workspace)
        assert set(told) == {"kept by the registry that this is a mirror of"}
        assert doctor._published(machine.workspace) == "v2, every hash matches"


def test_a_manifest_whose_names_lead_out_of_the_bundle_is_refused(machine, place, workspace):
    machine.fetch()
    acts.promote(workspace)
    told = place.notice()
    path = workspace.bundles / "v2" / "manifest.json"
    sealed = json.loads(path.read_text())
    sealed["files"]["../../../stolen"] = sealed["files"]["split.json"]
    made = seals.seal(workspace, bundles.MANIFEST, sealed)
    path.write_text(json.dumps(made))
    told["versions"]["v2"]["manifest.json"] = files.sha256(path)
    place.store.upload(path, f"market/files/{files.sha256(path)}")
    place.store.put(NOTICE, json.dumps(seals.seal(workspace, "notice", told)).encode())
    refused(machine, r"v2: '../../../stolen' is no name of a file in a bundle")
    assert not list(machine.workspace.root.rglob("stolen"))
