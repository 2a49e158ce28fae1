"""Whatever is sent is answered as OpenAPI says, or hung up on, and nothing of ours breaks.

TESSERA_FUZZ says how many requests of each of a dozen kinds are made up.
"""

from __future__ import annotations

import json
import logging
import os
import socket

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tessera.serve.http.bounded import MOST_BYTES
from tessera.serve.params import ServeParams

EXAMPLES = int(os.environ.get("TESSERA_FUZZ", "20"))
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
OPERATIONS = [
    "POST /v1/recommendations", "POST /v1/events", "POST /v1/closes", "POST /v1/investors",
    "GET /v1/items/{item_id}/similar", "GET /v1/investors/{investor_id}",
    "DELETE /v1/investors/{investor_id}", "GET /v1/version", "GET /metrics", "GET /healthz",
    "GET /readyz",
]  # fmt: skip
ROUTES = ("/v1/recommendations", "/v1/events", "/v1/closes", "/v1/investors",
          "/v1/items/i1/similar", "/console/login", "/v1/none")  # fmt: skip
MODES = [(label, GenerationMode.POSITIVE) for label in OPERATIONS] + [
    (label, GenerationMode.NEGATIVE)
    for label in OPERATIONS[:7]  # others are sent nothing
]
KINDS = ("application/json", "application/x-www-form-urlencoded",
         "multipart/form-data; boundary=x", "text/plain", "", "é")  # fmt: skip
made_up = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def params():
    """Nobody is turned away for asking often."""
    return ServeParams(rate_per_s=1e9, burst=1_000_000_000)


@pytest.fixture(autouse=True)
def _nothing_of_ours_breaks(caplog):
    caplog.set_level(logging.ERROR)
    yield
    broken = [
        one.getMessage() for one in caplog.get_records("call") if one.levelno >= logging.ERROR
    ]
    assert not broken


@pytest.fixture
def line():
    """Requests that take no proxy."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_every_operation_is_fuzzed(app):
    said = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items()
            for method in methods}  # fmt: skip
    assert said == set(OPERATIONS)


@pytest.mark.parametrize(("label", "mode"), MODES)
def test_answers_are_those_of_openapi(client, app, line, label, mode):
    schema = schemathesis.openapi.from_dict(app.openapi())
    operation = schema.find_operation_by_label(label)
    key = {"authorization": client.headers["authorization"]}

    @made_up
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(
            base_url=str(client.base_url), session=line, headers=key, checks=CHECKS
        )

    ask()


numbers = st.one_of(st.integers(), st.floats(), st.just(10**400))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(), st.sampled_from(["u1", "i1", "buy"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(
        ["investor_id", "k", "context", "events", "item_id", "event_id", "action", "time", "value"]
    ), inner),
    max_leaves=20,
)  # fmt: skip
written = values.map(lambda value: json.dumps(value).encode())  # NaN and lone surrogates too
torn = st.builds(lambda text, at: text[: at % (len(text) + 1)], written, st.integers(0, 10_000))
huge = st.builds(lambda text, times: text * times, st.binary(min_size=1), st.integers(1, 10_000))
bodies = st.one_of(st.binary(), written, torn, huge)


def test_bodies_of_any_bytes_are_answered(client):
    @made_up
    @given(st.sampled_from(ROUTES), bodies, st.sampled_from(KINDS))
    def send(path, body, kind):
        answer = client.post(path, content=body, headers={"content-type": kind.encode()})
        assert answer.status_code < 500
        assert answer.headers["x-request-id"]
        if answer.status_code >= 400 and not path.startswith("/console"):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["request_id"] == answer.headers["x-request-id"]

    send()


@pytest.mark.parametrize("path", ROUTES[:2])
def test_ten_megabytes_are_refused(client, path):
    for body in (b"x" * (10 * MOST_BYTES), b"[" * (10 * MOST_BYTES), b'"' * (10 * MOST_BYTES)):
        assert client.post(path, content=body).status_code == 413


heads = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.just(b"x: " + b"y" * 5000),
        st.sampled_from([b"content-length: 5", b"content-length: -1", b"transfer-encoding: chunked",
                         b"expect: 100-continue", b"connection: upgrade", b"upgrade: websocket",
                         b"host: x", b"authorization: Bearer \xff"]),
    ), max_size=40,
)  # fmt: skip
starts = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([b"GET /healthz HTTP/1.1", b"POST /v1/events HTTP/1.1", b"GET * HTTP/9.9",
                     b"POST /v1/items/%00%ff/similar?k=%f0 HTTP/1.0", b"PRI * HTTP/2.0"]),
)  # fmt: skip


def test_bytes_that_may_be_no_http_break_nothing(client):
    where = (client.base_url.host, client.base_url.port)

    @made_up
    @given(starts, heads, st.binary(max_size=300))
    def send(start, head, body):
        with socket.create_connection(where, timeout=10) as raw:
            raw.sendall(b"\r\n".join([start, *head, b"", body]))
            raw.shutdown(socket.SHUT_WR)
            try:
                answer = raw.recv(12)
            except ConnectionResetError:
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 5")

    send()
    assert client.get("/healthz").status_code == 200
