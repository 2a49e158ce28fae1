"""Tiny sources in the official formats, and one call that ingests a folder."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import Split, load_split
from tessera.contracts.tables import TABLES
from tessera.stages.ingest.params import IngestParams, TableMapping
from tessera.stages.ingest.stage import ORDER, run

NAMES = (*ORDER, "quarantine")
LENIENT = {"max_quarantined": 1.0, "min_coverage": 0.0}
"""Fixtures are so small that one bad row is a large share."""
START = datetime(2024, 1, 1, tzinfo=UTC)

TRANSACTIONS = """customerID,ISIN,\
transactionID,transactionType,timestamp,totalValue,units,channel,marketID
C1,I1,900,Buy,2021-03-01,100.5,10,Internet Banking,M1
C1,I2,1001,Sell,2021-05-01,50,5,Branch,M1
C2,I1,900,Buy,2021-08-01,10,1,Phone Banking,M1
C2,I2,902,Buy,2021-12-31,10,1,Branch,M1
"""
RECONSTRUCTED = """customerID,ISIN,\
transactionID,transactionType,timestamp,totalValue,units,channel,marketID
C3,I1,R0000000,Buy,2020-01-01,,12.0,Reconstructed,
C3,I2,R0000001,Buy,2021-07-01,,,Reconstructed,
"""
CUSTOMERS = """customerID,customerType,riskLevel,investmentCapacity,lastQuestionnaireDate,timestamp
C1,Premium,Balanced,CAP_80K_300K,2021-11-30,2021-03-19
C2,Mass,Predicted_Income,Predicted_CAP_LT30K,2015-04-27,2018-01-02
C3,Mass,Not_Available,Not_Available,2000-01-01,2000-01-01
"""
ASSETS = """ISIN,assetName,\
assetShortName,assetCategory,assetSubCategory,marketID,sector,industry,timestamp
I1,"Alpha, SA",ALPHA,Stock,,M1,Energy,Power,2018-01-02
I2,Beta Fund,BETA,MTF,Money Market,M1,,,2018-01-02
I2,Beta Fund renamed,BETA,MTF,Equity,M1,,,2021-01-02
"""
CLOSES = """ISIN,timestamp,closePrice
I1,2018-01-02,3.5
I1,2020-07-02,4.5
I2,2019-02-03,1.25
"""


@dataclass(frozen=True)
class Ingested:
    folder: Path
    metrics: dict[str, float]

    def rows(self, name: str) -> list[dict]:
        return pq.read_table(self.folder / f"{name}.parquet").to_pylist()

    def reasons(self) -> list[tuple[str, str]]:
        return sorted((row["table"], row["reason"]) for row in self.rows("quarantine"))

    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    @property
    def split(self) -> Split:
        return load_split(self.folder / "split.json")


@pytest.fixture
def loose():
    """Params of a mapping that names fewer columns than its tables need."""

    def go(mapping: dict) -> IngestParams:
        tables = {name: TableMapping(**one) for name, one in mapping.items()}
        return IngestParams.model_construct(source="table", mapping=tables)

    return go


@pytest.fixture
def ingest(tmp_path):
    count = iter(range(100))

    def go(source: Path, kind: str, cut: str | None = None, **params) -> Ingested:
        number = next(count)
        params = LENIENT | params
        out = tmp_path / f"out{number}"
        out.mkdir()
        request = tmp_path / f"request{number}.json"
        request.write_text(json.dumps({"cut": cut}))
        files = {name: out / f"{name}.parquet" for name in NAMES}
        metrics = run(
            source=source,
            request=request,
            split=out / "split.json",
            suitability=out / "suitability.json",
            params=IngestParams(source=kind, **params),
            **files,
        )
        return Ingested(out, metrics)

    return go


@pytest.fixture
def far_trans(tmp_path):
    folder = tmp_path / "far-trans"
    folder.mkdir()
    (folder / "transactions.csv").write_text(TRANSACTIONS)
    with gzip.open(folder / "transactions_reconstructed.csv.gz", "wt") as file:
        file.write(RECONSTRUCTED)
    (folder / "customer_information.csv").write_text(CUSTOMERS)
    (folder / "asset_information.csv").write_text(ASSETS)
    (folder / "close_prices.csv").write_text(CLOSES)
    return folder


@pytest.fixture
def market(tmp_path):
    """Ten days, three investors, two items, one slate."""
    folder = tmp_path / "market"
    folder.mkdir()
    day = [START + timedelta(days=number) for number in range(10)]
    tables = {
        "items": [
            {"item_id": "i1", "name": "one", "risk_class": 1},
            {"item_id": "i2", "name": "two", "risk_class": 4},
        ],
        "users": [{"user_id": "u1", "valid_from": START, "risk_class": 2}],
        "prices": [{"item_id": "i1", "price_ts": START, "close_eur": 3.0}],
        "events": [
            {
                "event_id": f"e{number}",
                "user_id": f"u{number % 3}",
                "item_id": f"i{number % 2 + 1}",
                "action": "buy",
                "event_ts": day[number],
                "time_kind": "exact",
                "amount_eur": 10.0 + number,
                "units": 1.0,
            }
            for number in range(10)
        ],
        "exposures": [
            {
                "request_id": "r1",
                "position": place,
                "user_id": "u1",
                "item_id": f"i{place}",
                "event_ts": START,
                "policy_id": "v0",
                "propensity": 0.5,
                "candidate_ids": ["i1", "i2"],
                "candidate_propensities": [0.5, 0.5],
                "context_version": "0",
            }
            for place in (1, 2)
        ],
        "outcomes": [
            {"request_id": "r1", "item_id": "i1", "action": "buy", "value": 5.0, "event_ts": day[1]}
        ],
    }
    for name, rows in tables.items():
        write_rows(folder / f"{name}.parquet", name, rows)
    return folder


def write_rows(path: Path, name: str, rows: list[dict]) -> None:
    wanted = schema(TABLES[name])
    loose = pa.schema([pa.field(field.name, field.type) for field in wanted])
    pq.write_table(pa.Table.from_pylist(rows, loose), path)


@pytest.fixture
def change(market):
    """Rewrite one table of the market through a function on its rows."""

    def go(name: str, edit) -> None:
        path = market / f"{name}.parquet"
        rows = pq.read_table(path).to_pylist() if path.exists() else []
        write_rows(path, name, edit(rows))

    return go


@pytest.fixture
def movielens(tmp_path):
    folder = tmp_path / "ml"
    folder.mkdir()
    ratings = "".join(
        f"{n % 4 + 1}::{n % 5 + 1}::{n % 5 + 1}::{978300000 + n // 2 * 86400}\n" for n in range(20)
    )
    with gzip.open(folder / "ratings.dat.gz", "wt") as file:
        file.write(ratings)
    films = "".join(f"{n}::Café {n} (1995)::Drama|Comedy\n" for n in range(1, 6))
    (folder / "movies.dat").write_bytes(films.encode("latin-1"))
    return folder


@pytest.fixture
def amazon(tmp_path):
    folder = tmp_path / "amazon"
    folder.mkdir()
    with gzip.open(folder / "Toys.txt.gz", "wt") as file:
        file.write("1 2 1 3\n2 3 1 2\n")
    maps = {"id2user": {"1": "UA", "2": "UB"}, "id2item": {"1": "A1", "2": "A2", "3": "A3"}}
    (folder / "Toys_datamaps.json").write_text(json.dumps(maps))
    (folder / "Toys.item").write_text(
        "item_id:token\ttitle:token\tsales_type:token\tsales_rank:float\tcategories:token_seq\tprice:float\tbrand:token\n"
        "A1\tDoll &amp; House\tToys\t1.0\t'Toys', 'Dolls'\t5.0\tAcme\n"
        'A2\tBall\tToys\t2.0\t"[\'Toys\', ""Men\'s""]"\t5.0\t\n'
        "A3\tbroken\n"
    )
    return folder
