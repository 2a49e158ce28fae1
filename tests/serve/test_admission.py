"""What is one too many is turned away before it is read, told when to come again, and counted."""

from __future__ import annotations

import threading
import time

import pytest

from tessera.serve.http import bounded
from tessera.serve.http.admission import Admission, Rates
from tessera.serve.http.keys import add_key
from tessera.serve.http.problems import Refused
from tessera.serve.log import read_segment
from tessera.serve.measures import IN_FLIGHT, SHED
from tessera.serve.params import ServeParams


class Hand:
    """A clock that stands still until it is moved."""

    at = 100.0

    def __call__(self):
        return self.at


@pytest.fixture
def hand():
    return Hand()


def taken(rates, sender, most=1000):
    """How many requests pass at once."""
    for n in range(most):
        try:
            rates.take(sender)
        except Refused as told:
            return n, told
    return most, None


def test_a_sender_has_a_burst_and_then_a_rate(hand):
    rates = Rates(per_s=2.0, burst=5, now=hand)
    assert taken(rates, "a")[0] == 5
    hand.at += 1.5
    assert taken(rates, "a")[0] == 3
    hand.at += 1000
    assert taken(rates, "a")[0] == 5, "rest is kept up to the burst"


def test_one_sender_takes_nothing_from_another(hand):
    rates = Rates(per_s=1.0, burst=3, now=hand)
    assert taken(rates, "a")[0] == 3
    assert taken(rates, "b")[0] == 3


def test_who_waits_as_long_as_was_said_passes(hand):
    rates = Rates(per_s=0.1, burst=1, now=hand)
    _, told = taken(rates, "a")
    assert told.after_s == 10
    hand.at += 9
    assert taken(rates, "a")[0] == 0
    hand.at += told.after_s - 9
    assert taken(rates, "a")[0] == 1


def test_no_more_senders_are_remembered_than_fit(hand, monkeypatch):
    monkeypatch.setattr("tessera.serve.http.admission._MOST_SENDERS", 3)
    rates = Rates(per_s=1.0, burst=1, now=hand)
    for sender in "abcde":
        rates.take(sender)
    assert list(rates._left) == ["c", "d", "e"]


def busy(admission, hand, costs_s, times):
    """Let as many in as are under way, each costing so much of the one processor."""
    for _ in range(times):
        admission.enter()
        hand.at += costs_s
        admission.leave()


def inside(admission):
    """How many are let in at once."""
    for n in range(1000):
        try:
            admission.check()
        except Refused:
            return n
        admission.enter()
    return 1000


@pytest.mark.parametrize(("costs_s", "fit"), [(0.01, 5), (0.025, 2), (0.001, 50)])
def test_as_many_wait_as_can_be_answered_in_half_the_time(hand, costs_s, fit):
    admission = Admission(most=1000, deadline_s=0.1, now=hand)
    busy(admission, hand, costs_s * (1 - 1e-6), 400)
    assert inside(admission) == fit


def test_what_one_costs_is_the_time_between_answers_however_many_work_on_it(hand):
    admission = Admission(most=1000, deadline_s=0.1, now=hand)
    for _ in range(8):
        admission.enter()
    for _ in range(400):  # each takes 80 ms, and one is done every 10 ms
        hand.at += 0.01 * (1 - 1e-6)
        admission.leave()
        admission.enter()
    for _ in range(8):
        hand.at += 0.01 * (1 - 1e-6)
        admission.leave()
    assert inside(admission) == 5


def test_time_without_requests_costs_nothing(hand):
    admission = Admission(most=1000, deadline_s=0.1, now=hand)
    for _ in range(400):
        hand.at += 60
        busy(admission, hand, 0.01 * (1 - 1e-6), 1)
    assert inside(admission) == 5


def test_one_alone_is_let_in_however_slow_all_were(hand):
    admission = Admission(most=1000, deadline_s=0.1, now=hand)
    busy(admission, hand, 5.0, 50)
    assert inside(admission) == 1
    admission.leave()
    busy(admission, hand, 0.001, 400)
    assert inside(admission) > 1, "and the mean forgets"


def test_never_more_than_a_param_says(hand):
    admission = Admission(most=7, deadline_s=1e6, now=hand)
    assert inside(admission) == 7


