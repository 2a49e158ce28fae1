"""What is written for Spark, where it runs, and what is said where it cannot; without Spark."""

import importlib.util
import shutil
from types import SimpleNamespace

import ibis
import pytest
from ibis.config import Config

from tessera.contracts.errors import BadParams
from tessera.platform.pipeline.tables import open_tables
from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.shared.engines import spark
from tessera.stages.graph.params import GraphParams

ROWS = ibis.table({"a": "int64", "b": "string", "x": "float64"}, name="rows")


class SparkOptions(Config):
    treat_nan_as_null: bool = False


@pytest.fixture
def written(monkeypatch):
    """SQL of an expression; Ibis fills its options in only once it was connected to Spark."""
    if ibis.options.pyspark is None:
        monkeypatch.setattr(ibis.options, "pyspark", SparkOptions())
    return lambda expr: spark.LikeDuckDB().to_sqlglot(expr).sql(dialect="spark")


def test_what_is_filtered_by_does_not_become_distinct(written):
    sql = written(ROWS.filter(ROWS.x > 0).select("a").distinct().order_by("a"))
    assert "SELECT DISTINCT `t0`.`a` FROM" in sql


def test_an_order_by_a_column_that_was_computed_names_it(written):
    sql = written(ROWS.mutate(c=ROWS.a + 1).select("c").distinct().order_by("c"))
    assert sql.endswith("ORDER BY `t1`.`c` ASC NULLS LAST")


def test_a_fraction_is_no_decimal(written):
    assert "CAST(1.0 AS DOUBLE) / COUNT(*)" in written(ROWS.agg(share=1.0 / ROWS.count()))


@pytest.fixture
def graph():
    return next(stage for stage in ALL_STAGES if stage.name == "graph")


def test_a_stage_says_in_one_line_that_java_is_missing(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(shutil, "which", lambda *_args, **_given: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    asked = open_tables(graph, GraphParams(engine="pyspark", threads=1), tmp_path)
    with pytest.raises(BadParams, match=r"^engine pyspark needs Java: install Java 17 or newer"):
        asked.__enter__()
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert "JAVA_HOME=/nowhere has none" in spark.fault()


def test_a_stage_says_in_one_line_that_the_extra_is_missing(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    asked = open_tables(graph, GraphParams(engine="pyspark", threads=1), tmp_path)
    with pytest.raises(BadParams, match="uv sync --extra spark"):
        asked.__enter__()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return what a builder of sessions is told; nothing starts."""
    told = {}
    session = SimpleNamespace(sparkContext=SimpleNamespace(setLogLevel=lambda _: None))
    builder = SimpleNamespace(getOrCreate=lambda: session)
    builder.master = lambda name: told.update(master=name) or builder
    builder.appName = lambda name: told.update(name=name) or builder
    builder.config = lambda map: told.update(map) or builder

    def go(**variables):
        for name in (spark.MASTER, spark.ADDRESS):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        spark._started(builder, 3, tmp_path, "graph")
        return told["master"], told["spark.driver.host"], told["spark.driver.bindAddress"]

    return go


def test_nobody_else_hears_it_by_default(asked):
    assert asked() == ("local[3]", "127.0.0.1", "127.0.0.1")


def test_variables_name_a_cluster_and_where_it_reaches_the_stage(asked):
    named = {spark.MASTER: "spark://10.0.0.1:7077", spark.ADDRESS: "10.0.0.2"}
    assert asked(**named) == ("spark://10.0.0.1:7077", "10.0.0.2", "10.0.0.2")
