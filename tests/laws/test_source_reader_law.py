"""What every source must do.  A new one inherits the suite by a line in SOURCES."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadInput
from tessera.contracts.rules import IBIS_DTYPE
from tessera.contracts.split import load_split
from tessera.contracts.tables import RISK_CLASSES, TABLES
from tessera.stages.ingest.draft import FAULT, UNREAD
from tessera.stages.ingest.engine import FILE, ROW, open_engine
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.reader import drafts
from tessera.stages.ingest.source import conventions
from tessera.stages.ingest.stage import ORDER, run

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

OF_OURS = {FILE, ROW, FAULT, UNREAD}
START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """A made-up folder of a source in which one row is bad."""

    files: Mapping[str, str | list[dict[str, Any]]]
    """Texts, or rows of a table that lies there as Parquet."""
    rows: Mapping[str, int]
    """Rows of each table that stand in the files, the bad one among them."""
    bad: tuple[str, str, int]
    """Its table, its file and its row there; records that name no row are told by their line."""
    params: Mapping[str, Any] = field(default_factory=dict)
    of: type[IngestParams] = IngestParams

    def lay_out(self, folder):
        """Write the files."""
        for name, held in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(held, str):
                (folder / name).write_text(held)
                continue
            found = schema(TABLES[Path(name).stem])
            loose = pa.schema([pa.field(one.name, one.type) for one in found])
            pq.write_table(pa.Table.from_pylist(held, loose), folder / name)
        return folder

    @property
    def labels(self):
        """How a person knows the files: those that a log goes on from lie in a folder beside it."""
        return {name.removeprefix("base/") for name in self.files}

    def said(self, source, **more):
        """Params that read it; in so small a world one bad row is a large share."""
        lenient = {"max_quarantined": 1.0, "min_coverage": 0.0}
        return self.of(source=source, **lenient, **self.params, **more)


def _served():
    """A slate and a click behind the market's ten days."""
    at = START + timedelta(days=9, hours=1)
    slate = {"request_id": "s1", "position": 1, "user_id": "u1", "item_id": "i1", "event_ts": at,
             "policy_id": "v1", "propensity": 0.5, "candidate_ids": ["i0", "i1"],
             "candidate_propensities": [0.5, 0.5], "context_version": "a+0"}  # fmt: skip
    done = {"user_id": "u1", "item_id": "i1", "event_ts": at, "time_kind": "exact"}
    return {f"base/{name}": rows for name, rows in _market().items()} | {
        "served/exposures.parquet": [slate],
        "served/outcomes.parquet": [{"request_id": "s1", "item_id": "i1", "action": "click",
                                     "value": 0.0, "event_ts": at}],
        "served/events.parquet": [done | {"event_id": "e-1", "action": "click"}],
        "served/prices.parquet": [{"item_id": "i1", "price_ts": at, "close_eur": 2.0}],
    }  # fmt: skip


def _market():
    """Ten days of two investors and two items, and one slate; the fourth amount is below 0."""
    day = [START + timedelta(days=number) for number in range(10)]
    event = {"action": "buy", "time_kind": "exact"}
    slate = {"request_id": "r1", "position": 1, "user_id": "u0", "item_id": "i0",
             "event_ts": START, "policy_id": "v0", "propensity": 0.5, "candidate_ids": ["i0", "i1"],
             "candidate_propensities": [0.5, 0.5], "context_version": "0"}  # fmt: skip
    return {
        "events.parquet": [
            event | {"event_id": f"e{n}", "user_id": f"u{n % 2}", "item_id": f"i{n % 2}",
                     "event_ts": day[n], "amount_eur": -1.0 if n == 3 else 1.0}
            for n in range(10)
        ],
        "items.parquet": [{"item_id": f"i{n}", "name": f"item {n}"} for n in range(2)],
        "users.parquet": [{"user_id": "u0", "valid_from": START, "risk_class": 2}],
        "prices.parquet": [{"item_id": "i0", "price_ts": START, "close_eur": 3.0}],
        "exposures.parquet": [slate],
        "outcomes.parquet": [{"request_id": "r1", "item_id": "i0", "action": "buy", "value": 5.0,
                              "event_ts": day[1]}],
    }  # fmt: skip


