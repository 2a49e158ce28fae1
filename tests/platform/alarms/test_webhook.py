"""Somebody is told over HTTP, signed, again while nobody took it, and never twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tessera.contracts.errors import BadParams
from tessera.platform.watching import record, webhook
from tessera.platform.watching.raising import raise_alarms

SECRET = "a secret of the tests"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(webhook.time, "sleep", lambda _s: None)
    monkeypatch.setattr(webhook, "_PATIENCE_S", 0.5)


@contextmanager
def receiver(*answers):
    """Serve on loopback; answers in order, the last again and again, None hangs up silently."""
    heard, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.path, dict(self.headers), body))
            status = left.pop(0) if len(left) > 1 else left[0]
            if status is not None:
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook?team=1", heard
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def named(monkeypatch):
    """Name an address and a secret in the environment."""

    def name(address, secret=SECRET):
        monkeypatch.setenv("TESSERA_WEBHOOK", address)
        monkeypatch.setenv("TESSERA_WEBHOOK_SECRET", secret)

    return name


def tell(planted, *points, number=0):
    day = planted.day(number, *(points or (planted.point("gini"),)))
    return raise_alarms(planted.workspace, day, planted.after(day))


def kinds(planted):
    return [one["kind"] for one in record.entries(planted.workspace) if one["kind"] != "alarm"]


def test_an_alarm_is_told_once_and_signed(planted, named):
    with receiver(200) as (address, heard):
        named(address)
        (found,) = tell(planted)
        tell(planted)
    ((path, headers, body),) = heard
    assert path == "/hook?team=1"
    assert headers["Tessera-Alarm"] == f"market/{found.alarm.id}"
    moment, made = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Tessera-Signature"]).groups()
    want = hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert made == want
    told = json.loads(body)
    assert (told["profile"], told["family"], told["severity"]) == (
        "market",
        "popularity",
        "warning",
    )
    assert SECRET not in body.decode()
    assert kinds(planted) == ["telling", "told"]


def test_it_is_tried_again_while_the_receiver_says_that_it_did_not_take_it(planted, named):
    with receiver(503, 429, 204) as (address, heard):
        named(address)
        tell(planted)
    assert len(heard) == 3
    last = record.entries(planted.workspace)[-1]
    assert (last["kind"], last["tries"], last["says"]) == ("told", 3, "answered 204")


def test_a_receiver_that_is_away_is_told_when_the_day_is_run_again(planted, named):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    named(f"http://127.0.0.1:{port}/")
    points = (planted.point("gini"), planted.point("click_rate"))
    tell(planted, *points)
    assert [kind for kind in kinds(planted) if kind != "action"] == ["telling", "untold"], (
        "where one cannot be told the others wait"
    )
    with receiver(200) as (address, heard):
        named(address)
        for _ in range(2):
            tell(planted, *points)
    assert len(heard) == 2


def test_an_alarm_that_is_refused_keeps_nobody_from_the_others(planted, named):
    with receiver(400, 200) as (address, heard):
        named(address)
        tell(planted, planted.point("gini"), planted.point("events.top_item_share"))
    assert len(heard) == 2
    assert kinds(planted) == ["telling", "untold", "telling", "told"]


def test_where_no_answer_came_nobody_knows_and_it_is_not_sent_again(planted, named):
    with receiver(None) as (address, heard):
        named(address)
        for _ in range(2):
            tell(planted)
    assert len(heard) == 1
    last = record.entries(planted.workspace)[-1]
    assert (last["kind"], last["taken"], last["tries"]) == ("told", None, 1)
    page = next((planted.workspace.watched / "incidents").iterdir()).read_text()
    assert "nobody knows if it was taken, it is not told again" in page


def test_a_crash_while_it_is_told_leaves_it_untold(planted, named, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with receiver(200) as (address, heard):
        named(address)
        with monkeypatch.context() as patch:
            patch.setattr(webhook.Webhook, "tell", killed)
            with pytest.raises(KeyboardInterrupt):
                tell(planted)
        tell(planted)
    assert heard == []
    assert kinds(planted) == ["telling"]


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_refusal_is_said_no_redirect_is_followed(planted, named, status):
    with receiver(status) as (address, heard):
        named(address)
        tell(planted)
    assert [path for path, _, _ in heard] == ["/hook?team=1"]
    last = record.entries(planted.workspace)[-1]
    assert (last["kind"], last["taken"], last["says"]) == ("untold", False, f"answered {status}")


def test_a_host_that_is_no_name_is_untold_and_stops_nothing(planted, named):
    named(f"https://{'a' * 64}.example.org/")
    tell(planted)
    last = record.entries(planted.workspace)[-1]
    assert (last["kind"], last["taken"]) == ("untold", False)


def test_of_a_day_that_is_past_nobody_is_told(planted, named):
    with receiver(200) as (address, heard):
        named(address)
        day = planted.day(0, planted.point("gini"))
        raise_alarms(planted.workspace, day, planted.after(day, days=30))
    assert heard == []


@pytest.mark.parametrize(
    ("address", "secret", "says"),
    [
        ("http://example.org/hook", SECRET, "must be https://host/path, or http:// on this"),
        ("ftp://example.org/hook", SECRET, "must be https"),
        ("https://user:word@example.org/", SECRET, "must be https"),
        ("https:///hook", SECRET, "must be https"),
        ("http://localhost:99999/", SECRET, "must be https"),
        ("https://example.org:99999/", SECRET, "must be https"),
        ("https://:word@example.org/", SECRET, "must be https"),
        ("https://example.org/\N{LATIN SMALL LETTER A WITH DIAERESIS}", SECRET, "must be https"),
        ("https://example.org/a hook", SECRET, "must be https"),
        ("https://example.org/hook", "short", "set TESSERA_WEBHOOK_SECRET too, to 16 letters"),
        ("https://example.org/hook", "", "set TESSERA_WEBHOOK_SECRET too"),
    ],
)
def test_a_bad_address_or_secret_stops_before_anything_is_recorded(
    planted, named, address, secret, says
):
    named(address, secret)
    with pytest.raises(BadParams, match=says) as told:
        tell(planted)
    assert "word@" not in str(told.value)
    assert record.entries(planted.workspace) == []
