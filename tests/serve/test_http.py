"""The service over HTTP: what is asked is answered, what cannot be is one problem."""

from __future__ import annotations

import errno
import json
import re
import socket

import httpx
import pytest

from tessera.contracts.errors import BadParams
from tessera.serve.http import bounded
from tessera.serve.http.bounded import MOST_BYTES
from tessera.serve.http.keys import add_key
from tessera.serve.log import read_segment


def ask(client, **body):
    return client.post("/v1/recommendations", json={"investor_id": "u1"} | body)


def happened(client, **body):
    event = {"event_id": "e1", "investor_id": "u1", "item_id": "i0", "action": "buy"} | body
    return client.post("/v1/events", json={"events": [event]})


def test_a_slate_says_of_each_item_what_the_log_says(client, service):
    answer = ask(client, k=2)
    assert answer.status_code == 200
    told = answer.json()
    assert [one["position"] for one in told["items"]] == [1, 2]
    (logged,) = read_segment(service.log.path).records
    assert logged["request_id"] == told["request_id"] == answer.headers["X-Request-Id"]
    for one, chosen, propensity in zip(
        told["items"], logged["chosen"], logged["propensities"], strict=True
    ):
        assert one["item_id"] == logged["candidate_ids"][chosen]
        assert one["propensity"] == propensity
        assert one["reason"] == f"{one['item_id']} suits"
        (fact,) = one["facts"]
        assert (fact["name"], fact["value"], fact["source"]) == ("close_eur", 5.5, "prices")
        assert fact["as_of"] == "2023-11-14T22:13:20Z"
    assert told["removed"] == {"held": 2}


def test_the_log_says_through_which_channel_a_slate_was_asked_for(client, service):
    ask(client, context={"channel": "branch"})
    ask(client)
    told = [one["channel"] for one in read_segment(service.log.path).records]
    assert told == ["branch", None]


def test_a_complaint_is_taken_in_and_is_no_history(client, service):
    assert happened(client, action="complain").json()["status"] == ["new"]
    (logged,) = read_segment(service.log.path).records
    assert (logged["kind"], logged["action"]) == ("event", "complain")
    assert client.get("/v1/investors/u1").status_code == 404, "nothing is known of them by it"
    told = [{"item_id": "i0", "action": "complain"}]
    refused = client.post("/v1/recommendations", json={"history": told})
    assert refused.status_code == 422


@pytest.mark.parametrize("after", [True, False])
def test_a_swap_meanwhile_leaves_the_slate_of_one_bundle(client, service, monkeypatch, after):
    recommend, other = service.recommend, type(service.engine)("v2")

    def swapped(*asked):
        slate = recommend(*asked) if after else None
        service.swap(other)
        return slate or recommend(*asked)

    monkeypatch.setattr(service, "recommend", swapped)
    answer = ask(client).json()
    assert answer["version"] == answer["policy_id"] == ("v1" if after else "v2")


def test_as_many_positions_as_were_judged_by_default(client):
    assert len(ask(client).json()["items"]) == 3


def test_feedback_changes_the_very_next_slate(client, service):
    before = {one["item_id"]: one["score"] for one in ask(client, k=5).json()["items"]}
    assert happened(client, time="2023-11-14T22:13:19Z").json()["status"] == ["new"]
    assert happened(client, time="2023-11-14T22:13:19Z").json()["status"] == ["known"]
    after = {one["item_id"]: one["score"] for one in ask(client, k=5).json()["items"]}
    assert after["i0"] == before["i0"] + 10


def test_an_id_that_stands_for_something_else_is_a_conflict_and_the_first_stays(client, service):
    time = "2023-11-14T20:13:19Z"
    happened(client, time=time)
    before = _conflicts(client)  # of the process, whose other tests count too
    event = {"event_id": "e1", "investor_id": "u1", "item_id": "i0", "action": "buy", "time": time}
    others = [
        {"item_id": "i2"},
        {"action": "sell"},
        {"investor_id": "u2"},
        {"value": 7.0},
        {"request_id": "r9"},
        {"channel": "shop"},
        {"time": "2023-11-14T21:13:19Z"},
    ]
    body = {"events": [event, *(event | other for other in others), event | {"time": None}]}
    told = client.post("/v1/events", json=body).json()
    assert told["status"] == ["known", *["conflict"] * len(others), "known"]
    assert (told["new"], told["known"], told["conflict"]) == (0, 2, len(others))
    (kept,) = read_segment(service.log.path).records
    assert (kept["item_id"], kept["action"], kept["user_id"]) == ("i0", "buy", "u1")
    assert _conflicts(client) == before + len(others)


