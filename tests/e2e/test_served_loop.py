"""A new user's way round: run, serve, click, kill, serve again, and run on what was served."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress

import pyarrow.parquet as pq
import pytest
import yaml

from tessera.platform.release import pointer
from tessera.platform.workspace import files

_PATIENCE_S = 180
INVESTORS = [f"u{number:06d}" for number in range(8)]


@pytest.fixture
def copy(ran, tmp_path):
    """Copy the checkout that ran, with a published model that can be served."""
    shutil.copytree(ran[0].root, tmp_path / "copy", symlinks=True)
    found = type(ran[0])(tmp_path / "copy")
    if pointer.current_version(found.open_workspace()) == "v0":
        found.must("tessera", "promote", "--reason", "a first release", "--approver", "A. Rossi")
    return found


class Served:
    """A service that a person started, and the browser in front of it."""

    def __init__(self, process, port, printed, key):
        self.process, self.port, self.printed, self.key = process, port, printed, key
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser = urllib.request.build_opener(jar)

    def ask(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._at(path), data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def page(self, path, **form):
        """Open a page of the console, or send its form."""
        data = None
        if form:
            token = re.search(r'name="csrf" value="([^"]+)"', self.seen).group(1)
            data = urllib.parse.urlencode({**form, "csrf": token}).encode()
        with self._browser.open(self._at(path), data, timeout=60) as answer:
            self.seen = answer.read().decode()
        return self.seen

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _at(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def serving(checkout, key=None):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = checkout.start("tessera", "serve", "--port", str(port))
    try:
        printed = ""
        while "OpenAPI" not in printed or (key is None and "Key " not in printed):
            line = process.stdout.readline()
            assert line, printed
            printed += line
        key = key or re.search(r"Key +(\S+)", printed).group(1)
        served = Served(process, port, printed, key)
        end = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(urllib.error.URLError, ConnectionError):
                served.ask("/readyz")
                break
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield served
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def act(served):
    """Ask for some investors and click what stands at the top; return how many events that were."""
    for number, investor in enumerate(INVESTORS):
        slate = served.ask("/v1/recommendations", {"investor_id": investor})
        event = {
            "event_id": f"click-{number}",
            "investor_id": investor,
            "action": "click",
            "request_id": slate["request_id"],
            "item_id": slate["items"][0]["item_id"],
        }
        for status in ("new", "known"):
            assert served.ask("/v1/events", {"events": [event]})["status"] == [status]
    return len(INVESTORS)


def offered(served, investor, times=12):
    return {
        item["item_id"]
        for _ in range(times)
        for item in served.ask("/v1/recommendations", {"investor_id": investor})["items"]
    }


def test_a_new_user_serves_clicks_kills_serves_again_and_runs_on_what_was_served(copy):
    workspace, investor = copy.open_workspace(), "u000001"
    profile = copy.root / "profiles" / "market.yaml"
    said = yaml.safe_load(profile.read_text())
    # On a machine that does much else nothing may be left out of a slate.
    said["serve"] = {**said.get("serve", {}), "deadline_ms": 60_000}
    profile.write_text(yaml.safe_dump(said))
    with serving(copy) as served:
        known = act(served)
        served.page("/console")
        served.page("/console/login", key=served.key)
        page = served.page(f"/console/investor?id={investor}")
        item = re.search(r'name="item" value="([^"]+)"', page).group(1)
        after = served.page("/console/events", investor=investor, item=item, action="buy")
        assert f'name="item" value="{item}"' not in after, "the next slate knows it"
        assert item not in offered(served, investor)
        served.kill()
    with serving(copy, served.key) as again:
        assert f"{known + 1} events known again" in again.printed
        assert item not in offered(again, investor)
    assert "slates drawn again" in copy.must("tessera", "served", "--replay")
    profile.write_text(yaml.safe_dump({**said, "ingest": {"source": "served", "of": "market"}}))
    printed = copy.must("tessera", "run")
    assert "Running stage 'synth'" not in printed
    assert re.search(r"(PROMOTE|HOLD|REJECT|INVALID): ", printed), printed
    assert files.read_json(workspace.artifact("verdict"))["n_requests"] > 0
    shown = pq.read_table(workspace.artifact("exposures"))
    assert shown["policy_id"].to_pylist().count("v1") == 3 * (len(INVESTORS) + 2 * 12)
    done = pq.read_table(workspace.artifact("events"))["event_id"].to_pylist()
    assert sum(name.startswith(("click-", "console-")) for name in done) == known + 1
