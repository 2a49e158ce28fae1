"""What failed or was turned away is in the log once a minute, and nobody but the watch reads it."""

from __future__ import annotations

import logging

import pyarrow.parquet as pq
import pytest

from tessera.serve import minutes as counting
from tessera.serve.clock import Clock
from tessera.serve.closed import seal_closed
from tessera.serve.erased import Erased
from tessera.serve.erasing import mask_sealed
from tessera.serve.events import COUNT, Event, Knowledge
from tessera.serve.hours import read_before, records, sealed_hours
from tessera.serve.log import line, read_segment
from tessera.serve.logged import record_of
from tessera.serve.minutes import Minutes
from tessera.serve.params import ServeParams
from tessera.serve.replay import replay
from tessera.serve.tail import Tail
from tessera.serve.trial import Trial, newest
from tessera.serve.whole_log import write_log

NOW = 1_700_000_000_000_000
HOUR_NS = 3600 * 10**9
CANARY = "c" * 64


@pytest.fixture
def minutes(service):
    """Counts by a clock that stands."""
    return Minutes(service, Clock(source=lambda: NOW))


def counts(service):
    return [one for one in read_segment(service.log.path).records if one["kind"] == COUNT]


def ask(client, **body):
    answer = client.post("/v1/recommendations", json={"investor_id": "u1"} | body)
    client.get("/healthz")  # a request is counted behind its answer, and before the next one
    return answer


@pytest.mark.parametrize("params", [ServeParams(rate_per_s=0.001, burst=4)])
def test_a_minute_says_what_was_answered_failed_and_turned_away(
    client, service, minutes, monkeypatch
):
    assert ask(client).status_code == 200
    assert ask(client, k=0).status_code == 422
    assert client.get("/nowhere").status_code == 404
    monkeypatch.setattr(service.engine, "answer", lambda *_: 1 / 0)
    assert ask(client).status_code == 500
    assert ask(client).status_code == ask(client).status_code == 429
    minutes.look()
    (told,) = counts(service)
    assert told["requests"] == {"2xx": 1, "4xx": 1, "5xx": 1}, "not what no investor is asked by"
    assert (told["shed"], told["moment"]) == ({"rate": 2}, NOW)
    assert told["log"]["slates"] == 1
    assert told["log"]["ms"] > 0
    assert told.keys() == {"kind", "count_id", "moment", "requests", "shed", "log"}
    minutes.look()
    assert len(counts(service)) == 1, "nothing came, nothing is written"


def test_what_cannot_be_written_is_written_with_the_next_minute(client, service, minutes):
    ask(client)
    service.log._failed = OSError("full")
    with pytest.raises(OSError, match="full"):
        minutes.look()
    service.log._failed = None
    ask(client)
    minutes.look()
    (told,) = counts(service)
    assert told["requests"] == {"2xx": 2}


def test_a_full_disk_ends_nothing(client, service, minutes, monkeypatch, until, caplog):
    monkeypatch.setattr(counting, "_EVERY_S", 0.01)
    service.log._failed = OSError("full")
    ask(client)
    caplog.set_level(logging.ERROR)
    minutes.start()
    until(lambda: "is not logged yet: full" in caplog.text)
    assert counts(service) == []
    service.log._failed = None
    until(lambda: counts(service))
    minutes.stop()
    assert counts(service)[0]["requests"] == {"2xx": 1}


def test_the_last_minute_is_written_at_the_end(client, service, minutes):
    minutes.start()
    ask(client)
    minutes.stop()
    (told,) = counts(service)
    assert told["requests"] == {"2xx": 1}


@pytest.fixture
def logs(engine, tmp_path):
    """A log of two hours, and the same one with counts between its lines."""
    rows = []
    for n in range(6):
        slate = record_of(engine().answer(f"r{n}", f"u{n % 3}", NOW + n, 3))
        slate |= {"canary": "v9", "canary_identity": CANARY, "share": 0.2}
        item = slate["candidate_ids"][slate["chosen"][0]]
        rows += [slate, Event(f"e{n}", f"u{n % 3}", item, "click", NOW + n, f"r{n}").record()]
    late = NOW + 48 * HOUR_NS // 1000
    told = {"kind": COUNT, "moment": late, "requests": {"5xx": 2}, "shed": {}, "log": {}}
    between = [{**told, "count_id": str(n)} for n in range(len(rows))]
    found = {}
    for name, parts in (("plain", [rows]), ("counted", zip(rows, between, strict=True))):
        lines = [one for part in parts for one in part]
        folder = tmp_path / name
        folder.mkdir()
        half = len(lines) // 2
        for hour, part in ((0, lines[:half]), (1, lines[half:])):
            path = folder / f"{1000 * NOW + hour * HOUR_NS:020d}-1.log"
            path.write_bytes(b"".join(map(line, part)))
        found[name] = folder
    return found["plain"], found["counted"]


def tables(folder, out):
    out.mkdir()
    write_log(folder, out)
    return {path.name: pq.read_table(path).to_pylist() for path in out.glob("*.parquet")}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_the_next_run_learns_and_is_judged_without_them(logs, tmp_path, is_sealed):
    plain, counted = logs
    if is_sealed:
        assert len(seal_closed(counted, 1000 * NOW + HOUR_NS)) == 1
        assert any(one["kind"] == COUNT for one in sealed_hours(counted)[0].records())
    assert tables(counted, tmp_path / "one") == tables(plain, tmp_path / "other") != {}


def test_a_start_knows_the_same_events(logs):
    known = [read_before(folder).records for folder in logs]
    assert known[0] == known[1]
    seen = []
    assert read_before(logs[1], seen.append).records == known[0]
    assert len(seen) == 6
    assert Knowledge.of(records(logs[1])).told() == Knowledge.of(records(logs[0])).told()
    assert list(records(logs[1], events_only=True)) == list(records(logs[0], events_only=True))
    assert [*Tail(logs[1]).news()] == [*Tail(logs[0]).news()] != []


def test_a_replay_and_a_trial_find_the_same(logs):
    found = [replay(records(folder), lambda _: None) for folder in logs]
    assert found[0] == found[1]
    assert found[0].unplayed == 6
    trial = Trial(CANARY, 1.0)
    trial.read(Tail(logs[1], every=True).news())
    assert len(trial.rewards().value_N) == 0, "no window is over, whenever something was counted"
    trial.days = 1.2e-11  # a microsecond
    assert trial.rewards().value_N.tolist() == [1.0] * 3
    assert newest(records(logs[1])) == ("v9", CANARY)


def test_an_erasure_leaves_them_as_they_are(logs):
    _, counted = logs
    seal_closed(counted, 1000 * NOW + 2 * HOUR_NS)
    before = [one for one in records(counted) if one["kind"] == COUNT]
    Erased(counted).add("u1", NOW + 100)
    mask_sealed(counted)
    assert [one for one in records(counted) if one["kind"] == COUNT] == before
    users = {one["user_id"] for one in records(counted) if one["kind"] != COUNT}
    assert "u1" not in users
