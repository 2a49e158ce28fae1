"""Where expressions run: DuckDB on one machine, Spark beyond it, one expression for both.

Only opening, reading a Parquet file with its row numbers, streaming a result and closing differ.
"""

from __future__ import annotations

import errno
import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput, BadParams
from tessera.shared.engines.spark import open_spark
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.spark_columns import columns

ROW = "source_row"
FILE = "source_file"
_BATCH = 250_000


@dataclass(frozen=True, slots=True)
class Engine:
    """An open connection and the folder in which it may spill."""

    spill: Path
    read: Callable[[Path, str], ir.Table]
    """Open a Parquet file under a name, lazily."""
    read_numbered: Callable[[Path, str], ir.Table]
    """The same with `source_row`, 1 for the first row of the file."""

    batches: Callable[[ir.Table], pa.RecordBatchReader]
    """Stream a result; one at a time."""
    view: Callable[[str, ir.Table], ir.Table]
    """Name an expression that is used several times, so that it is compiled once."""

    def keep(self, rows: ir.Table, name: str) -> tuple[ir.Table, int]:
        """Compute an intermediate table once; also say how many rows it has."""
        path = self.spill / f"{name}.parquet"
        batches = self.batches(rows)
        with batches, pq.ParquetWriter(path, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return self.read(path, name), pq.read_metadata(path).num_rows


@contextmanager
def open_engine(params: IngestParams, spill: Path) -> Iterator[Engine]:
    """Open the engine of the params; its faults come back as errors for people."""
    if params.engine == "pyspark":
        with _spark(params, spill) as engine:
            yield engine
        return
    with _duckdb(params, spill) as engine:
        yield engine


@contextmanager
def _duckdb(params: IngestParams, spill: Path) -> Iterator[Engine]:
    settings: dict[str, Any] = {
        "memory_limit": params.memory_limit,
        "threads": params.threads,
        "temp_directory": str(spill / "duckdb"),
        "preserve_insertion_order": False,
    }
    connection = ibis.duckdb.connect(**settings)
    connection.raw_sql("SET TimeZone = 'UTC'")

    def read_numbered(path: Path, name: str) -> ir.Table:
        rows = connection.read_parquet(path, table_name=name, file_row_number=True)
        return rows.mutate(**{ROW: rows.file_row_number + 1}).drop("file_row_number")

    def batches(rows: ir.Table) -> pa.RecordBatchReader:
        # not rows.to_pyarrow_batches(): it calls a method that DuckDB 2 no longer has
        return connection.con.sql(connection.compile(rows)).to_arrow_reader(_BATCH)

    try:
        yield Engine(
            spill,
            lambda path, name: connection.read_parquet(path, table_name=name),
            read_numbered,
            batches,
            connection.create_view,
        )
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # a fault of ours, not of the files
    except duckdb.Error as error:
        raise for_people(error) from error
    finally:
        connection.disconnect()


def for_people(error: Exception) -> Exception:
    """Turn a fault of an engine into one that says what a person can do."""
    line = re.sub(r"\s+", " ", str(error)).strip()
    if "no space left" in line.lower():
        return OSError(errno.ENOSPC, line)
    if isinstance(error, duckdb.OutOfMemoryException):
        return BadParams(f"ingest ran out of memory: raise ingest.memory_limit ({line[:200]})")
    return BadInput(f"a source file cannot be read to its end: fetch it again ({line[:300]})")


@contextmanager
def _spark(params: IngestParams, spill: Path) -> Iterator[Engine]:
    with open_spark(params.threads, spill, "ingest") as spark:
        session, connection = spark.session, spark.connection
        faults = importlib.import_module("pyspark.errors")
        protocol = importlib.import_module("py4j.protocol")

        def read_numbered(path: Path, name: str) -> ir.Table:
            numbered = [*columns(path), f"_metadata.row_index + 1 AS {ROW}"]
            session.read.parquet(str(path)).selectExpr(*numbered).createOrReplaceTempView(name)
            return connection.table(name)

        def view(name: str, rows: ir.Table) -> ir.Table:
            named = connection.create_view(name, rows)
            session.table(name).persist()  # else a filter is written out over and over in parents
            return named

        try:
            yield Engine(
                spill,
                lambda path, name: connection.read_parquet(path, table_name=name),
                read_numbered,
                spark.batches,
                view,
            )
        except (faults.PySparkException, protocol.Py4JJavaError) as error:
            if not re.search("FAILED_READ_FILE|No space left", str(error)):
                raise  # a fault of ours, not of the files
            raise for_people(error) from error


def check_parquet(path: Path) -> pa.Schema:
    """Read the footer of a Parquet file; truncated files have none.

    Raises
    ------
    BadInput
        If the file is missing, empty or not Parquet.
    """
    if not path.is_file():
        raise BadInput(f"{path.name} is missing in {path.parent}: put it there and run again")
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        line = re.sub(r"\s+", " ", str(error))
        raise BadInput(
            f"{path.name} is truncated or no Parquet file: fetch it again ({line[:200]})"
        ) from error
