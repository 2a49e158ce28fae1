"""What is not fit is refused with one line and an alarm; who reads meanwhile reads one version."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tessera.contracts.errors import BrokenBundle
from tessera.serve import fitness, follower
from tessera.serve.events import Event
from tessera.serve.fitness import require_room
from tessera.serve.follower import Follower
from tessera.serve.http.shown import shown
from tessera.serve.params import ServeParams

NOW = 1_700_000_000_000_000


@pytest.fixture
def pointer(service, engine, monkeypatch):
    """What the pointer names, and what comes of opening it."""

    class Pointer:
        current, change, room = Path("v1"), staticmethod(lambda opened: None), None

        def read(self):
            if isinstance(self.current, Exception):
                raise self.current
            return self.current

        def open(self, bundle, _params, version=None):
            found = engine(bundle.name)
            found.facts = lambda item: {"name": f"{bundle.name} {item}", "category": ""}
            self.change(found)
            return found

        def look(self, name):
            self.current = name if isinstance(name, Exception) else Path(name)
            return self.follower.look()

    found = Pointer()
    monkeypatch.setattr(follower.Engine, "open", found.open)
    found.follower = Follower(service, found.read, ServeParams(acted_share=0.6))
    return found


def planted_in(name, monkeypatch, pointer):
    """Plant a fault and return what the pointer names."""
    nan = np.array([1.0, np.nan], np.float32)
    if name == "hash":
        return BrokenBundle("v2: model does not match the manifest: publish again or roll back")
    if name in ("weights", "vectors"):
        pointer.change = lambda one: setattr(one, "numbers", lambda: iter([(name, nan)]))
    elif name == "catalogue":
        pointer.change = lambda one: setattr(one, "item_row", {"i0": 0, "other": 1})
    elif name == "scores":

        def warm_up():
            raise BrokenBundle("v2: its scores are not finite: train it again")

        pointer.change = lambda one: setattr(one, "warm_up", warm_up)
    elif name == "memory":

        def no_room(_bundle):
            raise fitness.TooLittleMemory("v2 takes about 9 MiB of memory and 1 MiB are free")

        monkeypatch.setattr(follower, "require_room", no_room)
    else:
        pointer.change = lambda one: (_ for _ in ()).throw(ValueError("odd"))
    return "v2"


FAULTS = {
    "hash": "model does not match the manifest",
    "weights": "v2: its weights are not finite",
    "vectors": "v2: its vectors are not finite",
    "scores": "v2: its scores are not finite",
    "catalogue": "v2 lists 1 of 2 items that were acted on, not i1",
    "memory": "v2 takes about 9 MiB of memory",
    "odd": "ValueError: odd",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_keeps_the_old_bundle_with_one_line_and_an_alarm_until_all_is_well(
    fault, pointer, service, client, monkeypatch, caplog
):
    named = planted_in(fault, monkeypatch, pointer)
    assert [pointer.look(named) for _ in range(3)] == [False] * 3
    lines = [one for one in caplog.messages if FAULTS[fault] in one]
    assert len(lines) == 1
    assert lines[0].startswith("v1 stays: ")
    assert "\n" not in lines[0]
    assert service.recommend("r", "u1", NOW, 3).policy_id == "v1"
    for told in (client.get("/readyz").json(), client.get("/v1/version").json()):
        assert FAULTS[fault] in told["refused"]["reason"]
        assert told["refused"]["version"] == ("current" if fault == "hash" else "v2")
    assert 'tessera_refused{role="current"} 1.0' in client.get("/metrics").text
    assert not pointer.look("v1")
    assert client.get("/v1/version").json()["refused"] is None
    assert "refused" not in client.get("/readyz").json()
    assert 'tessera_refused{role="current"} 0.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("share", "listed", "since", "told"), [(0.5, 2, 5, "2 of 5"), (0.8, 3, 4, "3 of 4")]
)
def test_a_catalogue_may_lack_as_much_as_is_said_and_what_was_acted_on_since_counts(
    pointer, service, share, listed, since, told
):
    pointer.change = lambda one: setattr(one, "item_row", {f"i{n}": n for n in range(listed)})
    pointer.follower = Follower(service, pointer.read, ServeParams(acted_share=share))
    assert pointer.look("v2")
    service.happened([Event(f"e{n}", "u1", f"i{n}", "click", NOW) for n in range(since)])
    assert not pointer.look("v3")
    assert f"lists {told} items" in service.refused.reason


def test_a_bundle_needs_room_by_its_size_and_is_tried_again_when_there_is(
    tmp_path, monkeypatch, pointer, service
):
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "file").write_bytes(bytes(1000))
    free = SimpleNamespace(available=fitness._LEAST + 1000 * fitness._GROWN - 1)
    monkeypatch.setattr(fitness.psutil, "virtual_memory", lambda: free)
    with pytest.raises(fitness.TooLittleMemory, match="v2 takes about"):
        require_room(tmp_path / "v2")
    assert not pointer.look(tmp_path / "v2")
    free.available += 1
    assert pointer.look(tmp_path / "v2")
    assert service.refused is None


def test_the_old_bundle_goes_when_its_last_request_is_done(pointer, service, engine):
    begun, go_on, slates = threading.Event(), threading.Event(), []

    class Slow(engine):
        def answer(self, *asked):
            begun.set()
            go_on.wait(10)
            return super().answer(*asked)

    pointer.look("v2")
    service.engine.__class__ = Slow
    seen = weakref.ref(service.engine)
    thread = threading.Thread(
        target=lambda: slates.append(service.recommend("r", "u1", NOW, 3).policy_id)
    )
    thread.start()
    assert begun.wait(10)
    assert pointer.look("v3")
    gc.collect()
    assert seen() is not None
    go_on.set()
    thread.join()
    gc.collect()
    assert slates == ["v2"]
    assert seen() is None


def test_readers_during_publishes_and_rollbacks_read_one_version_whole(pointer, service):
    done, slates, failed = threading.Event(), [], []

    def read(reader):
        n = 0
        while not done.is_set():
            try:
                slates.append(service.recommend(f"{reader}-{n}", f"u{reader}", NOW, 3))
            except Exception as error:
                failed.append(error)
            n += 1

    pointer.look("v2")
    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for _ in range(10):
        assert pointer.look("v3")
        assert pointer.look("v2")
    done.set()
    for one in threads:
        one.join()
    assert not failed
    assert slates
    assert {one.version for one in slates} <= {"v2", "v3"}
    for slate in slates:
        assert all(item.name.startswith(slate.version) for item in shown(slate))