_FAR_TRANS = {
    "transactions.csv": (
        "customerID,ISIN,transactionID,transactionType,timestamp,totalValue,units,channel\n"
        "C1,I1,900,Buy,2021-03-01,100.5,10,Branch\n"
        "C1,I2,901,Sell,2021-05-01,much,5,Branch\n"
        "C2,I1,902,Buy,2021-08-01,10,1,Branch\n"
        "C2,I2,903,Buy,2021-12-31,10,1,Branch\n"
    ),
    "customer_information.csv": (
        "customerID,customerType,riskLevel,investmentCapacity,lastQuestionnaireDate,timestamp\n"
        "C1,Premium,Balanced,CAP_80K_300K,2021-11-30,2021-03-19\n"
    ),
    "asset_information.csv": (
        "ISIN,assetName,assetShortName,assetCategory,assetSubCategory,marketID,sector,industry,"
        "timestamp\n"
        "I1,Alpha,ALPHA,Stock,,M1,Energy,Power,2018-01-02\n"
        "I2,Beta,BETA,MTF,Money Market,M1,,,2018-01-02\n"
    ),
    "close_prices.csv": "ISIN,timestamp,closePrice\nI1,2018-01-02,3.5\nI2,2019-02-03,1.25\n",
}
_RATINGS = [f"{n % 4 + 1}::{n % 5 + 1}::3::{978300000 + n * 86400}" for n in range(20)]
_MOVIELENS = {
    "ratings.dat": "\n".join([*_RATINGS[:6], "1::2::3::when", *_RATINGS[6:]]) + "\n",
    "movies.dat": "".join(f"{n}::Film {n} (1995)::Drama|Comedy\n" for n in range(1, 6)),
    "users.dat": "1::F::25::7::12345\n",
}
_AMAZON = {
    "Toys.txt": "1 2 1 3\n2 3 1 2\n7\n",
    "Toys_datamaps.json": json.dumps(
        {"id2user": {"1": "UA", "2": "UB"}, "id2item": {"1": "A1", "2": "A2", "3": "A3"}}
    ),
    "Toys.item": (
        "item_id:token\ttitle:token\tsales_type:token\tcategories:token_seq\tbrand:token\n"
        "A1\tDoll\tToys\t'Toys', 'Dolls'\tAcme\n"
    ),
}
_MAPPING = {
    "events": {"file": "orders.csv", "constants": {"action": "buy"},
               "columns": {"user_id": "who", "item_id": "what", "event_ts": "at",
                           "amount_eur": "paid"}},
    "items": {"file": "products.csv", "columns": {"item_id": "what", "name": "called"}},
}  # fmt: skip
_PAID = [f"c{n % 3},p{n % 2},2024-01-{n + 1:02d},{'much' if n == 4 else n + 1}" for n in range(10)]