def _conflicts(client):
    found = re.search(r'tessera_events_total\{kind="conflict"\} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_of_two_of_one_batch_the_first_stays(client):
    event = {"event_id": "e1", "investor_id": "u1", "item_id": "i0", "action": "buy"}
    body = {"events": [event, event, event | {"item_id": "i1"}]}
    assert client.post("/v1/events", json=body).json()["status"] == ["new", "known", "conflict"]


def test_every_answer_has_an_id_of_its_own(client):
    ids = {client.get("/healthz").headers["X-Request-Id"] for _ in range(20)}
    assert len(ids) == 20


BAD = [
    ({"k": 0}, "k"),
    ({"k": -1}, "k"),
    ({"k": 101}, "k"),
    ({"k": "three"}, "k"),
    ({"investor_id": ""}, "investor_id"),
    ({"investor_id": "a\nb"}, "investor_id"),
    ({"investor_id": "x" * 129}, "investor_id"),
    ({"investor_id": 7}, "investor_id"),
    ({"user": "u1"}, "user"),
    ({"context": {"time": "2023-11-14T22:15:00Z"}}, "context.time"),
    ({"context": {"time": "2023-11-14T22:13:00"}}, "context.time"),
    ({"context": {"mood": "good"}}, "context.mood"),
]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "investor_id"),
        ({"investor_id": "u1", "session_id": "s1"}, "session_id"),
        ({"session_id": "s1", "history": []}, "history"),
        ({"investor_id": "session:s1"}, "investor_id"),
        ({"history": [{"item_id": "i1", "action": "eat"}]}, "history.0.action"),
        ({"history": [{"item_id": "i1", "action": "buy", "time": "2023-11-14T22:15:00Z"}]},
         "history.0.time"),
    ],
)  # fmt: skip
def test_a_slate_is_for_exactly_one(client, service, body, field):
    answer = client.post("/v1/recommendations", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert read_segment(service.log.path).records == []


def test_a_history_sent_along_shapes_the_slate_and_nothing_of_it_is_kept(client, service):
    asked = {"history": [{"item_id": "i0", "action": "buy"}] * 2, "k": 2}
    told = client.post("/v1/recommendations", json=asked).json()
    assert [one["item_id"] for one in told["items"]] == ["i0", "i4"], "the best, none drawn"
    assert told["items"][0]["score"] == 20.0
    assert told["policy_id"] == "v1/greedy"
    assert told["flags"] == ["inline"]
    assert told["investor_id"] is told["session_id"] is None
    assert read_segment(service.log.path).records == []
    assert service.engine.scorer.state.version == 0


def test_a_session_is_somebody_whose_events_are_known(client, service):
    time = "2023-11-14T22:13:19Z"
    event = {"event_id": "e1", "session_id": "s1", "item_id": "i0", "action": "click", "time": time}
    assert client.post("/v1/events", json={"events": [event]}).json()["new"] == 1
    told = {
        name: client.post("/v1/recommendations", json={"session_id": name, "k": 5}).json()
        for name in ("s1", "s2")
    }
    score = {
        name: next(item["score"] for item in one["items"] if item["item_id"] == "i0")
        for name, one in told.items()
    }
    assert score == {"s1": 10.0, "s2": 0.0}
    assert (told["s1"]["investor_id"], told["s1"]["session_id"]) == (None, "s1")
    users = {one["user_id"] for one in read_segment(service.log.path).records}
    assert users == {"session:s1", "session:s2"}
    both = event | {"investor_id": "u1"}
    wrong = client.post("/v1/events", json={"events": [event, both]})
    assert wrong.json()["errors"][0]["field"] == "events.1.session_id"


@pytest.mark.parametrize(("body", "field"), BAD)
def test_a_wrong_field_is_named(client, service, body, field):
    answer = ask(client, **body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert field in [one["field"] for one in told["errors"]]
    assert told["status"] == 422
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert read_segment(service.log.path).records == []


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [("{'k': 1}", "application/json", "body: no JSON, Expecting property name"),
     ('{"investor_id": "u1"}', "text/plain", "body: send a JSON object, with the header"),
     ("[]", "application/json", "body: send a JSON object, with the header")],
)  # fmt: skip
def test_what_is_no_json_object_is_said_to_be_none(client, body, kind, says):
    answer = client.post("/v1/recommendations", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)
    assert [one["field"] for one in answer.json()["errors"]] == [""]


@pytest.mark.parametrize(
    "change",
    [{"action": "eat"}, {"value": -1}, {"event_id": None}, {"time": "2030-01-01T00:00:00Z"},
     {"value": 1e300}, {"extra": 1}],
)  # fmt: skip
def test_a_wrong_event_takes_nothing_in(client, service, change):
    good = {"event_id": "e1", "investor_id": "u1", "item_id": "i0", "action": "buy"}
    body = {"events": [good, good | {"event_id": "e2"} | change]}
    answer = client.post("/v1/events", json=body)
    assert answer.status_code == 422
    assert any(one["field"].startswith("events.1") for one in answer.json()["errors"])
    assert service.engine.scorer.state.version == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 422), (b"", 422), (b"[]", 422), (b'{"investor_id": NaN}', 422),
     (b"\xff\xfe", 422), (b"{" * 5000, 422), (b"x" * (MOST_BYTES + 1), 413)],
    ids=["torn", "empty", "list", "nan", "no text", "deep", "large"],
)  # fmt: skip
def test_what_is_no_request_is_a_problem(client, content, status):
    headers = {"content-type": "application/json"}
    for path in ("/v1/recommendations", "/v1/events"):
        answer = client.post(path, content=content, headers=headers)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_large_body_without_a_length_is_not_read_either(client):
    def pieces():
        for _ in range(64):
            yield b"x" * 65536

    headers = {"content-type": "application/json"}
    answer = client.post("/v1/events", content=pieces(), headers=headers)
    assert answer.status_code == 413


