"""What was served can be taken out as tables, a key is shown once, and nothing is overwritten."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tessera.contracts.errors import BadInput, BadParams, TesseraError
from tessera.platform.cli import cli_canary, cli_serve, cli_served
from tessera.platform.cli.cli import app
from tessera.platform.cli.team import Team
from tessera.platform.release import acts
from tessera.platform.workspace import params as params_file
from tessera.serve.erased import Erased
from tessera.serve.events import Event
from tessera.serve.feed import START, open_feed
from tessera.serve.http.keys import Keys
from tessera.serve.http.listen import Address
from tessera.serve.log import line
from tessera.serve.params import ServeParams
from tessera.serve.replay import Fault, Replayed

RUN = CliRunner()


@pytest.fixture
def here(workspace, monkeypatch):
    for one in (cli_serve, cli_served, cli_canary):
        monkeypatch.setattr(one, "open_workspace", lambda profile: workspace)
    return workspace


def call(*words):
    found = RUN.invoke(app, words, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.output


def log(workspace, *records):
    path = workspace.registry / "served" / "1.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(line, records)))


def test_the_log_is_written_as_tables_with_a_torn_end_left_out(here, tmp_path):
    one = Event("e1", "u1", "i1", "buy", 1_700_000_000_000_000, value=5.0)
    log(here, one.record(), one.record())
    with (here.registry / "served" / "1.log").open("ab") as file:
        file.write(line(one.record())[:9])
    assert (
        call("served", str(tmp_path / "out"))
        == "0 exposures, 0 outcomes, 1 events, 0 prices, 0 users\n"
    )
    (row,) = pq.read_table(tmp_path / "out" / "events.parquet").to_pylist()
    assert (row["event_id"], row["amount_eur"]) == ("e1", 5.0)
    assert json.loads((tmp_path / "out" / "log.json").read_text())["events"]["rows"] == 1
    assert not list(tmp_path.glob(".out*"))


def test_no_folder_is_overwritten_and_an_empty_log_is_said(here, tmp_path):
    with pytest.raises(BadInput, match="nothing was served of profile market: run `tessera serve`"):
        call("served", str(tmp_path / "out"))
    log(here, Event("e1", "u1", "i1", "buy", 1).record())
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="is there already: name a new folder"):
        call("served", str(tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


def test_a_key_opens_with_its_role_and_an_unknown_role_is_refused(here):
    secret = call("key", "shop", "--role", "feedback").strip()
    path = here.registry / "served" / "keys.json"
    assert Keys(path).find(secret).role == "feedback"
    assert secret not in path.read_text()
    with pytest.raises(BadParams, match="unknown role 'boss'; known: recommend, feedback"):
        call("key", "shop", "--role", "boss")
    assert Keys(path).find(secret).role == "feedback"


def test_a_log_that_was_not_drawn_as_judged_is_said_with_its_first_slate(here, monkeypatch):
    monkeypatch.setattr(params_file, "serve_params", lambda _: None)
    log(here, Event("e1", "u1", "i1", "buy", 1).record())
    assert call("served", "--replay") == (
        "0 slates drawn again: propensities within 0, scores within 0\n"
    )
    bad = Replayed(slates=7, faults=[Fault("r1", "has other scores"), Fault("r2", "too")])
    monkeypatch.setattr("tessera.serve.replay.replay", lambda *_: bad)
    with pytest.raises(TesseraError, match="2 of 7 slates are not .* slate r1 has other scores"):
        call("served", "--replay")


@pytest.fixture
def opened(monkeypatch):
    """Bundles that were opened to be played again, each of which gives what was logged."""
    found = []

    def open_one(bundle, _params, version):
        found.append((bundle.name, version))
        return SimpleNamespace(version=version, scorer=SimpleNamespace(erased=None))

    def again(told, _engine, slates, *_):
        told.slates += len(slates)

    monkeypatch.setattr("tessera.serve.engine.Engine.open", open_one)
    monkeypatch.setattr("tessera.serve.replay._replay_one", again)
    turned(monkeypatch)
    return found


def slates(*versions):
    return [{"kind": "slate", "request_id": f"r{n}", "user_id": "u1", "moment": n,
             "policy_id": version, "context_version": "0+0"}
            for n, version in enumerate(versions)]  # fmt: skip


def test_slates_of_a_candidate_are_played_from_where_it_was_published_since_or_said_to_be_gone(
    here, make_candidate, opened
):
    make_candidate(here)
    acts.promote(here)
    make_candidate(here, judged_against="v1", weight=2.0)
    waiting = f"candidate-{acts.proposal(here)['identity'][:12]}"
    acts.promote(here)
    make_candidate(here, judged_against="v2", weight=3.0)
    now = f"candidate-{acts.proposal(here)['identity'][:12]}"
    gone = "candidate-0123456789ab"
    log(here, *slates("v1", waiting, waiting, now, gone, gone, f"{waiting}/greedy"))
    assert call("served", "--replay") == (
        "4 slates drawn again: propensities within 0, scores within 0\n"
        "1 not compared: nobody drew them\n"
        "2 not compared: their bundle is gone\n"
    )
    assert opened == [("v1", "v1"), ("v2", waiting), ("bundle", now)]
    log(here, *slates("v9"))
    with pytest.raises(BadParams, match="no version 'v9' was ever published"):
        call("served", "--replay")


def test_tables_want_a_folder(here):
    with pytest.raises(BadInput, match="name a new folder for the tables, or say --replay"):
        call("served")


def turned(monkeypatch, **params):
    monkeypatch.setattr(params_file, "serve_params", lambda _: ServeParams(**params))


def test_figures_are_not_open_to_all_behind_a_proxy(here, monkeypatch):
    turned(monkeypatch, open_metrics=True)
    for words in (["--host", "0.0.0.0"], ["--workers", "2"]):
        with pytest.raises(BadParams, match="serve.open_metrics opens /metrics to this machine, "):
            call("serve", "--without-tls", *words)


def test_workers_need_a_state_that_they_can_share(here, monkeypatch):
    turned(monkeypatch, feed="memory")
    with pytest.raises(BadParams, match="serve.feed is memory, which 2 workers cannot share"):
        call("serve", "--workers", "2")


def test_what_is_consumed_must_reach_the_service(here, monkeypatch):
    turned(monkeypatch, feed="auto")
    with pytest.raises(BadParams, match="serve.feed is auto, by which a service does not hear"):
        call("consume")
    monkeypatch.delenv("TESSERA_REDIS", raising=False)
    turned(monkeypatch, feed="sqlite")
    with pytest.raises(BadParams, match="no address of redis: set TESSERA_REDIS to it"):
        call("consume")


@pytest.fixture
def team(monkeypatch):
    """Workers that begin at once; whoever watches them presses Ctrl-C."""
    done = []

    def watch(self):
        done.append("watched")
        raise KeyboardInterrupt

    monkeypatch.setattr(Team, "start", lambda self, n: done.append((n, self.order)) or "v1: odd")
    monkeypatch.setattr(Team, "watch", watch)
    monkeypatch.setattr(Team, "stop", lambda self: done.append("stopped"))
    monkeypatch.setattr(cli_serve, "_ahead", lambda _: -7)
    return done


@pytest.mark.parametrize("state", ["auto", "sqlite"])
def test_workers_share_socket_feed_keys_clock_and_secret_and_end_with_ctrl_c(
    here, team, monkeypatch, state
):
    turned(monkeypatch, feed=state)
    log(here, Event("e1", "u1", "i1", "buy", 5).record())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    told = call("serve", "--workers", "3", "--port", str(port))
    assert "v1: odd; 3 workers, events shared by sqlite" in told
    assert f"http://127.0.0.1:{port}/console" in told
    assert f"OpenAPI          http://127.0.0.1:{port}/docs\n" in told
    (count, order), *rest = team
    assert (count, rest) == (3, ["watched", "stopped"])
    order = json.loads(order)
    assert (order["kind"], order["ahead_us"], len(order["session_secret"])) == ("sqlite", -7, 64)
    key = told.split("Key")[1].split()[0]
    assert Keys(Path(order["keys"])).find(key).role == "operator"
    feed = open_feed("sqlite", Path(order["folder"]))
    assert [one.event_id for one in feed.since(START).events] == ["e1"]
    feed.close()


def test_a_port_that_is_taken_is_said_before_anything_starts(here, team, monkeypatch):
    turned(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} is taken: choose another"):
            call("serve", "--workers", "2", "--port", str(port))
    assert team == []


def test_one_process_says_of_a_taken_port_so_and_shows_no_key(here, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} is taken: choose another"):
            cli_serve._listen(None, here, ServeParams(), Address(port=port))
    assert capsys.readouterr().out == ""
    assert not (here.served / "keys.json").exists()


@pytest.mark.parametrize("is_told", [False, True])
def test_requests_are_counted_while_a_service_runs_but_not_by_a_clock_that_is_told(
    here, monkeypatch, is_told
):
    heard = []
    for name in ("follower.Follower", "sealer.Sealer", "minutes.Minutes"):
        last = name.partition(".")[2]
        beside = SimpleNamespace(
            start=lambda last=last: heard.append(f"{last} starts"),
            stop=lambda last=last: heard.append(f"{last} stops"),
        )
        monkeypatch.setattr(f"tessera.serve.{name}", lambda *_, beside=beside: beside)
    monkeypatch.setattr(cli_serve, "_is_told", lambda _: is_told)
    monkeypatch.setattr(cli_serve, "_clock", lambda _: None)
    with cli_serve._kept_up(None, lambda: Path("v1"), here, ServeParams()):
        begun = list(heard)
    assert ("Minutes starts" in begun) is not is_told
    assert sorted(one.replace("stops", "starts") for one in heard[len(begun) :]) == sorted(begun)


def canary_log(count=200):
    """Half of the investors get the canary, which is dismissed by all of them."""
    for n in range(count):
        slate = {"kind": "slate", "request_id": f"r{n}", "user_id": f"u{n}", "moment": n,
                 "policy_id": ("v1", "v2")[n % 2], "context_version": f"{'ab'[n % 2] * 12}+{n}",
                 "candidate_ids": ["i0"], "chosen": [0],
                 "canary": "v2", "canary_identity": "b" * 64, "share": 0.5}  # fmt: skip
        yield slate
        action = ("click", "dismiss")[n % 2]
        yield Event(f"e{n}", f"u{n}", "i0", action, n + 1, f"r{n}").record()
    yield Event("late", "u", "i0", "click", 10**12).record()


def test_a_canary_is_shown_with_its_bounds_as_they_grew(here, monkeypatch):
    params = ServeParams(canary_days=0.5, canary_margin=0.1, canary_alpha=0.1)
    monkeypatch.setattr(params_file, "serve_params", lambda workspace: params)
    with pytest.raises(BadInput, match="the log tells of no canary: name one in serve.canary"):
        call("canary")
    log(here, *canary_log())
    told = call("canary").splitlines()
    assert told[0] == "canary v2: each investor once, by 0.5 days of slates"
    assert told[10].split()[:4] == ["200", "100.00%", "0.00%", "-100.00%,"]
    assert told[20].split()[:4] == ["200", "0.00%", "100.00%", "+100.00%,"]
    assert told[-1].endswith("by more than 10.00%: yes, the canary ends")
    with pytest.raises(BadInput, match="the log tells of no canary v9: name one in serve.canary"):
        call("canary", "--version", "v9")
    log(here, *list(canary_log())[:3])
    with pytest.raises(BadInput, match="since the first slate beside v2 is over: ask again later"):
        call("canary")
    log(here, *canary_log())
    Erased(here.registry / "served").add("u7", 1 << 60)
    assert call("canary", "--version", "v2").splitlines()[10].split()[0] == "199"
