"""The same expressions give the same rows on Spark as on DuckDB."""

from __future__ import annotations

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.config import Config

from tessera.contracts.tables import TABLES
from tessera.shared.engines.spark import LikeDuckDB, fault
from tessera.stages.ingest import row_checks as sifting
from tessera.stages.ingest.engine import open_engine
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.reader import drafts

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

SOURCES = ("far_trans", "market", "movielens", "amazon")
SPARK = pytest.mark.skipif(fault() is not None, reason=fault() or "")


class SparkOptions(Config):
    treat_nan_as_null: bool = False


@pytest.mark.parametrize("kind", SOURCES)
def test_every_expression_compiles_to_spark(kind, request, tmp_path, monkeypatch):
    """Without Spark itself: its SQL can be written, so no operation is missing there."""
    if ibis.options.pyspark is None:  # filled in only once Spark was connected to
        monkeypatch.setattr(ibis.options, "pyspark", SparkOptions())
    params = IngestParams(source=kind)
    folder = request.getfixturevalue(kind)
    with open_engine(params, tmp_path) as engine:
        for name, draft in drafts(folder, engine, params).items():
            table = TABLES[name]
            judged = sifting._judge(table, draft, None)
            key = list(draft.key or table.key)
            copies = sifting._mark_copies(table, judged, key, "key")
            sql = LikeDuckDB().to_sqlglot(copies.order_by(key)).sql(dialect="spark")
            assert "SELECT" in sql
            assert "ISNAN" not in sql, "NaN is not null"


@SPARK
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore")
def test_spark_and_duckdb_give_the_same_rows(ingest, request, kind):
    folder = request.getfixturevalue(kind)
    one = ingest(folder, kind)
    other = ingest(folder, kind, engine="pyspark")
    assert other.metrics == one.metrics
    for path in sorted(one.folder.glob("*.parquet")):
        assert pq.read_table(other.folder / path.name).equals(pq.read_table(path)), path.name


TIMES = [
    "2024-01-01",
    "2024-01-02 10:00",
    "2024-01-03T10:00:00.5Z",
    "2024-01-04T10:00:00.1234567+02:00",
    "2024-01-05 10:00:00+02",
    "2024-01-06 10:00:00-0230",
    " 2024-01-07\t",
    "2024-02-30",
    "2024-01-08T10:00:60",
    "2024-01-09 10:00:00Z ",
    "1969-12-31 23:59:59.999999",
    "2100-01-01",
    "0001-01-01",
    "2024-01-10T10:00+02:00",
    "2024-1-1",
]
NUMBERS = [
    "1",
    "-1",
    "+1.50",
    "1.",
    ".5",
    "1e3",
    "1e400",
    "1e-400",
    "NaN",
    "-nan",
    "inf",
    "-Infinity",
    "+INF",
    "1,5",
    "1d",
    "0x1",
    " 2 ",
    "9007199254740993",
    "0.1234567890123456789",
    "-0",
]


@pytest.fixture
def awkward(tmp_path):
    """Text and typed values that engines are known to read differently."""
    folder = tmp_path / "awkward"
    folder.mkdir()
    rows = [(moment, "1.5") for moment in TIMES] + [("2024-02-01", text) for text in NUMBERS]
    rows += [("2024-03-01", "5"), ("2024-03-01", "5"), ("2024-03-02", "6"), ("2024-03-02", "")]
    given = [(f"e{min(row, len(TIMES) + len(NUMBERS))}", *cells) for row, cells in enumerate(rows)]
    given[-2:] = [("é", *cells) for cells in rows[-2:]]
    lines = "".join(f'{name};u;p1;"{moment}";"{text}"\n' for name, moment, text in given)
    (folder / "trades.csv").write_text("id;client;paper;day;eur\n" + lines)
    pq.write_table(pa.table({"paper": ["p1", "Ä", "a", "B", "", None]}), folder / "papers.parquet")
    closes = [1.0, float("nan"), float("inf"), None, -1.0, 2.0, 2.0]
    nanoseconds = [1_700_000_000_123_456_789, 1, -1, None, 2, 3, 3]
    prices = {
        "paper": ["p1"] * len(closes),
        "at": pa.array(nanoseconds, pa.timestamp("ns")),
        "close": closes,
    }
    pq.write_table(pa.table(prices), folder / "closes.parquet")
    return folder


MAPPING = {
    "items": {"file": "papers.parquet", "columns": {"item_id": "paper", "name": "paper"}},
    "events": {
        "file": "trades.csv",
        "columns": {
            "event_id": "id",
            "user_id": "client",
            "item_id": "paper",
            "event_ts": "day",
            "amount_eur": "eur",
        },
        "constants": {"action": "buy"},
        "delimiter": ";",
    },
    "prices": {
        "file": "closes.parquet",
        "columns": {"item_id": "paper", "price_ts": "at", "close_eur": "close"},
    },
}


@SPARK
@pytest.mark.filterwarnings("ignore")
def test_spark_and_duckdb_judge_awkward_values_alike(ingest, awkward):
    one, other = (
        ingest(awkward, "table", "2024-01-20", mapping=MAPPING, engine=engine)
        for engine in ("duckdb", "pyspark")
    )
    assert len(one.rows("quarantine")) > 20
    for path in sorted(one.folder.glob("*.parquet")):
        assert other.rows(path.stem) == one.rows(path.stem)