def test_too_many_events_are_refused(client):
    one = {"investor_id": "u1", "item_id": "i0", "action": "view"}
    body = {"events": [one | {"event_id": str(n)} for n in range(1001)]}
    assert client.post("/v1/events", json=body).status_code == 422


def test_unknown_routes_and_items_are_problems_too(client):
    for answer in (client.get("/nope"), client.get("/v1/items/nowhere/similar")):
        assert answer.status_code == 404
        assert answer.json()["request_id"]
    assert client.get("/nope").json()["detail"] == "no such route: /docs tells of all"
    assert client.get("/v1/items/i1/similar?k=0").status_code == 422
    assert [one["item_id"] for one in client.get("/v1/items/i1/similar?k=2").json()] == ["i0", "i1"]


def test_without_a_log_events_wait_and_slates_are_greedy(client, service, monkeypatch):
    monkeypatch.setattr(service.log, "_failed", OSError(errno.ENOSPC, "full"))
    refused = happened(client)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert client.get("/readyz").status_code == 503
    slate = ask(client).json()
    assert (slate["policy_id"], slate["flags"]) == ("v1/greedy", ["degraded", "unlogged"])


def test_a_fault_of_ours_says_no_more_than_where_to_look(client, service, monkeypatch, caplog):
    monkeypatch.setattr(service.engine, "answer", lambda *_: 1 / 0)
    answer = ask(client)
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert answer.json()["request_id"] in caplog.text


def test_openapi_is_of_version_3_1_and_names_every_problem(client):
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    answers = told["paths"]["/v1/recommendations"]["post"]["responses"]
    assert "application/problem+json" in answers["422"]["content"]
    assert json.dumps(told).count("ValidationError") == 0


