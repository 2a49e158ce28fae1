"""No table is published unless every row of it keeps the promises of its contract.

Each table has one Great Expectations checkpoint (rendered by `suites`).  A file is read in chunks
of Arrow memory, so that 10 million rows need no more memory than one million.  A chunk cannot see
a key that returns in a later chunk, so where there are several, expectations about the whole table
(its key, its number of rows) are answered by DuckDB and the footer of the file instead.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.errors import InvalidTable
from tessera.platform.validation.suites import EXAMPLES, TABLE_SCOPE
from tessera.platform.validation.validation_page import PAGE, render_page, sentence
from tessera.platform.workspace import files

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read once, at import
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library still imports what Python deprecated
    import great_expectations as gx
    from great_expectations.execution_engine import pandas_execution_engine

# A fingerprint of every frame would take longer than all checks, and nobody reads it.
pandas_execution_engine.HASH_THRESHOLD = 0

CHUNK_ROWS = 1_000_000
_MEMORY = "1GB"
"""What DuckDB may hold before it spills to disk."""


@dataclass(slots=True)
class Check:
    """What became of one expectation, over all rows."""

    expectation: str
    rule: str
    column: str
    passed: bool = True
    rows: int = 0
    unexpected: int = 0
    observed: str = ""
    examples: list[tuple[int, str]] = field(default_factory=list)
    """Row number (1 is the first) and value of the first rows that failed."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of one table."""

    table: str
    rows: int
    passed: bool
    checks: list[Check]
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    """Only for the quarantine itself: rows by table and reason."""


def validate(table: str, path: Path, suites: Path, results: Path) -> Summary:
    """Check one table; see `validate_all`."""
    return validate_all({table: path}, suites, results)[0]


def validate_all(paths: Mapping[str, Path], suites: Path, results: Path) -> list[Summary]:
    """Check tables against their suites, write the results and the page.

    Parameters
    ----------
    paths : Mapping[str, Path]
        Parquet file of each table.
    suites : Path
        Great Expectations project; only read.
    results : Path
        Folder for `<table>.json` of each table and for the page of all that were ever checked.

    Raises
    ------
    InvalidTable
        If an expectation failed: which, on how many rows, on which first; one line.
    """
    context = gx.get_context(mode="file", context_root_dir=suites)
    summaries = []
    for table, path in paths.items():
        summary = _check_table(context, table, path)
        files.write_json(asdict(summary), results / f"{table}.json")
        summaries.append(summary)
    render_page(results, results / PAGE)
    for summary in summaries:
        if not summary.passed:
            raise InvalidTable(_one_line(summary, results / PAGE))
    return summaries


def _check_table(context: Any, table: str, path: Path) -> Summary:
    suite = context.suites.get(table).to_json_dict()["expectations"]
    checks = {one["id"]: _unchecked(one) for one in suite}
    whole = [one for one in suite if one["meta"].get("scope") == TABLE_SCOPE]
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            for frame in _chunks(file):
                _merge(checks, _run(context, table, frame))
            _observe(checks.values(), file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidTable(
            f"{table}: {path.name} is not whole Parquet ({' '.join(str(error).split())}): "
            "delete it and run its stage again"
        ) from error
    if rows > CHUNK_ROWS:
        for one in whole:
            _check_whole(checks[one["id"]], one, path, rows)
    quarantined = _by_reason(path) if table == "quarantine" else []
    passed = all(check.passed for check in checks.values())
    return Summary(table, rows, passed, list(checks.values()), quarantined)


def _unchecked(expectation: dict[str, Any]) -> Check:
    kwargs = expectation["kwargs"]
    column = kwargs.get("column") or ", ".join(kwargs.get("column_list", [])[:4])
    if "column_A" in kwargs:
        column = f"{kwargs['column_A']}, {kwargs['column_B']}"
    return Check(expectation["type"], sentence(expectation["type"], kwargs), column)


def _chunks(file: pq.ParquetFile) -> Iterator[pd.DataFrame]:
    """Yield frames on Arrow memory, indexed by row number; one empty frame if there is no row."""
    first_row = 1
    for batch in file.iter_batches(CHUNK_ROWS):
        frame = _as_shown(pa.table(batch))
        frame.index = pd.RangeIndex(first_row, first_row + len(frame))
        first_row += len(frame)
        yield frame
    if first_row == 1:
        yield _as_shown(file.schema_arrow.empty_table())


def _as_shown(rows: pa.Table) -> pd.DataFrame:
    """Add length and broken elements of each list; keep NaN and missing apart."""
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        if pa.types.is_list(column.type):
            rows = rows.append_column(f"{name}.length", column.value_lengths().cast(pa.int64()))
            rows = rows.append_column(f"{name}.broken", pa.array(_broken(column)))
    series = {name: _series(rows[name]) for name in rows.column_names}
    return pd.DataFrame(series, copy=False)


def _series(column: pa.ChunkedArray) -> pd.Series:
    """Choose the memory on which no value changes its meaning.

    pandas' own memory is fast, but shows missing integers as floats and NaN as missing; on
    Arrow's, NaN is a value, which breaks its bounds.  Only pandas' own timestamps know their zone.
    """
    kind = column.type
    own = pa.types.is_timestamp(kind)
    own |= pa.types.is_integer(kind) and column.null_count == 0
    own |= pa.types.is_floating(kind) and not pc.any(pc.is_nan(column)).as_py()
    return column.to_pandas() if own else column.to_pandas(types_mapper=pd.ArrowDtype)


def _broken(lists: pa.ListArray) -> np.ndarray:
    """Count the elements of each list that are missing, NaN or infinite."""
    elements = lists.values  # noqa: PD011  Arrow's, not pandas'
    bad = np.asarray(elements.is_null())
    if pa.types.is_floating(elements.type):
        bad = ~np.isfinite(elements.to_numpy(zero_copy_only=False))
    offsets = np.asarray(lists.offsets)
    before = np.concatenate([[0], np.cumsum(bad, dtype=np.int64)])
    return np.asarray(before[offsets[1:]] - before[offsets[:-1]])


def _run(context: Any, table: str, frame: pd.DataFrame) -> list[Any]:
    outcome = context.checkpoints.get(table).run(batch_parameters={"dataframe": frame})
    return [result for one in outcome.run_results.values() for result in one.results]


def _merge(checks: dict[str, Check], results: list[Any]) -> None:
    """Add what one chunk says to what is known of the whole table."""
    for result in results:
        check = checks[result.expectation_config.id]
        said = result.result
        check.passed &= bool(result.success)
        check.rows += said.get("element_count", 0)
        check.unexpected += said.get("unexpected_count", 0)
        if "observed_value" in said:
            check.observed = _text(said["observed_value"])
        if not said and not result.success:
            check.observed = "could not be checked"
        rows = said.get("partial_unexpected_index_list") or []
        values = said.get("partial_unexpected_list") or []
        found = [(int(row), _text(value)) for row, value in zip(rows, values, strict=False)]
        if check.expectation == "expect_column_values_to_not_be_null":
            found = [(row, "missing") for row, _ in found]
        check.examples = (check.examples + found)[:EXAMPLES]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)[:80]


