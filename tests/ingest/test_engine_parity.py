"""The same expressions give the same rows on Spark as on DuckDB."""

from __future__ import annotations

import importlib.util
import shutil
from types import SimpleNamespace

import ibis
import pyarrow.parquet as pq
import pytest

from tessera.contracts.tables import TABLES
from tessera.ingest import sift as sifting
from tessera.ingest.engine import open_engine
from tessera.ingest.params import IngestParams
from tessera.ingest.sources import drafts

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

SOURCES = ("far_trans", "market", "movielens", "amazon")


@pytest.mark.parametrize("kind", SOURCES)
def test_every_expression_compiles_to_spark(kind, request, tmp_path, monkeypatch):
    """Without Spark itself: its SQL can be written, so no operation is missing there."""
    if importlib.util.find_spec("pyspark") is None:
        option = SimpleNamespace(treat_nan_as_null=False)
        monkeypatch.setattr(type(ibis.options), "pyspark", option, raising=False)
    params = IngestParams(source=kind)
    folder = request.getfixturevalue(kind)
    with open_engine(params, tmp_path) as engine:
        for name, draft in drafts(folder, engine, params).items():
            table = TABLES[name]
            judged = sifting._judge(table, draft, None)
            key = list(draft.key or table.key)
            copies = sifting._mark_copies(table, judged, key, "key")
            assert "SELECT" in ibis.to_sql(copies.order_by(key), dialect="pyspark")


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore")
def test_spark_and_duckdb_give_the_same_rows(ingest, request, kind):
    folder = request.getfixturevalue(kind)
    one = ingest(folder, kind)
    other = ingest(folder, kind, engine="pyspark")
    assert other.metrics == one.metrics
    for path in sorted(one.folder.glob("*.parquet")):
        assert pq.read_table(other.folder / path.name).equals(pq.read_table(path)), path.name