def test_a_client_that_is_slow_with_its_body_is_answered(client, monkeypatch):
    monkeypatch.setattr(bounded, "_PATIENCE_S", 0.2)
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=5) as line:
        line.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        assert line.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_leaves_nothing_behind(client, service):
    host, port = client.base_url.host, client.base_url.port
    for _ in range(20):
        with socket.create_connection((host, port), timeout=5) as line:
            line.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    assert client.get("/healthz").status_code == 200
    assert service.engine.scorer.state.version == 0


ASKS = [("POST", "/v1/recommendations", "recommend"), ("POST", "/v1/events", "feedback"),
        ("GET", "/v1/items/i1/similar", "recommend"), ("GET", "/v1/version", "view"),
        ("GET", "/metrics", "view"), ("POST", "/v1/closes", "price"),
        ("POST", "/v1/investors", "classify")]  # fmt: skip
MAY = {"recommend": {"recommend"}, "feedback": {"feedback"}, "viewer": {"view"},
       "prices": {"price"}, "investors": {"classify"},
       "operator": {"recommend", "feedback", "view", "price", "classify"}}  # fmt: skip


@pytest.mark.parametrize("role", MAY)
@pytest.mark.parametrize(("method", "path", "what"), ASKS)
def test_a_key_opens_what_its_role_may(client, keys, role, method, path, what):
    secret = add_key(keys, "other", role)
    answer = client.request(method, path, headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code != 403) is (what in MAY[role])
    if answer.status_code == 403:
        (_, needed) = answer.json()["detail"].split("this needs a key of role ")
        needed, own = needed.split(", yours is of role ")
        assert (set(needed.split(" or ")), own) == (
            {one for one, may in MAY.items() if what in may}, role,
        )  # fmt: skip


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer é"])
@pytest.mark.parametrize(("method", "path", "_what"), ASKS)
def test_without_a_key_nothing_opens(client, given, method, path, _what):
    headers = {"authorization": given.encode()}
    assert client.request(method, path, headers=headers).status_code == 401


def test_every_route_but_those_of_health_asks_for_a_key(client):
    free = {"/healthz", "/readyz"}
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert ("security" in methods[method]) is (path not in free)
            answer = httpx.request(method, f"{client.base_url}{path}", trust_env=False)
            assert (answer.status_code == 200) if path in free else (answer.status_code == 401)


def test_a_key_is_rotated_without_a_restart(client, keys):
    old = add_key(keys, "shop", "recommend")
    new = add_key(keys, "shop", "recommend")
    codes = [
        client.get("/v1/items/i1/similar", headers={"authorization": f"Bearer {one}"}).status_code
        for one in (old, new)
    ]
    assert codes == [401, 200]
    assert old not in keys.read_text()
    assert new not in keys.read_text()
    assert keys.stat().st_mode & 0o777 == 0o600


def key_file(role="operator", digest="0" * 64):
    return json.dumps({"a": {"role": role, "sha256": digest}})


DAMAGED = [
    ("{", "cannot be read as a list of keys"),
    ("[]", "is no list of keys: it must name each"),
    (
        '{"a": 5}',
        "key 'a' has role None, not one of recommend, feedback, prices, investors, viewer, "
        "operator",
    ),
    (key_file("boss"), "key 'a' has role 'boss', not one of recommend"),
    (key_file(["operator"]), "key 'a' has role ['operator'], not one of"),
    ('{"a": {"role": "operator"}}', "key 'a' has no SHA-256 of 64 hex digits"),
    (key_file(digest="é" * 64), "key 'a' has no SHA-256"),
    (key_file(digest=7), "key 'a' has no SHA-256"),
]


def test_keys_that_were_damaged_open_as_before_and_it_is_said(client, keys, caplog):
    assert client.get("/v1/version").status_code == 200
    for damaged, says in DAMAGED:
        caplog.clear()
        keys.write_text(damaged)
        for _ in range(2):
            assert client.get("/v1/version").status_code == 200
        (told,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
        assert told.startswith(str(keys))
        assert says in told
        assert told.endswith("; the keys of before stay")
        with pytest.raises(BadParams, match=re.escape(says)):
            add_key(keys, "shop", "recommend")
        assert keys.read_text() == damaged
    keys.unlink()
    assert client.get("/v1/version").status_code == 401
