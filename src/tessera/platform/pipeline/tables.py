"""What the tables of a stage are read on: DuckDB, or Spark where its params say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ibis
from pydantic import BaseModel

from tessera.contracts.artifacts import ARTIFACTS
from tessera.platform.workspace.catalogue import Stage

_MEMORY = "2GB"
"""What a query of a stage may hold; the rest of a sort, join or aggregate goes to disk."""
PYSPARK = "pyspark"


@contextmanager
def open_tables(stage: Stage, section: BaseModel | None, spill: Path) -> Iterator[Any]:
    """Open a connection for a stage that runs by a section of params; `spill` is for its rests.

    Raises
    ------
    BadParams
        If the params say Spark, and it lacks something here.
    """
    reads = any(ARTIFACTS[name].kind == "table" for name in stage.reads)
    if reads and getattr(section, "engine", None) == PYSPARK:
        from tessera.shared.engines.spark import open_spark

        with open_spark(section.threads, spill, stage.name) as spark:  # type: ignore[union-attr]
            yield spark.connection
        return
    connection = ibis.duckdb.connect(memory_limit=_MEMORY, temp_directory=str(spill))
    try:
        connection.raw_sql("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.disconnect()
