"""Whoever is erased is known to nothing that answers or learns; the log keeps a name of nobody."""

from __future__ import annotations

import json
import signal

import pyarrow.parquet as pq
import pytest

from tessera.serve.closed import seal_closed
from tessera.serve.erased import PSEUDONYM, Erased
from tessera.serve.erasing import erase, mask_sealed
from tessera.serve.events import Event, Knowledge
from tessera.serve.following import Following
from tessera.serve.hours import records, sealed_hours
from tessera.serve.log import ServedLog, line
from tessera.serve.logged import record_of
from tessera.serve.service import Service
from tessera.serve.whole_log import write_log
from tessera.shared.erased import ERASED

HOUR_NS = 3600 * 10**9
NOW_NS = 1_700_000_000 * 10**9
NOW = NOW_NS // 1000
DELETE = "/v1/investors/u1"


def segment(folder, hours_ago, *rows):
    folder.mkdir(exist_ok=True)
    path = folder / f"{NOW_NS - hours_ago * HOUR_NS:020d}-1.log"
    path.write_bytes(b"".join(map(line, rows)))


@pytest.fixture
def folder(tmp_path, engine):
    """A log of two investors: two sealed hours and one that goes on."""
    folder = tmp_path / "served"
    for ago in (2, 1, 0):
        rows = []
        for user in ("u1", "u2"):
            slate = record_of(engine().answer(f"r{ago}{user}", user, NOW - ago, 3))
            shown = slate["candidate_ids"][slate["chosen"][0]]
            rows += [slate, Event(f"e{ago}{user}", user, shown, "click", NOW - ago,
                                  slate["request_id"]).record()]  # fmt: skip
        segment(folder, ago, *rows)
    assert len(seal_closed(folder, NOW_NS)) == 2
    return folder


def files_with(folder, text):
    """Return the files that hold a name, packed or not."""
    found = []
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
            found += [path] * (text in json.dumps(rows, default=str))
        elif path.is_file() and text.encode() in path.read_bytes():
            found.append(path)
    return found


def written(folder, tmp_path, name):
    out = tmp_path / name
    out.mkdir()
    write_log(folder, out)
    return {
        table: pq.read_table(out / f"{table}.parquet").to_pylist()
        for table in ("exposures", "outcomes", "events")
    }


def test_the_log_keeps_a_pseudonym_and_nobody_learns_or_judges_by_it(folder, tmp_path):
    before = written(folder, tmp_path, "before")
    Erased(folder).add("u1", NOW)
    mask_sealed(folder)
    after = written(folder, tmp_path, "after")
    for table in ("exposures", "events"):
        assert after[table] == [row for row in before[table] if row["user_id"] == "u2"]
    kept = {row["request_id"] for row in after["exposures"]}
    assert after["outcomes"] == [row for row in before["outcomes"] if row["request_id"] in kept]
    assert len(after["outcomes"]) == 3
    name = Erased(folder).pseudonym("u1")
    assert name.startswith(PSEUDONYM)
    assert {one["user_id"] for one in records(folder)} == {name, "u2"}
    (open_one,) = files_with(folder, '"u1"')
    assert open_one.suffix == ".log", "what is open goes when its hour is sealed"
    seal_closed(folder, NOW_NS + HOUR_NS)
    assert files_with(folder, '"u1"') == []
    assert written(folder, tmp_path, "sealed") == after


def test_what_is_read_again_is_read_under_the_list(folder):
    Erased(folder).add("u1", NOW - 1)
    users = [one["user_id"] for one in records(folder)]
    name = Erased(folder).pseudonym("u1")
    assert users.count(name) == 4, "nothing was rewritten yet"
    assert users.count("u1") == 2, "who comes back is an investor like any other"


def test_hours_without_anybody_erased_stay_as_they_are(folder):
    names = {hour.path.name for hour in sealed_hours(folder)}
    Erased(folder).add("u9", NOW)
    mask_sealed(folder)
    assert {hour.path.name for hour in sealed_hours(folder)} == names
    Erased(folder).add("u1", NOW)
    mask_sealed(folder)
    mask_sealed(folder)
    assert {hour.path.name for hour in sealed_hours(folder)} == {f"{one}.0001" for one in names}


