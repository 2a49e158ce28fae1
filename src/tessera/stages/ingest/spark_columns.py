"""How Spark reads the columns of a Parquet file: it has no nanoseconds, so they are rounded."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def columns(path: Path) -> list[str]:
    """Select all columns of a Parquet file."""
    return [_column(field) for field in pq.read_schema(path)]


def _column(field: pa.Field) -> str:
    escaped = field.name.replace("`", "``")
    name = f"`{escaped}`"
    if not (pa.types.is_timestamp(field.type) and field.type.unit == "ns"):
        return name
    half_up = f"({name} + 500)"
    return f"timestamp_micros(({half_up} - pmod({half_up}, 1000)) div 1000) AS {name}"