def _observe(checks: Any, file: pq.ParquetFile) -> None:
    """Show the least and the largest value of bounded columns, from the footer of the file."""
    footer = file.metadata
    place = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
    for check in checks:
        if not check.expectation.endswith("to_be_between") or check.column not in place:
            continue
        groups = (
            footer.row_group(g).column(place[check.column]) for g in range(footer.num_row_groups)
        )
        known = [g.statistics for g in groups if g.statistics and g.statistics.has_min_max]
        if known and isinstance(known[0].min, int | float):
            low, high = min(s.min for s in known), max(s.max for s in known)
            check.observed = f"{low:,.6g} to {high:,.6g}"


def _check_whole(check: Check, expectation: dict[str, Any], path: Path, rows: int) -> None:
    """Answer an expectation about all rows at once, when there were several chunks."""
    kwargs = expectation["kwargs"]
    if check.expectation == "expect_table_row_count_to_be_between":
        check.passed, check.observed = rows >= kwargs["min_value"], str(rows)
        return
    key = kwargs.get("column_list") or [kwargs["column"]]
    check.rows = rows
    check.unexpected, check.examples = _repeated(path, key)
    check.passed = check.unexpected == 0


def _repeated(path: Path, key: list[str]) -> tuple[int, list[tuple[int, str]]]:
    """Count the rows that share their key with another row, and name the first."""
    columns = ", ".join(f'"{name}"' for name in key)
    source = "read_parquet(?, file_row_number = true)"
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'; SET temp_directory = '{spill}'")
        # Hashes first: eight bytes a row instead of its key.  Rows whose hash is alone are alone.
        connection.execute(
            f"CREATE TEMP TABLE same AS SELECT hash({columns}) AS h "
            f"FROM {source} GROUP BY h HAVING count(*) > 1",
            [str(path)],
        )
        found = connection.execute(
            f"SELECT row, shown, count(*) OVER () FROM (SELECT file_row_number + 1 AS row, "
            f"concat_ws(', ', {columns}) AS shown, count(*) OVER (PARTITION BY {columns}) AS n "
            f"FROM {source} WHERE hash({columns}) IN (SELECT h FROM same)) "
            f"WHERE n > 1 ORDER BY row LIMIT {EXAMPLES}",
            [str(path)],
        ).fetchall()
    return (found[0][2] if found else 0), [(row, _text(shown)) for row, shown, _ in found]


def _by_reason(path: Path) -> list[dict[str, Any]]:
    found = duckdb.execute(
        'SELECT "table", reason, count(*) AS n FROM read_parquet(?) GROUP BY ALL ORDER BY ALL',
        [str(path)],
    ).fetchall()
    return [{"table": table, "reason": reason, "rows": rows} for table, reason, rows in found]


def _one_line(summary: Summary, page: Path) -> str:
    """Name the first failed expectation, its rows, and where to read on."""
    failed = [check for check in summary.checks if not check.passed]
    first = failed[0]
    where = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
    text = f"{summary.table}: {first.expectation} failed: {first.rule}"
    if first.unexpected:
        text += f", but not on {first.unexpected:,} of {first.rows:,} rows"
    elif first.observed:
        text += f", found {first.observed}"
    if first.examples:
        text += f" ({'; '.join(f'row {row}: {value}' for row, value in first.examples[:3])})"
    if len(failed) > 1:
        text += f"; {len(failed) - 1} more failed"
    return f"{text}; see {where}"
