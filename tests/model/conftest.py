"""A market of twelve items in two rings: whoever bought one item buys the next of its ring."""

from __future__ import annotations

from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import (
    CATE,
    CATE_LATER,
    EDGES,
    EXPOSURES,
    OUTCOMES,
    PRICES,
    USERS,
)
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue, read_codes
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.exposure_log import Sources, read_log
from tessera.model.sequences.reading import read_histories
from tessera.stages.baselines import stage as baselines
from tessera.stages.hstu import stage as trunk

START = datetime(2024, 1, 1, tzinfo=UTC)
ITEMS = [f"i{item:02d}" for item in range(12)]


@cache
def draw_events(users, length, seed):
    """Draw events; nobody changes them."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        ring, place = rng.integers(2), rng.integers(6)
        moment = START + timedelta(seconds=int(rng.integers(86_400)))
        for _ in range(length):
            if rng.random() < 0.1:
                place = rng.integers(6)
            rows.append((f"u{user:03d}", ITEMS[6 * ring + place], "click", moment))
            place = (place + 1) % 6
            moment += timedelta(hours=int(rng.integers(1, 48)))
    rows.sort(key=lambda row: row[3])
    names = ("user_id", "item_id", "action", "event_ts")
    return [
        dict(zip(names, row, strict=True)) | {"event_id": f"e{index:05d}", "time_kind": "exact"}
        for index, row in enumerate(rows)
    ]


def draw_slates(rows, seed=3):
    """Show three items in each gap between two events; the next one is clicked when it is shown."""
    rng = np.random.default_rng(seed)
    shown, answers, last = [], [], {}
    for row in rows:
        before, last[row["user_id"]] = last.get(row["user_id"]), row
        if before is None:
            continue
        gap = row["event_ts"] - before["event_ts"]
        slate = rng.choice(ITEMS, 3, replace=False).tolist()
        if row["item_id"] not in slate and rng.random() < 0.7:
            slate[rng.integers(3)] = row["item_id"]
        request = {"request_id": f"q{row['event_id']}", "user_id": row["user_id"],
                   "event_ts": before["event_ts"] + gap * rng.random()}  # fmt: skip
        shown += [
            request | {"position": place, "item_id": item, "policy_id": "p", "propensity": 0.25,
                       "candidate_ids": slate, "candidate_propensities": [0.25] * 3,
                       "context_version": "c"}
            for place, item in enumerate(slate, start=1)
        ]  # fmt: skip
        if row["item_id"] in slate:
            answers.append(
                {"request_id": request["request_id"], "item_id": row["item_id"],
                 "action": "click", "value": 0.0, "event_ts": row["event_ts"]}
            )  # fmt: skip
    return shown, answers


def as_table(rows, types=None):
    return ibis.memtable(pa.Table.from_pylist(rows, schema=types))


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


@pytest.fixture(scope="session")
def split():
    day = timedelta(days=1)
    return Split(START + 12 * day, START + 15 * day, START + 20 * day)


@pytest.fixture
def rows():
    return [dict(row) for row in draw_events(60, 14, seed=0)]


@pytest.fixture
def tables(quiet):
    """Return the tables of the stage, which a test may exchange."""
    return copy(quiet)


@pytest.fixture(scope="session")
def quiet(split):
    """Return the tables of the stage; one request of each user after the cut."""
    items = [
        {"item_id": item, "valid_from": None, "valid_to": None, "risk_class": 1 + k % 4,
         "category": "fund" if k < 6 else None}
        for k, item in enumerate(ITEMS)
    ]  # fmt: skip
    items[11]["valid_to"] = split.cut
    stamp = pa.timestamp("us", tz="UTC")
    item_types = pa.schema(
        [("item_id", pa.string()), ("valid_from", stamp), ("valid_to", stamp),
         ("risk_class", pa.int64()), ("category", pa.string())]
    )  # fmt: skip
    exposures = [
        {
            "request_id": f"r{user:03d}", "position": 1, "user_id": f"u{user:03d}",
            "item_id": ITEMS[0], "event_ts": split.cut + timedelta(hours=user + 1),
            "policy_id": "p", "propensity": 0.5, "candidate_ids": ITEMS[:4],
            "candidate_propensities": [0.25] * 4, "context_version": "c",
        }
        for user in range(60)
    ]  # fmt: skip
    codes = [{"item_id": item, "code": [k // 6, k % 3, k], "sid": item}
             for k, item in enumerate(ITEMS)]  # fmt: skip
    return SimpleNamespace(
        events=as_table(draw_events(60, 14, seed=0)),
        items=as_table(items, item_types),
        users=as_table(
            [
                {"user_id": f"u{user:03d}", "valid_from": START, "risk_class": 1 + user % 4}
                for user in range(61)
            ],
            schema(USERS),
        ),
        prices=as_table([], schema(PRICES)),
        exposures=as_table(exposures, schema(EXPOSURES)),
        outcomes=as_table([], schema(OUTCOMES)),
        edges=as_table(
            [
                {
                    "source_id": ITEMS[k],
                    "target_id": ITEMS[(k + 1) % 12],
                    "kind": "transition",
                    "weight": 0.5,
                    "support": 3,
                }
                for k in range(12)
            ],
            schema(EDGES),
        ),
        codes=as_table(codes),
        cate=as_table([], schema(CATE)),
        cate_later=as_table([], schema(CATE_LATER)),
    )


@pytest.fixture(scope="session")
def _read(split):
    """Read tables into a world, once for equal params; a test may change what it is given."""
    known = {}

    def read(tables, params=None):
        name = (*map(id, vars(tables).values()), params and params.model_dump_json())
        if name not in known:
            catalogue = read_catalogue(tables.items)
            histories = read_histories(tables.events, split, catalogue.vocabulary, tied_sets=True)
            codes = read_codes(tables.codes, catalogue.vocabulary)
            log = None
            if params:
                names = Sources.__annotations__
                sources = Sources(*(getattr(tables, name) for name in names))
                log = read_log(sources, histories, catalogue, codes.numpy(), split, params)
            world = Dataset(split, catalogue, codes, histories, log)
            known[name] = world, copy(tables)  # which keeps the tables, and so their ids
        return deepcopy(known[name][0])

    return read


@pytest.fixture
def world(tables, _read):
    """Return a world without logged slates."""
    return _read(tables)


@pytest.fixture
def logged_world(_read):
    """Read tables into a world with their logged slates."""
    return _read


@pytest.fixture
def slated(lively):
    """Return the tables of a market that lives on, which a test may exchange."""
    return copy(lively)


@pytest.fixture(scope="session")
def lively(quiet):
    """Return the tables of a market that lives on after the cut, with a slate in every gap."""
    rows = draw_events(60, 20, seed=0)
    shown, answers = draw_slates(rows)
    changes = {"events": as_table(rows), "exposures": as_table(shown, schema(EXPOSURES)),
               "outcomes": as_table(answers, schema(OUTCOMES))}  # fmt: skip
    return SimpleNamespace(**{**vars(quiet), **changes})


@pytest.fixture
def small():
    """Return params of a model that learns the rings in a second or two."""
    return HstuParams(
        width=16, length=8, epochs=3, batch=16, dropout=0.1, learning_rate=0.01,
        targets=("click",), acquired=("click",), filter_seen=False, top=5, checkpoint_steps=3,
        two_tower=False, item_weights_width=0, demand_days=0.0,
    )  # fmt: skip


@pytest.fixture
def stage_files(tmp_path, split):
    save_split(split, tmp_path / "split.json")
    champion = tmp_path / "champion"
    champion.mkdir()
    (champion / "champion.json").write_text('{"version": "v0", "kind": "logging"}')
    return tmp_path


@pytest.fixture
def run_baselines(stage_files):
    """Run the stage of the baselines on tables; return its folder and metrics."""

    def stage(tables, params, out="beside"):
        folder = stage_files / out
        folder.mkdir()
        names = ("events", "items", "users", "prices", "exposures", "outcomes", "edges", "codes",
                 "cate")  # fmt: skip
        metrics = baselines.run(
            **{name: getattr(tables, name) for name in names}, split=stage_files / "split.json",
            baseline_lists=folder / "baseline_lists.parquet",
            baseline_training=folder / "baseline_training", scratch=stage_files / "scratch",
            params=params,
        )  # fmt: skip
        return folder, metrics

    return stage


@pytest.fixture
def run_trunk(stage_files):
    """Run the stage of the trunk on tables; return its folder and metrics."""

    def stage(tables, params, out="out", champion=None):
        folder = stage_files / out
        folder.mkdir()
        names = ("item_vectors", "user_vectors", "lists", "scores")
        logging = stage_files / "champion"
        metrics = trunk.run(
            **vars(tables), split=stage_files / "split.json", champion=champion or logging,
            model=folder / "model", training=folder / "training", facts=folder / "facts",
            scratch=stage_files / "scratch", params=params,
            **{name: folder / f"{name}.parquet" for name in names},
        )  # fmt: skip
        return folder, metrics

    return stage