def test_the_list_and_the_log_name_nobody(folder):
    erased = Erased(folder)
    erased.add("u1", NOW)
    told = (folder / ERASED).read_text()
    assert '"u1"' not in told
    assert erased.pseudonym("u1").removeprefix(PSEUDONYM) not in told, "two keys"
    assert erased.covers("u1", NOW)
    assert not erased.covers("u1", NOW + 1)
    assert not erased.covers("u2", 0)
    erased.add("u1", NOW - 5)
    assert Erased(folder).until("u1") == NOW, "an older wish takes nothing back"
    for name in (ERASED, "pseudonym.key"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_a_crash_at_any_step_loses_and_doubles_nothing(folder, tmp_path, dying):
    Erased(folder).add("u1", NOW)
    wanted, steps, code = written(folder, tmp_path, "wanted"), 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        names = "settle,write_lines,shutil.rmtree"
        code = dying("tessera.serve.erasing", names, steps, "mask_sealed", folder)
        assert written(folder, tmp_path, f"after{steps}") == wanted
        steps += 1
    assert code == 0
    assert steps > 2
    (open_one,) = files_with(folder, '"u1"')
    assert open_one.suffix == ".log"


def happened(client, user, name, item="i0", action="buy"):
    body = {"event_id": name, "investor_id": user, "item_id": item, "action": action,
            "time": "2023-11-14T22:13:19Z"}  # fmt: skip
    assert client.post("/v1/events", json={"events": [body]}).status_code == 200


def test_what_is_known_of_an_investor(client):
    happened(client, "u1", "e1")
    happened(client, "u1", "e2", "i3", "dismiss")
    told = client.get("/v1/investors/u1").json()
    assert (told["held"], told["dismissed"], told["events"]) == (["i0"], ["i3"], 2)
    assert told["counts"] == {"buy": 1, "dismiss": 1}
    assert told["level"] == "income"
    assert {one["item_id"] for one in told["last"]} == {"i0", "i3"}
    assert told["last"][0]["time"] == "2023-11-14T22:13:19Z"
    lacking = client.get("/v1/investors/nobody")
    assert lacking.status_code == 404
    assert lacking.json()["errors"][0]["field"] == "investor_id"


def test_who_is_erased_is_unknown_at_once_and_after_a_start(client, engine, tmp_path):
    for user in ("u1", "u2"):
        happened(client, user, f"e-{user}")
    client.post("/v1/recommendations", json={"investor_id": "u1"})
    assert client.delete(DELETE).json() == {"investor_id": "u1", "forgotten": 1}
    assert client.delete(DELETE).json() == {"investor_id": "u1", "forgotten": 0}
    assert client.get(DELETE).status_code == 404
    assert client.get("/v1/investors/u2").json()["events"] == 1
    users = [one.get("user_id", "") for one in records(tmp_path / "served")]
    assert "u1" not in users
    assert "u2" in users
    again = Service(engine(), lambda: ServedLog(tmp_path / "again" / "2.log"))
    again.restore(records(tmp_path / "served", events_only=True))
    known = [again.engine.scorer.state.known(user).events for user in ("u1", "u2")]
    again.close()
    assert [len(one) for one in known] == [0, 1]


def test_what_comes_late_of_whoever_was_erased_is_not_taken_in(service, tmp_path):
    service.engine.scorer.erased = Erased(tmp_path / "served")
    service.engine.scorer.erased.add("u1", 50)
    late = [Event(f"e{at}", user, "i1", "click", at) for user, at in (("u1", 49), ("u2", 49),
                                                                     ("u1", 51))]  # fmt: skip
    assert service.happened(late).count("new") == 2
    known = service.engine.scorer.state.known("u1").events
    assert [one.event_id for one in known] == ["e51"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_who_is_erased_while_their_event_is_written_is_unknown(
    tmp_path, engine, monkeypatch, kind, opened
):
    folder, feed = tmp_path / "served", opened(kind)
    one, other = (
        Service(engine(), lambda n=n: ServedLog(folder / f"{n}.log"), Following(feed))
        for n in range(2)
    )
    for service in (one, other):
        service.engine.scorer.erased = Erased(folder)
    real = ServedLog.append

    def slow(log, *rows):
        done = real(log, *rows)
        if rows[0]["kind"] == "event":
            done.result()
            monkeypatch.setattr(ServedLog, "append", real)
            assert erase(other, "u1", NOW + 5) == 0
        return done

    monkeypatch.setattr(ServedLog, "append", slow)
    one.happened([Event("e1", "u1", "i1", "buy", NOW), Event("e2", "u2", "i1", "buy", NOW)])
    for service in (one, other):
        service.catch_up()
        assert not service.engine.scorer.state.known("u1").events
        assert service.engine.scorer.state.known("u2").events
        service.close()
    assert "e1" in Knowledge.of(records(folder)).forgotten


class Read:
    """A history that a model has read."""

    bytes = 1


def test_who_is_erased_while_a_slate_is_worked_out_is_kept_in_no_memory(
    service, engine, tmp_path, monkeypatch
):
    service.engine.scorer.erased = erased = Erased(tmp_path / "served")
    service.try_out(engine("v2"), 1e-9)
    service.overshadow(engine("v3"))
    canary, shadow = service.arms.canary.engine, service.arms.shadow.engine
    for one in (canary, shadow):
        one.scorer.erased = erased
    answer, is_asked = service.engine.answer, []

    def slow(*asked):
        slate = answer(*asked)
        if not is_asked:
            is_asked.append(erase(service, "u1", NOW + 5))
        service.engine.scorer.kept.keep(asked[1], Read())  # begun before, ended behind it
        return slate

    monkeypatch.setattr(service.engine, "answer", slow)
    for one in service.arms.engines():
        one.scorer.kept.keep("u1", Read())
    for user in ("u1", "u2"):
        service.recommend(f"r-{user}", user, NOW, 3)
    assert service.engine.scorer.kept.of("u2"), "nobody else is let go"
    assert not any(one.scorer.kept.of("u1") for one in service.arms.engines())
    service.recommend("r-back", "u1", NOW + 9, 3)
    assert service.engine.scorer.kept.of("u1"), "who comes back is somebody new"


def test_an_erasure_that_cannot_be_written_is_a_problem(client, monkeypatch):
    happened(client, "u1", "e1")

    def full(*_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("tessera.serve.erased._write", full)
    answer = client.delete(DELETE)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert client.get(DELETE).status_code == 200
