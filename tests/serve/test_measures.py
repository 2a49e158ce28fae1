"""The service tells Prometheus and its log how it goes, and of nobody."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tessera.serve.http.keys import add_key
from tessera.serve.http.lines import write_lines
from tessera.serve.logged import unexplored
from tessera.serve.params import ServeParams

WHO = "investor-4711"
STEPS = ("hydrate", "retrieve", "score", "choose", "draw", "explain")


def ask(client, **body):
    return client.post("/v1/recommendations", json={"investor_id": WHO} | body)


def happened(client, *ids):
    events = [{"event_id": one, "investor_id": WHO, "item_id": "i0", "action": "buy"}
              for one in ids]  # fmt: skip
    return client.post("/v1/events", json={"events": events})


def of(name, *labels):
    return name, frozenset(labels)


def figures(client):
    """Value of each figure, by name and what its labels say."""
    text = client.get("/metrics").text
    return {
        (one.name, frozenset(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@pytest.fixture
def more(client):
    """How much every figure grew since the test began."""
    before = figures(client)

    def grown():
        return {name: value - before.get(name, 0) for name, value in figures(client).items()}

    return grown


@pytest.fixture
def steps(service, monkeypatch):
    """Let every slate tell of its steps."""
    answer = service.engine.answer

    def timed(*asked):
        return replace(answer(*asked), took_s=dict.fromkeys(STEPS, 0.003))

    monkeypatch.setattr(service.engine, "answer", timed)


def test_requests_are_counted_by_route_and_status(client, more):
    ask(client)
    ask(client, k=0)
    client.get("/v1/items/i1/similar?k=2")
    client.get("/v1/items/i2/similar?k=2")
    client.get("/nope/4711")
    client.request("BREW", "/healthz")
    client.request("PURGE", "/healthz")
    grown = more()
    route = "/v1/recommendations"
    assert grown[of("tessera_requests_total", "200", route, "POST")] == 1
    assert grown[of("tessera_requests_total", "422", route, "POST")] == 1
    assert grown[of("tessera_request_seconds_count", route, "POST")] == 2
    assert grown[of("tessera_requests_total", "/v1/items/{item_id}/similar", "200", "GET")] == 2
    assert grown[of("tessera_requests_total", "404", "GET", "unknown")] == 1
    assert grown[of("tessera_requests_total", "400", "unread", "other")] == 1
    assert grown[of("tessera_requests_total", "405", "/healthz", "other")] == 1


def test_every_step_of_a_slate_has_a_histogram(client, steps, more):
    ask(client)
    grown = more()
    for step in (*STEPS, "turn", "log"):
        assert grown[of("tessera_step_seconds_count", step)] == 1, step
    assert grown[of("tessera_step_seconds_sum", "score")] == pytest.approx(0.003)
    assert grown[of("tessera_log_sync_seconds_count")] == 1
    assert grown[of("tessera_log_sync_seconds_sum")] > 0


def test_exploration_is_what_is_not_among_the_best(client, more):
    shown = [ask(client, k=2).json()["items"] for _ in range(30)]
    best = {"i3", "i4"}  # the planted engine scores an item by its number
    explored = sum(one["item_id"] not in best for items in shown for one in items)
    grown = more()
    assert grown[of("tessera_positions_total", "dense")] == 60
    assert grown[of("tessera_explored_positions_total")] == explored > 0


def test_what_rules_took_away_is_counted_by_rule(client, more):
    ask(client)
    ask(client)
    assert more()[of("tessera_removed_total", "held")] == 4


def test_flags_and_events_are_counted(client, service, more, monkeypatch):
    happened(client, "a", "b")
    happened(client, "b", "c", "c")
    monkeypatch.setattr(service.log, "_failed", OSError("full"))
    ask(client)
    grown = more()
    kinds = ("new", "known", "conflict")
    assert [grown[of("tessera_events_total", kind)] for kind in kinds] == [3, 2, 0]
    assert (
        grown[of("tessera_flags_total", "unlogged")]
        == grown[of("tessera_flags_total", "degraded")]
        == 1
    )
    assert grown[of("tessera_slates_total")] == 1


def test_the_version_served_is_1_and_the_one_before_0(client, service, engine):
    assert figures(client)[of("tessera_version", "v1")] == 1
    service.swap(engine("v2"))
    after = figures(client)
    assert (after[of("tessera_version", "v1")], after[of("tessera_version", "v2")]) == (0, 1)
    assert after[of("tessera_resident_bytes")] > 1e7


def test_no_figure_and_no_line_holds_an_id(client, keys, caplog):
    caplog.set_level(logging.INFO)
    ask(client)
    happened(client, "event-4711")
    client.get(f"/v1/items/{WHO}/similar")
    client.get(f"/{WHO}?who={WHO}")
    ask(client, k=0)
    assert len([one for one in caplog.records if one.name == "tessera.access"]) == 5
    told = "".join(one.getMessage() for one in caplog.records if not one.name.startswith("http"))
    assert "-4711" not in told
    assert "-4711" not in client.get("/metrics").text, "digits of a moment may be the same"
    assert client.headers["authorization"].split()[1] not in told


def test_every_line_has_the_id_of_its_request(client, service, monkeypatch):
    to = io.StringIO()
    handler = write_lines(to)
    try:
        monkeypatch.setattr(service.engine, "answer", lambda *_: 1 / 0)
        failed = ask(client)
        fine = client.get("/v1/version")
    finally:
        for name in ("tessera", "uvicorn.error"):
            logging.getLogger(name).removeHandler(handler)
    for answer, said in ((failed, "POST /v1/recommendations 500"), (fine, "GET /v1/version 200")):
        about = [one for one in to.getvalue().splitlines()
                 if f"request={answer.headers['X-Request-Id']}" in one]  # fmt: skip
        assert re.search(rf"INFO tessera.access request=\w+ {said} \d+\.\d ms key=first", about[-1])
    assert "ZeroDivisionError" in to.getvalue()
    assert f"ERROR tessera.serve request={failed.headers['X-Request-Id']}" in to.getvalue()


@pytest.mark.parametrize("role", ["recommend", "feedback"])
def test_figures_need_a_key_that_may_look(client, keys, role):
    for given, status in (("", 401), (f"Bearer {add_key(keys, 'x', role)}", 403)):
        headers = {"authorization": given}
        assert client.get("/metrics", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("params", "status"),
    [(ServeParams(open_metrics=True), 200), (ServeParams(open_metrics=False), 401)],
)
def test_a_param_opens_the_figures_to_this_machine_and_nothing_else(client, params, status):
    bare = {"authorization": ""}
    assert client.get("/metrics", headers=bare).status_code == status
    assert client.get("/v1/version", headers=bare).status_code == 401
    wrong = {"authorization": "Bearer x"}
    assert client.get("/metrics", headers=wrong).status_code == 401


@pytest.mark.parametrize("params", [ServeParams(open_metrics=True)])
def test_from_another_machine_figures_need_a_key_all_the_same(app, params):
    import asyncio

    async def code(host, **headers):
        transport = httpx.ASGITransport(app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as far:
            return (await far.get("/metrics", headers=headers)).status_code

    assert [asyncio.run(code(host)) for host in ("127.0.0.1", "::1", "192.0.2.7", "x")] == [
        200, 200, 401, 401,
    ]  # fmt: skip
    for said in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"):
        assert asyncio.run(code("127.0.0.1", **{said: "192.0.2.7"})) == 401, said


def test_a_slate_that_is_unlogged_twice_is_marked_once(service):
    slate = service.engine.answer("r", "u", 1, 2)
    twice = unexplored(unexplored(slate, 2), 2)
    assert (twice.policy_id, twice.flags) == ("v1/greedy", ("degraded", "unlogged"))


def test_several_processes_count_together(tmp_path):
    code = (
        "from tessera.serve import measures; measures.count_events(['new', 'new']);"
        "print(measures.exposition('v1').decode())"
    )
    told = ""
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        ).stdout  # fmt: skip
    assert 'tessera_events_total{kind="new"} 4.0' in told
    assert 'tessera_version{version="v1"} 1.0' in told