SOURCES = {
    "market": World(
        _market(),
        {"events": 10, "items": 2, "users": 1, "prices": 1, "exposures": 1, "outcomes": 1},
        ("events", "events.parquet", 4),
    ),
    "far_trans": World(
        _FAR_TRANS,
        {"events": 4, "items": 2, "users": 1, "prices": 2},
        ("events", "transactions.csv", 2),
    ),
    "movielens": World(
        _MOVIELENS, {"events": 21, "items": 5, "users": 1}, ("events", "ratings.dat", 7)
    ),
    "amazon": World(_AMAZON, {"events": 7, "items": 3}, ("events", "Toys.txt", 3)),
    "served": World(
        _served(),
        {"events": 11, "items": 2, "users": 1, "prices": 2, "exposures": 2, "outcomes": 2},
        ("events", "events.parquet", 4),
        {"of": "market"},
    ),
    "table": World(
        {"orders.csv": "\n".join(["who,what,at,paid", *_PAID]) + "\n",
         "products.csv": "what,called\np0,Fund 0\np1,Fund 1\n"},
        {"events": 10, "items": 2},
        ("events", "orders.csv", 5),
        {"mapping": _MAPPING},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Ingested:
    """A world that was ingested."""

    folder: Any
    metrics: Mapping[str, float]

    def rows(self, name):
        return pq.read_table(self.folder / f"{name}.parquet").to_pylist()

    def bytes(self):
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


def ingested(world, source, folder, **more):
    """Ingest a world into a folder."""
    folder.mkdir()
    out = folder / "out"
    out.mkdir()
    request = folder / "request.json"
    request.write_text('{"cut": null}')
    metrics = run(
        source=world.lay_out(folder / "files"), request=request, split=out / "split.json",
        suitability=out / "suitability.json", params=world.said(source, **more),
        **{name: out / f"{name}.parquet" for name in (*ORDER, "quarantine")},
    )  # fmt: skip
    return Ingested(out, metrics)


@pytest.fixture(scope="module", params=SOURCES)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def world(source):
    return SOURCES[source]


@pytest.fixture(scope="module")
def found(world, source, tmp_path_factory):
    return ingested(world, source, tmp_path_factory.mktemp(source) / "law")


def test_every_row_of_the_files_is_good_or_set_aside(found, world):
    for name in ORDER:
        assert found.metrics.get(f"{name}_in", 0) == world.rows.get(name, 0), name
        good, aside = len(found.rows(name)), found.metrics.get(f"{name}_quarantined", 0)
        assert good + aside == world.rows.get(name, 0), name
    assert found.metrics["rows_quarantined"] == len(found.rows("quarantine")) == 1


def test_a_bad_row_is_named_by_its_file_and_its_row(found, world):
    (aside,) = found.rows("quarantine")
    assert (aside["table"], aside["source_file"], aside["source_row"]) == world.bad
    assert aside["reason"]


def may_be(told, column):
    """Whether a column of a draft is of its contract's type, or still text."""
    wanted = ibis.dtype(IBIS_DTYPE[column.dtype])
    same = told.is_timestamp() if wanted.is_timestamp() else told == wanted
    return same or told.is_string() or told.is_null()


def test_every_column_is_one_of_the_contract_and_of_its_type_or_text(world, source, tmp_path):
    params = world.said(source)
    with open_engine(params, tmp_path) as engine:
        for name, draft in drafts(world.lay_out(tmp_path / "files"), engine, params).items():
            types, table = dict(draft.rows.schema().items()), TABLES[name]
            known = {*table.names, *(f"text_{column}" for column in table.names)}
            assert {FILE, ROW} <= set(types) <= known | OF_OURS, name
            for column in table.columns:
                assert column.nullable or column.name in types, f"{name}.{column.name}"
                assert column.name not in types or may_be(types[column.name], column), column.name
            places = draft.rows.select(FILE, ROW).to_pyarrow()
            assert set(places[FILE].to_pylist()) <= world.labels, name
            assert min(places[ROW].to_pylist()) == 1, "the first row of data is row 1"


def test_equal_files_give_equal_bytes_whatever_the_threads(found, world, source, tmp_path):
    again = ingested(world, source, tmp_path / "again", threads=1)
    assert again.bytes() == found.bytes()


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_its_files_is_one_line(world, source, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    params = world.said(source)
    with open_engine(params, tmp_path) as engine, pytest.raises(BadInput) as caught:
        drafts(tmp_path / folder, engine, params)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value), "what to do"


def test_its_conventions_split_the_events(found, world, source):
    said, split = conventions(source), load_split(found.folder / "split.json")
    assert split.ordinal is not said.timed
    if said.timed:
        assert split.validation_from < split.cut < split.test_until
        moments = [row["event_ts"].astimezone(UTC) for row in found.rows("events")]
        assert min(moments) < split.validation_from
        assert any(split.cut < moment <= split.test_until for moment in moments)
    assert 1 <= said.unknown_item_risk <= len(RISK_CLASSES)
    unknown = json.loads((found.folder / "suitability.json").read_text())["unknown_item"]
    assert unknown == said.unknown_item_risk
    assert (world.said(source, unknown_item_risk=3)).unknown.item == 3, "unless a person says more"


def test_what_it_demands_of_the_params_is_refused_before_any_work(world, source):
    said = conventions(source)
    if not said.timed:
        with pytest.raises(ValueError, match=f"{source} has no times: set ingest.protocol"):
            world.said(source, protocol="time")
    for table in said.mapped:
        less = {name: one for name, one in world.params["mapping"].items() if name != table}
        with pytest.raises(ValueError, match=f"ingest.mapping needs {table} for source {source}"):
            replace(world, params={"mapping": less}).said(source)


def test_its_official_files_tell_its_folder(world, source, tmp_path):
    folder = world.lay_out(tmp_path / "files")
    for pattern in conventions(source).official:
        assert any(folder.glob(pattern)), pattern
