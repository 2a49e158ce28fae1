"""A service follows the pointer; what it cannot serve it refuses once, and goes on answering."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tessera.contracts.errors import BrokenBundle
from tessera.serve import follower, host, hours
from tessera.serve.events import Event
from tessera.serve.follower import Follower
from tessera.serve.log import line
from tessera.serve.logged import record_of
from tessera.serve.online.shown import Exposures
from tessera.serve.params import ServeParams

NOW = 1_700_000_000_000_000


@pytest.fixture
def world(service, engine, monkeypatch):
    """The pointer, what opens, and what was opened."""

    class World:
        current, broken, opened = "v1", (), []

        def open(self, bundle, _params, version=None):
            self.opened.append(bundle.name)
            if bundle.name in self.broken:
                raise BrokenBundle(f"{bundle.name} is broken: publish it again")
            found = engine(bundle.name)
            found.warm_up = lambda: found.answer("warm", "", 0, 1)
            return found

    world = World()
    monkeypatch.setattr(host.Engine, "open", world.open)
    world.follower = Follower(service, lambda: Path(world.current), ServeParams())
    return world


def test_another_version_is_served_with_all_events_and_the_way_back_too(world, service):
    service.happened([Event("e1", "u1", "i0", "click", NOW)])
    assert not world.follower.look()
    for version in ("v2", "v1"):
        world.current = version
        assert world.follower.look()
        assert service.recommend("r", "u1", NOW + 1, 3).policy_id == version
        assert len(service.engine.scorer.state.known("u1").events) == 1
    assert world.opened == ["v2", "v1"]


def test_a_bundle_that_cannot_be_served_is_opened_once_and_the_old_one_stays(
    world, service, caplog
):
    world.current, world.broken = "v2", ("v2",)
    assert [world.follower.look() for _ in range(3)] == [False] * 3
    assert world.opened == ["v2"]
    assert "v1 stays: v2 is broken: publish it again" in caplog.text
    assert service.recommend("r", "u1", NOW, 3).policy_id == "v1"
    world.current = "v3"
    assert world.follower.look()


def test_whatever_goes_wrong_the_follower_goes_on(world, service, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    looks = iter([ValueError("odd"), None])
    done = []

    def look():
        wrong = next(looks, None)
        if wrong:
            raise wrong
        done.append(1)
        world.follower._stopped.set()

    monkeypatch.setattr(follower, "_LOOK_S", 0.001)
    monkeypatch.setattr(world.follower, "look", look)
    world.follower._follow()
    assert done == [1]
    assert "v1 stays" in caplog.text


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_start_knows_events_and_what_was_shown_and_reads_slates_once(
    world, engine, tmp_path, monkeypatch, kind
):
    folder = tmp_path / "log"
    folder.mkdir()
    slate = record_of(engine().answer("r1", "u1", NOW, 3))
    event = Event("e1", "u1", "i0", "click", NOW).record()
    (folder / "1.log").write_bytes(line(slate) + line(event))
    reads, real = [], hours.records

    def counted(*words, **more):
        reads.append(more)
        return real(*words, **more)

    def opened(bundle, params, version=None):
        found = world.open(bundle, params)
        found.exposures = Exposures(params.cap_shown, params.cap_days)
        return found

    monkeypatch.setattr(hours, "records", counted)
    monkeypatch.setattr(host.Engine, "open", opened)
    for most, shown in ((2, 3), (None, 0)):
        with host.hosted(Path("v1"), folder, ServeParams(cap_shown=most), kind) as started:
            assert started.events == 1
            assert started.service.begins(1) == "v1: a planted policy; 1 events known again"
            assert len(started.service.engine.exposures) == shown
        assert [path.name for path in folder.glob("*.log")] == ["1.log"], "a check leaves nothing"
    # Who shares a feed reads slates apart, where it goes on to hear them of others.
    assert reads == [{"events_only": kind == "sqlite"}, {"events_only": True}]


def test_a_start_knows_the_log_of_before_and_cuts_off_what_was_torn(world, tmp_path, monkeypatch):
    folder = tmp_path / "log"
    folder.mkdir()
    whole = b"".join(line(Event(f"e{n}", "u1", "i0", "click", NOW + n).record()) for n in range(4))
    (folder / "1.log").write_bytes(whole + line(Event("e9", "u1", "i0", "buy", NOW).record())[:20])
    (folder / "2.log").write_bytes(b"")
    started = host.start(Path("v1"), folder, ServeParams())
    assert (started.events, started.torn) == (4, 20)
    assert (folder / "1.log").read_bytes() == whole
    assert not (folder / "2.log").exists()
    assert len(list(folder.glob("*.log"))) == 2
    started.service.close()
