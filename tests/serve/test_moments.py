"""When something was done, and by whom: whatever is sent, what was logged can be read again."""

from __future__ import annotations

import itertools

import pytest

from tessera.contracts.arrow import DAY_US
from tessera.serve.clock import Clock
from tessera.serve.closed import seal_closed
from tessera.serve.events import Event
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys
from tessera.serve.log import read_segment
from tessera.serve.params import ServeParams
from tessera.serve.slate import at

CUT = 1_700_000_000_000_000
HOUR_NS = 3600 * 10**9


@pytest.fixture
def app(service, keys, params):
    ticks = itertools.count(CUT)
    return make_app(service, Clock(source=lambda: next(ticks)), Keys(keys), params)


def event(name, **more):
    return {"event_id": name, "investor_id": "u1", "item_id": "i0", "action": "buy", **more}


LONG_AGO = ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"]


@pytest.mark.parametrize("time", LONG_AGO)
def test_what_lies_before_1970_is_refused_and_nothing_is_logged(client, service, time):
    asked = {"investor_id": "u1", "context": {"time": time}}
    told = {"history": [{"item_id": "i0", "action": "buy", "time": time}]}
    for path, body, field in (
        ("/v1/recommendations", asked, "context.time"),
        ("/v1/recommendations", told, "history.0.time"),
        ("/v1/events", {"events": [event("e1"), event("e2", time=time)]}, "events.1.time"),
        ("/v1/closes", {"closes": [{"item_id": "i0", "close_eur": 1, "price_ts": time}]},
         "closes.0.price_ts"),
        ("/v1/investors", {"investors": [
            {"investor_id": "u1", "risk_class": 1, "valid_from": time}]},
         "investors.0.valid_from"),
    ):  # fmt: skip
        answer = client.post(path, json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{field} lies before 1970"
    assert not read_segment(service.log.path).records


def test_the_first_moment_of_all_can_be_sealed(service, tmp_path):
    service.happened([Event("e1", "u1", "i0", "buy", 0)])
    service.recommend("r1", "u1", 0, None)
    service.close()
    (made,) = seal_closed(tmp_path / "served", 10 * HOUR_NS)
    assert made.is_dir()


@pytest.mark.parametrize("params", [ServeParams(late_days=2)])
def test_what_lies_too_far_back_is_refused_and_would_move_nothing_of_the_next_run(client, service):
    late, in_time = (str(at(CUT - round(days * DAY_US))) for days in (2.001, 1.999))
    asked = {"investor_id": "u1", "context": {"time": late}}
    for path, body, field in (
        ("/v1/recommendations", asked, "context.time"),
        ("/v1/events", {"events": [event("e1"), event("e2", time=late)]}, "events.1.time"),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{field} lies more than 2 days back (serve.late_days)"
        assert answer.json()["errors"][0]["field"] == field
    assert not read_segment(service.log.path).records
    asked["context"]["time"] = in_time
    assert client.post("/v1/recommendations", json=asked).status_code == 200
    body = {"events": [event("e1"), event("e2", time=in_time)]}
    assert client.post("/v1/events", json=body).json()["new"] == 2


def test_the_next_slate_knows_what_was_told_by_a_clock_that_runs_ahead(client, service):
    ahead = str(at(CUT + 30_000_000))
    client.post("/v1/events", json={"events": [event("e1", time=ahead)]})
    slate = client.post("/v1/recommendations", json={"investor_id": "u1"}).json()
    assert max(slate["items"], key=lambda one: one["score"])["item_id"] == "i0"
    asked = {"investor_id": "u1", "context": {"time": ahead}}
    assert client.post("/v1/recommendations", json=asked).status_code == 200
    moments = [one["moment"] for one in read_segment(service.log.path).records]
    assert moments == sorted(moments), "what comes of a slate comes after it"
    assert moments[-1] < CUT + 1000


@pytest.mark.parametrize("name", ["erased-0", "session:x"])
def test_nobody_bears_a_name_that_the_log_keeps_for_somebody_else(client, name):
    for path, body in (
        ("/v1/recommendations", {"investor_id": name}),
        ("/v1/events", {"events": [event("e1", investor_id=name)]}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422
        assert "investor_id" in answer.json()["errors"][0]["field"]
