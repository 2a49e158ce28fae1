"""What Spark does unlike DuckDB, and how it is made to do alike.

Two odd spellings of a time still differ, DuckDB reads them and Spark sets them aside: hour 24, and
an offset from UTC of more than 18 hours.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.base import NULL
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.backends.sql.rewrites import Select
from ibis.common.patterns import replace

from tessera.contracts.errors import BadParams

MASTER = "TESSERA_SPARK_MASTER"
"""Variable that names a cluster, `spark://HOST:PORT`, whose workers see the workspace's folder."""
ADDRESS = "SPARK_LOCAL_IP"
"""Spark's own variable: address of this machine at which the cluster's workers reach it."""
_SIGNED_NAN = "(?i)^[+-]nan$"
_MINUTES_AND_ZONE = "^(.{10}[ T][0-9]{2}:[0-9]{2})(Z|[+-].*)$"
_BATCH = 250_000


def _distinct_before_order(_: Any) -> Any:
    """Order what is distinct already; Ibis's own rule adds columns of the filter to the distinct.

    With them `filter(x > 0).select("a").distinct().order_by("a")` has an `a` for each `x`.
    """
    if not (_.distinct and _.sort_keys):
        return _
    inner = _.copy(sort_keys=())
    column = {value: ops.Field(inner, name) for name, value in _.selections.items()}
    keys = tuple(key.replace(column, filter=ops.Value) for key in _.sort_keys)
    return Select(inner, {name: ops.Field(inner, name) for name in _.selections}, sort_keys=keys)


class LikeDuckDB(PySparkCompiler):  # type: ignore[misc]
    """Writes SQL for Spark in which NaN is a value and numbers and text are read as by DuckDB."""

    __slots__ = ()
    post_rewrites = (replace(Select)(_distinct_before_order),)

    def visit_IsNull(self, _: ops.IsNull, *, arg: sge.Expression) -> sge.Expression:
        """Leave out NaN, which Ibis counts as null on Spark alone."""
        return arg.is_(NULL)

    def visit_NotNull(self, _: ops.NotNull, *, arg: sge.Expression) -> sge.Expression:
        """Let NaN in likewise."""
        return arg.is_(NULL).not_()

    def visit_NonNullLiteral(
        self, op: ops.Literal, *, value: Any, dtype: dt.DataType
    ) -> sge.Expression | None:
        """Call a fraction a float; bare digits are a decimal, whose quotients are cut off."""
        written: sge.Expression | None = super().visit_NonNullLiteral(op, value=value, dtype=dtype)
        if dtype.is_floating() and math.isfinite(value):
            written = self.cast(written, dtype)
        return written

    def visit_TryCast(
        self, op: ops.TryCast, *, arg: sge.Expression, to: dt.DataType
    ) -> sge.Expression:
        """Respell what Spark cannot read: a signed NaN, a zone that follows on minutes."""
        if op.arg.dtype.is_string() and to.is_floating():
            arg = self.f.regexp_replace(arg, _SIGNED_NAN, "NaN")
        if op.arg.dtype.is_string() and to.is_timestamp():
            arg = self.f.regexp_replace(arg, _MINUTES_AND_ZONE, "$1:00$2")
        written: sge.Expression = super().visit_TryCast(op, arg=arg, to=to)
        return written


@dataclass(frozen=True, slots=True)
class Spark:
    """A session, and Ibis's connection to it."""

    session: Any
    connection: Any
    spill: Path
    """Folder in which results lie until they are read; all workers must see it."""
    numbers: Iterator[int]

    def batches(self, rows: ir.Table) -> pa.RecordBatchReader:
        """Stream a result, in its order.

        Not `rows.to_pyarrow_batches()`: it holds the whole result in pandas, where NaN turns into
        null and times lose their zone.
        """
        folder = self.spill / f"result{next(self.numbers)}"
        self.connection.to_parquet(rows, folder)
        # names number the parts of a sorted result
        parts = [pq.ParquetFile(path) for path in sorted(folder.glob("part-*.parquet"))]
        found = (batch for part in parts for batch in part.iter_batches(_BATCH))
        return pa.RecordBatchReader.from_batches(parts[0].schema_arrow, found)

    def fetch(self, expr: ir.Expr, /, **_: Any) -> Any:
        """Return a table, column or scalar as pyarrow, with the types that DuckDB gives."""
        rows = expr.as_table()
        with self.batches(rows) as batches:
            found = batches.read_all()
        # types as Ibis means them, but for times: Spark's are moments in UTC, which Ibis drops
        meant = rows.schema().to_pyarrow()
        kept = [
            old if pa.types.is_timestamp(new.type) else new
            for old, new in zip(found.schema, meant, strict=True)
        ]
        found = found.cast(pa.schema(kept))
        if isinstance(expr, ir.Table):
            return found
        column = found.column(0)
        return column[0] if isinstance(expr, ir.Scalar) else column


def fault() -> str | None:
    """Say in one line what Spark lacks here; None if it can start."""
    if importlib.util.find_spec("pyspark") is None:
        return "engine pyspark needs the extra: uv sync --extra spark"
    home = os.environ.get("JAVA_HOME")
    if not shutil.which("java", path=f"{home}/bin" if home else None):
        where = f"JAVA_HOME={home} has none" if home else "or set JAVA_HOME"
        return f"engine pyspark needs Java: install Java 17 or newer ({where})"
    return None


@contextmanager
def open_spark(threads: int, spill: Path, stage: str) -> Iterator[Spark]:
    """Start Spark on this machine for a stage; one that runs already is used, and left running.

    Raises
    ------
    BadParams
        If the extra or Java is missing, before anything is started.
    """
    if told := fault():
        raise BadParams(told)
    builder = importlib.import_module("pyspark.sql").SparkSession
    running = builder.getActiveSession()
    session = running or _started(builder.builder, threads, spill, stage)
    try:
        connection = ibis.pyspark.connect(session)
        connection.compiler = LikeDuckDB()
        spark = Spark(session, connection, spill, itertools.count())
        connection.to_pyarrow = spark.fetch
        yield spark
    finally:
        if running is None:
            session.stop()


def _started(builder: Any, threads: int, spill: Path, stage: str) -> Any:
    """Start a session that is quiet, in UTC, and heard by this machine alone unless told."""
    address = os.environ.get(ADDRESS, "127.0.0.1")
    settings = {
        "spark.driver.bindAddress": address,
        "spark.driver.host": address,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        "spark.local.dir": str(spill / "spark"),
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.legacy.parquet.nanosAsLong": "true",
    }
    master = os.environ.get(MASTER, f"local[{threads}]")
    named = builder.master(master).appName(f"tessera-{stage}")
    session = named.config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
