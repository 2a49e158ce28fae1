"""No act of these tests waits for MLflow, and none of their judgements for a model."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.bundles import manifest
from tessera.bundles.manifest import read_manifest
from tessera.contracts.series import Point, read_day, write_day
from tessera.contracts.split import Split, save_split
from tessera.platform.pipeline import runner
from tessera.platform.release import journal
from tessera.platform.release.judged import PACKED
from tessera.platform.tracking import tracking
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import find, stages
from tessera.platform.workspace.params import load_params, source_of
from tessera.platform.workspace.paths import PUBLISHED, open_workspace
from tessera.platform.workspace.stores import open_store
from tessera.shared.policies.serving import ServingPolicy, from_facts, write_policy
from tessera.shared.policies.slate import SlatePolicy

START = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = ServingPolicy(SlatePolicy(0.5, 0.2, 10), 3).facts()
FOLDERS = ("model", "facts", "codebook", "ledger_out", "champion")


@pytest.fixture(scope="session")
def object_server():
    """Serve objects over HTTP as S3 does, on loopback; return its URL."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(object_server, monkeypatch):
    """Return the address of an empty bucket, with a key in the environment."""
    import boto3

    told = {"ENDPOINT_URL": object_server, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret",
            "DEFAULT_REGION": "us-east-1", "EC2_METADATA_DISABLED": "true"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    name = f"tessera-{secrets.token_hex(4)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(autouse=True)
def alias(monkeypatch):
    """Stand in for MLflow, whose import and tables take longer than an act: profile -> identity."""
    named = {}

    def follow(profile, bundle, store):
        sealed = read_manifest(bundle)
        named[profile] = sealed["identity"] if sealed["kind"] == "model" else None

    monkeypatch.setattr(journal.tracking, "follow", follow)
    monkeypatch.setattr(
        journal.tracking, "champion_identity", lambda profile, store: named.get(profile)
    )
    return named


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """An empty store of MLflow; its tables take longer than an act."""
    store = tmp_path_factory.mktemp("mlflow")
    with tracking._client(store) as client:
        client.search_experiments()
    with closing(sqlite3.connect(store / tracking.DATABASE)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return store / tracking.DATABASE


@pytest.fixture
def new_stores_are_copies(tables, monkeypatch):
    """Begin stores of MLflow with tables that are there."""
    opened = tracking._opened

    def begins(store):
        if not (store / tracking.DATABASE).exists():
            shutil.copy(tables, store / tracking.DATABASE)
        return opened(store)

    monkeypatch.setattr(tracking, "_opened", begins)


@pytest.fixture
def tell_shared(tmp_path):
    """Tell a shared MLflow of a run and of publications, by all that the pipeline does of it.

    Returned is the store beside the registry, in which nothing must have been kept.
    """
    data, store = tmp_path / "told", tmp_path / "mlflow"
    (data / "training").mkdir(parents=True)
    (data / "training" / "hstu.csv").write_text("epoch,loss\n1,3.5\n2,2.5\n")
    (data / "verdict.html").write_text("judged")
    one = {"profile": "market", "started": "2024-05-01T10:00:00+00:00", "seconds": 1.5,
           "run": "run 1", "params": {"seed": 7}, "inputs": {"events": "ab" * 32}}  # fmt: skip
    paths = {
        "hstu": ("training", data / "training"),
        "report": ("verdict_page", data / "verdict.html"),
    }
    for stage, (name, path) in paths.items():
        told = {"stage": stage, "metrics": {"m": 1.0}, "artifacts": {name: files.sha256(path)}}
        (data / "runs").mkdir(exist_ok=True)
        (data / "runs" / f"{stage}.json").write_text(json.dumps(one | told))

    def publish(version, **facts):
        bundle = tmp_path / version
        bundle.mkdir()
        (bundle / "codes.json").write_text(version)
        manifest.seal(bundle, {"kind": "model", "decision": "PROMOTE"} | facts)
        tracking.follow("market", bundle, store)
        return bundle

    def tell():
        assert tracking.champion("market", store) is None
        assert tracking.log_pending(data / "runs", store) == 2
        assert tracking.log_pending(data / "runs", store) == 0, "each run is told once"
        first = publish("v1")
        publish("v2")
        assert tracking.champion("market", store) == "2"
        tracking.follow("market", first, store)
        assert tracking.champion("market", store) == "1", "a rollback makes no new version"
        assert tracking.champion_identity("market", store) == read_manifest(first)["identity"]
        publish("v0", kind="logging")
        assert tracking.champion("market", store) is None
        tracking.follow("market", first, store)
        return store

    return tell


def write_log(workspace, requests=range(400), world=0, late=()):
    """Write the served log: three items for each request, another stream for another world.

    Every seventh request is answered, after half a minute; those of `late` are answered, too, by
    answers of that time which came to the log afterwards.
    """
    rows = [
        {
            "request_id": f"r{n:06d}",
            "position": position,
            "user_id": f"u{(n * 7 + world * 13) % 97}",
            "item_id": f"i{(n * 11 + position * 5 + world) % 53}",
            "event_ts": START + timedelta(minutes=n, seconds=world),
        }
        for n in requests
        for position in (1, 2, 3)
    ]
    workspace.data.mkdir(parents=True, exist_ok=True)
    answers = [
        {"request_id": row["request_id"], "item_id": row["item_id"], "action": "click",
         "event_ts": row["event_ts"] + timedelta(seconds=30)}
        for n, row in zip(requests, rows[::3], strict=True)
        if n % 7 == 0 or n in late
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), workspace.artifact("exposures"))
    pq.write_table(pa.Table.from_pylist(answers), workspace.artifact("outcomes"))


def write_run(workspace, seed=0, cut=START):
    """Write all else that judging and packing read; `seed` tells one training from another."""
    workspace.data.mkdir(parents=True, exist_ok=True)
    for stage in stages(source_of(workspace)):
        for name in stage.writes:
            path = workspace.artifact(name)
            if path.suffix == ".parquet" and not path.exists():
                pq.write_table(pa.table({"item_id": ["i1"], "user_id": ["u1"]}), path)
    for name in FOLDERS:
        workspace.artifact(name).mkdir(exist_ok=True)
    files.write_json({"seed": seed}, workspace.artifact("model") / "config.json")
    (workspace.artifact("ledger_out") / "codes.json").write_text("{}")
    (workspace.artifact("codebook") / "centroids.json").write_text("{}")
    champion = {"version": "v0", "kind": "logging", "learnt_until": None}
    files.write_json(champion, workspace.artifact("champion") / "champion.json")
    save_split(Split(cut, cut, cut), workspace.artifact("split"))
    for name in ("sid_health", "ranking", "request", "suitability"):
        files.write_json({}, workspace.artifact(name))


class Gate:
    """Real runner, ledger, seals and acts around stages that take no time."""

    write_log = staticmethod(write_log)
    write_run = staticmethod(write_run)
    START = START

    def __init__(self, monkeypatch):
        self.decision = "PROMOTE"
        """What the stage that judges will say."""
        self.words = ""
        """What the stage that draws begins a page with."""
        real = runner.importlib.import_module
        entry_points = {
            "tessera.stages.ope.stage": self._judge,
            "tessera.stages.report.stage": self._draw,
            "tessera.stages.index.stage": self._pack,
        }

        def entry_point(name):
            return SimpleNamespace(run=entry_points[name]) if name in entry_points else real(name)

        monkeypatch.setattr(runner.importlib, "import_module", entry_point)

    def run(self, workspace, name):
        """Do what `tessera run NAME`, `dvc repro` and `dvc exp run` do alike."""
        stage = find(name, stages(source_of(workspace)))
        runner.run_stage(stage, workspace, load_params(workspace))

    def judge(self, workspace):
        """Judge the candidate; return its verdict."""
        self.run(workspace, "ope")
        return files.read_json(workspace.artifact("verdict"))

    def pack(self, workspace):
        """Judge the candidate, draw the page of its verdict and pack it."""
        for name in ("ope", "report", "index"):
            self.run(workspace, name)

    def _judge(self, *, standing, verdict, **_):
        told = json.loads(standing.read_text())
        shows = not told["loosened"]
        written = {
            "decision": self.decision if shows else "INVALID",
            "reason": f"planted {self.decision}" if shows else "; ".join(told["loosened"]),
            "candidate": told["candidate"] if shows else None,
            "policy": POLICY,
            **{name: told[name] for name in ("profile", "look", "judged", "loosened")},
        }
        verdict.write_text(json.dumps(written))
        return {}

    def _draw(self, *, verdict, verdict_page):
        decision = json.loads(verdict.read_text())["decision"]
        verdict_page.write_text(f"<!doctype html>{self.words}{decision}")
        return {}

    def _pack(self, *, bundle, verdict, seal, ranking, **read):
        bundle.mkdir()
        for name, packed in PACKED.items():
            copy = shutil.copytree if read[name].is_dir() else shutil.copy
            copy(read[name], bundle / packed)
        for path in (verdict, seal, ranking):
            shutil.copy(path, bundle / path.name)
        for name in ("items", "neighbours"):
            pq.write_table(pa.table({"item_id": ["i1"]}), bundle / f"{name}.parquet")
        users = pa.table({"user_id": ["u1"], "vector": [[1.0]]})
        pq.write_table(users, bundle / "users.parquet")
        write_policy(from_facts(json.loads(verdict.read_text())["policy"]), bundle)
        manifest.seal(bundle, {"kind": "model", "judged_against": "v0"})
        return {}


_MADE = {}


@pytest.fixture
def made_once(workspace, alias, tmp_path_factory):
    """Make something of a repository once a process; later tests find a copy of all it left."""

    def ready(make):
        name = make.__module__, make.__qualname__
        if name not in _MADE:
            make()
            folder = tmp_path_factory.mktemp("made") / "repository"
            _MADE[name] = shutil.copytree(workspace.root, folder, symlinks=True), dict(alias)
            return
        folder, named = _MADE[name]
        shutil.rmtree(workspace.root)
        shutil.copytree(folder, workspace.root, symlinks=True)
        alias.update(named)

    return ready


@pytest.fixture
def gate(workspace, monkeypatch):
    """A log, a trained candidate, and a gate that lets it through."""
    write_log(workspace)
    write_run(workspace)
    return Gate(monkeypatch)


FIRST = date(2025, 1, 1)
PLENTY = {"rows": 4000, "investors": 900}


def point(series="psi.investors.segment", slice_="all", *, alarm=True, **told):
    """A series beyond its threshold, unless a test says otherwise."""
    facts = {"value": 0.4, "low": 0.3, "high": 0.5, "threshold": 0.1, "side": "above",
             "p_value": 1e-5, **PLENTY, **told}  # fmt: skip
    return Point(series, slice_, alarm=alarm, **facts)


class Planted:
    """Writes days that were watched: what alarms on which day; reads the clock at their end."""

    point = staticmethod(point)
    FIRST = FIRST

    def __init__(self, workspace):
        self.workspace = workspace

    def day(self, number, *points, movers=(), remarks=(), bundles=None, status="measured", **more):
        """Write the day so many after the first, and read it."""
        day = FIRST + timedelta(days=number)
        folder = self.workspace.watched / day.isoformat()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        inputs = {"bundles": bundles or {}}
        facts = {"status": status, "remarks": list(remarks), "inputs": inputs, **more}
        write_day(folder, day, points, movers, facts)
        return read_day(folder)

    @staticmethod
    def after(day, days=0):
        """An hour after the end of a day, and so many days."""
        return datetime.combine(day.day, datetime.min.time(), UTC) + timedelta(
            days=1 + days, hours=1
        )


@pytest.fixture
def planted(workspace):
    return Planted(workspace)


class Place:
    """A store in which what is published can be had, seen by whoever looks into it."""

    def __init__(self, store, setting, monkeypatch):
        self.store, self._setting, self._patch = store, setting, monkeypatch

    def notice(self, profile="market"):
        """Return the notice that lies there; None if there is none."""
        found = self.store.get(f"{profile}/current.json")
        return json.loads(found.content) if found else None

    def files(self, profile="market"):
        """Name the files of bundles that lie there."""
        return [name for name in self.store.names() if name.startswith(f"{profile}/files/")]

    def unset(self):
        """Let what is published be had nowhere else."""
        self._patch.delenv(self._setting)


@pytest.fixture
def place(request, tmp_path, monkeypatch):
    """Let what is published be had in a folder; where a test asks, in an object store."""
    address = tmp_path / "elsewhere"
    address.mkdir()
    in_bucket = getattr(request, "param", "folder") == "bucket"
    named = request.getfixturevalue("bucket") if in_bucket else str(address)
    monkeypatch.setenv(PUBLISHED, named)
    return Place(open_store(named, PUBLISHED), PUBLISHED, monkeypatch)


@pytest.fixture
def other(root, tmp_path):
    """Return the same profile in another clone, where nothing was done yet."""
    return open_workspace("market", shutil.copytree(root, tmp_path / "other"))


@pytest.fixture
def killed(monkeypatch):
    """Let the process of some work die instead of a step, or right after it, as by kill -9."""

    def kill(work, module, name, when="instead"):
        step = getattr(module, name)

        def dies(*arguments, **options):
            if when == "after":
                step(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            monkeypatch.setattr(module, name, dies)
            try:
                work()
            finally:
                os._exit(0)
        return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL

    return kill
