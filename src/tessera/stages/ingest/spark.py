"""What Spark does unlike DuckDB, and how it is made to do alike.

Two odd spellings of a time still differ, DuckDB reads them and Spark sets them aside: hour 24, and
an offset from UTC of more than 18 hours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.base import NULL
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

_SIGNED_NAN = "(?i)^[+-]nan$"
_MINUTES_AND_ZONE = "^(.{10}[ T][0-9]{2}:[0-9]{2})(Z|[+-].*)$"


class LikeDuckDB(PySparkCompiler):  # type: ignore[misc]
    """Writes SQL for Spark in which NaN is a value and text is read as DuckDB reads it."""

    __slots__ = ()

    def visit_IsNull(self, _: ops.IsNull, *, arg: sge.Expression) -> sge.Expression:
        """Leave out NaN, which Ibis counts as null on Spark alone."""
        return arg.is_(NULL)

    def visit_NotNull(self, _: ops.NotNull, *, arg: sge.Expression) -> sge.Expression:
        """Let NaN in likewise."""
        return arg.is_(NULL).not_()

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


def session(builder: Any, threads: int, spill: Path) -> Any:
    """Start Spark on this machine, quiet and in UTC."""
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        "spark.local.dir": str(spill / "spark"),
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.legacy.parquet.nanosAsLong": "true",
    }
    named = builder.master(f"local[{threads}]").appName("tessera-ingest")
    started = named.config(map=settings).getOrCreate()
    started.sparkContext.setLogLevel("ERROR")
    return started


def columns(path: Path) -> list[str]:
    """Select all columns of a Parquet file; Spark has no nanoseconds, so they are rounded."""
    return [_column(field) for field in pq.read_schema(path)]


def _column(field: pa.Field) -> str:
    escaped = field.name.replace("`", "``")
    name = f"`{escaped}`"
    if not (pa.types.is_timestamp(field.type) and field.type.unit == "ns"):
        return name
    half_up = f"({name} + 500)"
    return f"timestamp_micros(({half_up} - pmod({half_up}, 1000)) div 1000) AS {name}"


def in_order(folder: Path, rows: int) -> pa.RecordBatchReader:
    """Stream the files of one result; their names number the parts of a sorted result."""
    parts = [pq.ParquetFile(path) for path in sorted(folder.glob("part-*.parquet"))]
    found = (batch for part in parts for batch in part.iter_batches(rows))
    return pa.RecordBatchReader.from_batches(parts[0].schema_arrow, found)
