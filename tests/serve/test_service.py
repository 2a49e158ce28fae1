"""A slate leaves when it is logged; an event is known to the very next request, and once."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tessera.serve import log as served_log
from tessera.serve.erased import Erased
from tessera.serve.events import Event
from tessera.serve.log import ServedLog, read_segment
from tessera.serve.logged import record_of, unexplored
from tessera.serve.sealing import exposures
from tessera.serve.service import Service
from tessera.shared.policies.slate import SlatePolicy, slate_propensities

NOW = 1_700_000_000_000_000


def event(n=1, item="i0", user="u1", **more):
    return Event(**{"event_id": f"e{n}", "user_id": user, "item_id": item, "action": "click",
                    "moment": NOW, **more})  # fmt: skip


def records(service):
    return read_segment(service.log.path).records


def test_the_log_gives_every_propensity_again(service):
    for n in range(1, 40):
        service.recommend("r" * n, "u1", NOW, 3)
    for one in records(service):
        scores = np.array(one["scores"])[None]
        chosen = np.array(one["chosen"])[None]
        again, every = slate_propensities(
            scores, np.ones_like(scores, bool), SlatePolicy(1.0, 0.2, 3), chosen
        )
        np.testing.assert_allclose(again[0], one["propensities"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(every[0], one["probabilities"], rtol=0, atol=1e-12)


def test_the_log_says_how_long_a_slate_waited_for_its_turn(service):
    slate = service.recommend("r1", "u1", NOW, 3)
    (logged,) = records(service)
    assert logged["took_ms"]["turn"] == round(1000 * slate.took_s["turn"], 3)
    assert "log" not in logged["took_ms"], "a line cannot say how long it took to write it"


def test_the_next_request_knows_an_event(service):
    before = service.recommend("r1", "u1", NOW + 1, 3).drawn.score_C[0]
    assert service.happened([event()]).count("new") == 1
    assert service.recommend("r2", "u1", NOW + 1, 3).drawn.score_C[0] == before + 10
    assert service.recommend("r3", "u2", NOW + 1, 3).drawn.score_C[0] == before


def test_a_complaint_is_logged_and_counts_once_and_no_slate_knows_it(service):
    before = service.recommend("r1", "u1", NOW + 1, 3).drawn.score_C.tolist()
    complaint = event(action="complain")
    assert service.happened([complaint]) == ["new"]
    assert service.happened([complaint]) == ["known"]
    after = service.recommend("r2", "u1", NOW + 1, 3)
    assert after.drawn.score_C.tolist() == before
    assert after.context_version.endswith("+1"), "a replay counts the events that were known"
    assert [one["action"] for one in records(service) if one["kind"] == "event"] == ["complain"]


def test_an_event_that_a_crash_left_in_the_log_though_it_was_refused_counts_once(service):
    """Only a loss of power can leave it there; whoever was told 503 sends it again."""
    assert service.restore([event().record()]) == 1
    assert service.happened([event()]) == ["known"]
    assert len(service.engine.scorer.state.known("u1").events) == 1


def test_an_event_that_is_sent_again_counts_once(service):
    assert service.happened([event(), event(2, "i1"), event()]).count("new") == 2
    assert service.happened([event()]).count("new") == 0
    assert len(service.engine.scorer.state.known("u1").events) == 2


def test_the_log_alone_brings_the_state_back(service, engine, tmp_path):
    service.happened(
        [event(n, f"i{n % 5}", f"u{n % 3}", moment=NOW + 7 * n % 5) for n in range(40)]
    )
    again = Service(engine(), lambda: ServedLog(tmp_path / "2.log"))
    assert again.restore(records(service)) == 40
    for user in ("u0", "u1", "u2"):
        was, now = (one.engine.scorer.state.known(user).events for one in (service, again))
        assert was == now
    again.close()


def test_without_a_disk_the_best_are_shown_and_nothing_is_drawn(service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    slate = service.recommend("r1", "u1", NOW, 3)
    assert [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()] == ["i4", "i3", "i2"]
    assert slate.policy_id == "v1/greedy"
    assert slate.flags == ("degraded", "unlogged")
    assert slate.drawn.propensity_L.tolist() == [1.0, 1.0, 1.0]
    assert records(service) == []


def test_what_a_slow_disk_took_after_all_was_neither_shown_nor_done(
    service, engine, tmp_path, monkeypatch
):
    may, real = threading.Event(), os.fsync
    monkeypatch.setattr(served_log, "COMMIT_S", 0.05)
    monkeypatch.setattr(served_log.os, "fsync", lambda handle: (may.wait(5), real(handle)))
    slate = service.recommend("r1", "u1", 10, 3)
    assert "unlogged" in slate.flags
    assert slate.policy_id.endswith("/greedy")
    with pytest.raises(TimeoutError):
        service.happened([Event("e1", "u1", "i1", "buy", 11)])
    may.set()
    monkeypatch.setattr(served_log, "COMMIT_S", 5)
    assert "unlogged" not in service.recommend("r2", "u1", 12, 3).flags
    service.close()
    again = Service(engine(), lambda: ServedLog(tmp_path / "served" / "2.log"))
    assert again.restore(records(service)) == 0
    shown = [one["request_id"] for one in records(service) if one["kind"] == "slate"]
    assert shown == ["r2"]
    again.close()


@pytest.mark.parametrize(("patience_s", "order"), [(5.0, [1, 0, 2]), (0.0, [1, 2, 0])])
def test_a_quick_disk_ends_a_slate_within_its_turn_and_a_slow_one_holds_up_nobody(
    service, monkeypatch, patience_s, order
):
    """0 is a sync, 1 and 2 are slates that are worked out; one sync may hold both."""
    seen, both = [], threading.Event()
    real_sync, real_answer = os.fsync, type(service.engine).answer

    def sync(handle):
        both.wait(0.2 if patience_s else 60)
        real_sync(handle)
        seen.append(0)

    def answer(self, request_id, *more):
        seen.append(int(request_id))
        if len([one for one in seen if one]) == 2:
            both.set()
        return real_answer(self, request_id, *more)

    monkeypatch.setattr("tessera.serve.service._SOON_S", patience_s)
    monkeypatch.setattr(served_log, "COMMIT_S", 60)
    monkeypatch.setattr(type(service.engine), "answer", answer)
    monkeypatch.setattr(served_log.os, "fsync", sync)
    first = threading.Thread(target=service.recommend, args=("1", "u1", NOW, 3))
    first.start()
    while not seen:
        time.sleep(0.001)
    service.recommend("2", "u1", NOW, 3)
    first.join()
    assert seen[:3] == order


def test_an_event_that_cannot_be_written_is_not_known(service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        service.happened([event()])
    assert service.engine.scorer.state.known("u1").events == ()


def test_a_greedy_slate_of_more_positions_than_candidates_ends_early(service):
    slate = service.recommend("r1", "u1", NOW, 3)
    greedy = unexplored(slate, 9)
    assert len(greedy.drawn.shown()) == 5
    assert len(exposures([record_of(greedy)])) == 5
    assert {row["policy_id"] for row in exposures([record_of(greedy)])} == {"v1/greedy"}


def test_another_bundle_knows_every_event_of_before_and_of_meanwhile(service, engine):
    stop, sent = threading.Event(), []

    def send():
        while not stop.is_set() and len(sent) < 3000:
            sent.append(event(len(sent), user=f"u{len(sent) % 7}"))
            service.happened(sent[-1:])

    thread = threading.Thread(target=send)
    thread.start()
    versions = set()
    for n in range(2, 30):
        service.swap(engine(f"v{n}"))
        versions.add(service.recommend("r", "u1", NOW, 3).policy_id)
    stop.set()
    thread.join()
    assert len(versions) == 28
    state = service.engine.scorer.state
    assert sum(len(state.known(f"u{n}").events) for n in range(7)) == len(sent) > 0


def test_what_arrives_while_another_bundle_is_fed_is_known_to_it(service, engine, monkeypatch):
    service.happened([event(1)])
    other = engine("v2")
    add = other.scorer.state.add
    late = iter([event(2, "i3")])

    def slow_add(*row):
        service.happened(late)  # arrives in the middle
        return add(*row)

    monkeypatch.setattr(other.scorer.state, "add", slow_add)
    service.swap(other)
    assert {one.event_id for one in other.scorer.state.known("u1").events} == {"e1", "e2"}


def test_exposures_are_rows_of_the_contract(service):
    rows = exposures([record_of(service.recommend("r1", "u1", NOW, 3))])
    assert [row["position"] for row in rows] == [1, 2, 3]
    for row in rows:
        at = row["candidate_ids"].index(row["item_id"])
        assert row["candidate_propensities"][at] == row["propensity"]
        assert sum(row["candidate_propensities"]) == pytest.approx(1.0)


def test_a_record_of_an_event_reads_back(service):
    one = replace(event(), request_id="r1", value=2.5, channel="app")
    service.happened([one])
    assert Event(**{k: v for k, v in records(service)[0].items() if k != "kind"}) == one


def test_a_candidate_from_elsewhere_knows_who_was_erased(service, engine, tmp_path):
    listed, elsewhere = (Erased(tmp_path / name) for name in ("served", "elsewhere"))
    listed.add("u1", 5)
    service.engine.scorer.erased, other = listed, engine("v2")
    other.scorer.erased = elsewhere
    assert not elsewhere.covers("u1", 4)
    service.try_out(other, 0.5)
    assert elsewhere.covers("u1", 4)
    assert not elsewhere.covers("u1", 6)