@pytest.fixture
def slow(service, monkeypatch):
    """Hold every slate until the event is set."""
    go, come, answer = threading.Event(), threading.Semaphore(0), service.engine.answer

    def waiting(*asked):
        come.release()
        go.wait(60)
        return answer(*asked)

    monkeypatch.setattr(service.engine, "answer", waiting)
    yield go, come
    go.set()


def ask(client, **more):
    return client.post("/v1/recommendations", json={"investor_id": "u1"}, **more)


@pytest.mark.parametrize("params", [ServeParams(in_flight=2, deadline_ms=60_000)])
def test_a_busy_service_sheds_and_says_when_to_come_again(client, service, slow, params):
    go, come = slow
    shed, codes = SHED.labels("busy")._value.get(), []
    threads = [threading.Thread(target=lambda: codes.append(ask(client).status_code))
               for _ in range(2)]  # fmt: skip
    for thread in threads:
        thread.start()
    assert come.acquire(timeout=30), "one is worked out, and the other one waits for its turn"
    end = time.monotonic() + 30
    while IN_FLIGHT._value.get() < 2 and time.monotonic() < end:
        time.sleep(0.01)
    answer = ask(client)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert SHED.labels("busy")._value.get() == shed + 1
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert client.get("/metrics").status_code == 200
    go.set()
    for thread in threads:
        thread.join()
    assert codes == [200, 200]
    assert ask(client).status_code == 200
    assert len(read_segment(service.log.path).records) == 3, "what is shed is not logged as shown"


@pytest.mark.parametrize("params", [ServeParams(in_flight=1, deadline_ms=60_000)])
def test_a_slow_body_takes_no_place(client, slow, params):
    go, _ = slow
    go.set()

    def drops():
        yield b'{"investor_id"'
        assert ask(client).status_code == 200  # another one, while this body is on its way
        yield b': "u1"}'

    headers = {"content-type": "application/json"}
    assert client.post("/v1/recommendations", content=drops(), headers=headers).status_code == 200


@pytest.mark.parametrize("params", [ServeParams(in_flight=1, deadline_ms=60_000)])
def test_what_is_shed_is_not_read(client, slow, params, monkeypatch):
    go, come = slow
    thread = threading.Thread(target=ask, args=(client,))
    thread.start()
    assert come.acquire(timeout=30)

    async def nobody_reads(self, receive):
        raise AssertionError

    monkeypatch.setattr(bounded.Bounded, "_read", nobody_reads)
    assert client.post("/v1/events", content=b"{").status_code == 429
    go.set()
    thread.join()


@pytest.mark.parametrize("params", [ServeParams(rate_per_s=0.01, burst=3)])
def test_a_key_may_ask_only_so_often(client, keys, params):
    codes = [ask(client).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert ask(client).headers["Retry-After"] == "100"
    other = {"authorization": f"Bearer {add_key(keys, 'other', 'recommend')}"}
    assert ask(client, headers=other).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("params", [ServeParams(rate_per_s=0.01, burst=3)])
def test_whoever_guesses_keys_is_counted_by_address(client, params):
    codes = [ask(client, headers={"authorization": f"Bearer {n}"}).status_code for n in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    assert ask(client).status_code == 200, "a key that is known is counted apart"


def test_bodies_that_are_read_at_once_are_bounded_together(client, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_HELD", 1000)
    answer = client.post("/v1/events", content=b"x" * 2000)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    for _ in range(20):  # what was held is let go
        assert ask(client).status_code == 200


def test_every_status_that_may_pass_says_when():
    from tessera.serve.http.problems import problem

    for status in (429, 503):
        assert int(problem("r", Refused(status, "t", "d")).headers["Retry-After"]) >= 1
    assert "Retry-After" not in problem("r", Refused(404, "t", "d")).headers


def test_the_deadline_begins_when_the_request_comes(client, service, monkeypatch):
    seen = []
    answer = service.engine.answer

    def looking(*asked):
        seen.append((asked[-1], time.perf_counter()))
        return answer(*asked)

    monkeypatch.setattr(service.engine, "answer", looking)
    before = time.perf_counter()
    ask(client)
    ((deadline, then),) = seen
    assert before < deadline.begun < then
    assert deadline.span_s == ServeParams().deadline_ms / 1000
