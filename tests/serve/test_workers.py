"""Several real processes behind one socket, with an engine of five items in each."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.cli.team import Team
from tessera.serve.events import COUNT, SLATE, Knowledge
from tessera.serve.feed import open_feed
from tessera.serve.filled import Rescue, filled
from tessera.serve.hours import open_segments
from tessera.serve.http.keys import add_key
from tessera.serve.order import Order

WORKER = """
import importlib.util, os, sys
from pathlib import Path
from tessera.serve import host, worker
from tessera.serve.order import Order
from tessera.serve.params import ServeParams
spec = importlib.util.spec_from_file_location("planted", sys.argv[1])
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)
def opened(bundle, params, version=None):
    found = planted.Engine(bundle.name)
    found.scorer.ranker = planted.SimpleNamespace(
        histories=planted.SimpleNamespace(user_id_U=["u1"]))
    found.warm_up = lambda: found.answer("warm", "", 0, 1)
    return found
host.Engine.open = opened
pointer = Path(sys.argv[2])
worker.work(Order.read(sys.stdin), ServeParams(), lambda: Path(pointer.read_text()),
            sys.stdin.fileno())
os._exit(0)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Two workers that are watched; all files lie in one folder."""
    home = tmp_path_factory.mktemp("workers")
    folder, pointer = home / "served", home / "current"
    pointer.write_text("v1")
    key = add_key(folder / "keys.json", "first", "operator")
    feed = open_feed("sqlite", folder)
    with socket.create_server(("127.0.0.1", 0)) as listener, filled(feed, folder):
        order = Order("market", str(folder), str(folder / "keys.json"), "sqlite",
                      listener.fileno(), 0, "one secret for all")  # fmt: skip
        words = [sys.executable, "-c", WORKER, str(Path(__file__).parent / "conftest.py"), pointer]
        (home / "metrics").mkdir()
        team = Team(words, order.line(), listener.fileno(), Rescue(feed, folder).bring,
                    {"PROMETHEUS_MULTIPROC_DIR": str(home / "metrics")})  # fmt: skip
        try:
            said = team.start(2)
            watching = threading.Thread(target=team.watch)
            watching.start()
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield SimpleNamespace(team=team, folder=folder, pointer=pointer, said=said, key=key,
                                  client=lambda: client(address, key))  # fmt: skip
            team.stopped.set()
            watching.join()
        finally:
            team.stop()
    feed.close()


def client(address, key):
    """Begin a connection, which any worker may take."""
    return httpx.Client(base_url=address, trust_env=False, timeout=30,
                        headers={"authorization": f"Bearer {key}"})  # fmt: skip


def pids(served):
    return {one.process.pid for one in served.team.workers}


def tell(served, name):
    event = {"event_id": name, "investor_id": "u1", "item_id": "i0", "action": "click"}
    with served.client() as one:
        return one.post("/v1/events", json={"events": [event]})


def ask(served):
    with served.client() as one:
        return one.post("/v1/recommendations", json={"investor_id": "u1", "k": 5}).json()


def count_known(served):
    with served.client() as one:
        return one.get("/v1/version").json()["events"]


def events_of(slate):
    """How many events of the investor the score of i0 tells of."""
    return round(next(one["score"] for one in slate["items"] if one["item_id"] == "i0") / 10)


def gauge(client, name):
    """Value of a gauge by its label, as the worker at the end of a connection tells it."""
    found = re.findall(rf'^{name}{{\w+="(\w+)"}} (.+)$', client.get("/metrics").text, re.M)
    return {label: float(value) for label, value in found}


def writers(served):
    return {int(re.search(r"-(\d+)\.log", one.path.name)[1])
            for one in open_segments(served.folder) if one.records}  # fmt: skip


def test_an_event_is_known_to_the_next_request_whichever_worker_answers(served):
    assert served.said == "v1: a planted policy; 0 events known again"
    before = events_of(ask(served))
    for n in range(60):
        assert tell(served, f"many-{n}").json()["status"] == ["new"]
        slate = ask(served)
        assert events_of(slate) == before + n + 1
        assert slate["flags"] == []
    assert tell(served, "many-7").json()["status"] == ["known"]
    assert writers(served) == pids(served), "both of them answered"


def test_who_logs_in_at_one_worker_is_known_to_all(served, log_in):
    with served.client() as one:
        assert log_in(one, served.key).status_code == 303
        cookies = dict(one.cookies)
    for _ in range(12):
        with served.client() as one:
            one.cookies.update(cookies)
            assert "Log out" in one.get("/console").text


def test_each_worker_follows_the_pointer(served, until):
    served.pointer.write_text("v2")
    until(lambda: [ask(served)["version"] for _ in range(12)] == ["v2"] * 12)
    assert tell(served, "after the swap").json()["new"] == 1


def test_a_worker_that_is_asked_for_figures_tells_of_all_of_them(served, until):
    """The other ones are not asked."""
    with served.client() as one:
        until(lambda: gauge(one, "tessera_version") == {"v1": 0.0, "v2": 1.0}, 20)
        memory = gauge(one, "tessera_resident_bytes")
    assert set(memory) == {str(one) for one in pids(served)}
    assert min(memory.values()) > 1e7


def test_a_kill_under_load_loses_nothing_acknowledged_and_another_one_takes_its_place(
    served, capfd, until
):
    before, known = pids(served), count_known(served)
    acknowledged, stop = [], threading.Event()

    def load(name):
        for n in range(100_000):
            if stop.is_set():
                return
            with contextlib.suppress(httpx.HTTPError):
                if tell(served, f"{name}-{n}").json()["new"]:
                    acknowledged.append(f"{name}-{n}")

    threads = [threading.Thread(target=load, args=(name,)) for name in ("a", "b", "c")]
    for one in threads:
        one.start()
    try:
        until(lambda: len(acknowledged) > 30)
        dead = served.team.workers[0].process.pid
        os.kill(dead, 9)
        until(lambda: dead not in pids(served))
        until(lambda: all(one.said for one in served.team.workers))
    finally:
        stop.set()
        for one in threads:
            one.join()
    assert f"worker 1 (process {dead}) ended by SIGKILL: another one is started" in (
        capfd.readouterr().err
    )
    assert len(pids(served) & before) == 1
    with served.client() as one:
        told = gauge(one, "tessera_resident_bytes")
    assert set(told) == {str(one) for one in pids(served)}, "nobody counts the dead one any more"
    logged = Knowledge.of(record for one in open_segments(served.folder) for record in one.records)
    assert set(acknowledged) <= set(logged.events)
    for _ in range(12):
        assert count_known(served) == len(logged.events) >= known + len(acknowledged)


def test_workers_end_when_who_started_them_is_gone_and_leave_nothing(served):
    """The last one, since it ends them."""
    ask(served)
    served.team.stopped.set()
    family = [psutil.Process(one) for one in pids(served)]
    family += [child for one in family for child in one.children(recursive=True)]
    for one in served.team.workers:
        one.process.stdin.close()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    logged = []
    for one in open_segments(served.folder):
        assert one.torn == 0
        logged += one.records
    counts = [one for one in logged if one["kind"] == COUNT]
    slates = sum(one["kind"] == SLATE for one in logged)
    assert 0 < sum(one["log"].get("slates", 0) for one in counts) <= slates, "each counts its own"


def test_a_worker_that_cannot_begin_ends_the_start():
    team = Team([sys.executable, "-c", "raise SystemExit(2)"], "{}\n", 0, lambda: None)
    with pytest.raises(TesseraError, match="worker 1 did not start"):
        team.start(1)
    team.stop()


def test_a_worker_that_ends_before_it_serves_is_tried_again_after_a_pause(
    monkeypatch, capfd, until
):
    rescued, pauses = [], []

    def rescue():
        rescued.append(1)
        raise TesseraError("no feed")

    team = Team([sys.executable, "-c", "print('begun', flush=True); input()"], "\n", 0, rescue)
    team.start(1)
    team.workers[0].process.wait()
    team.workers[0].said.clear()
    monkeypatch.setattr("tessera.platform.cli.team.time.sleep", pauses.append)
    watching = threading.Thread(target=team.watch)
    watching.start()
    until(lambda: len(rescued) > 1)
    team.stopped.set()
    watching.join()
    team.stop()
    assert 1.0 in pauses
    told = capfd.readouterr().err
    assert "ended with code 0: another one is started" in told
    assert "what it logged last is brought later: no feed" in told


def test_an_order_reads_back_and_holds_what_is_shared():
    order = Order("market", "/served", "/served/keys.json", "redis", 7, -5, "secret")
    assert Order.read(open_lines(order.line())) == order
    assert json.loads(order.line())["session_secret"] == "secret"


def open_lines(text):
    return SimpleNamespace(readline=lambda: text)
