"""Rules come from the contract alone and judge every row, on every way into the engine."""

from __future__ import annotations

import math

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.columns import Column, Table
from tessera.contracts.rules import TEXT, first_broken, parsed, rules
from tessera.contracts.tables import EVENTS, TABLES

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


@pytest.fixture
def engine():
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    yield connection
    connection.disconnect()


def judge(engine, tmp_path, column: Column, values: list, text: list | None = None) -> list:
    """Reasons for a table of one column, read from a Parquet file as ingest does."""
    data = {column.name: values} | ({TEXT + column.name: text} if text else {})
    pq.write_table(pa.table(data), tmp_path / "rows.parquet")
    rows = engine.read_parquet(tmp_path / "rows.parquet")
    table = Table("t", "", (column,))
    broken = rows.mutate(reason=first_broken(rules(table), rows))
    good = broken.filter(broken.reason.isnull()).to_pyarrow()
    bad = broken.filter(broken.reason.notnull()).to_pyarrow()
    reasons = broken.reason.to_pyarrow().to_pylist()
    assert (len(good), len(bad)) == (reasons.count(None), len(reasons) - reasons.count(None))
    return reasons


def test_every_column_rule_of_every_table_is_named():
    for table in TABLES.values():
        found = {(rule.column, rule.kind) for rule in rules(table)}
        for column in table.columns:
            assert ((column.name, "not_null") in found) is not column.nullable
            assert ((column.name, "allowed") in found) is (column.allowed is not None)
            assert ((column.name, "floor") in found) is (column.floor is not None)
            assert ((column.name, "ceiling") in found) is (column.ceiling is not None)
            assert ((column.name, "positive") in found) is column.positive
            assert ((column.name, "finite") in found) is (column.dtype == "float64")
            assert ((column.name, "time") in found) is (column.dtype == "timestamp")


def test_reasons_name_the_column_and_the_bound():
    reasons = {rule.reason for rule in rules(EVENTS)}
    assert "amount_eur: below 0" in reasons
    assert "time_kind: not one of exact, ordinal, snapshot" in reasons


@pytest.mark.parametrize("others", [[1.0, 2.0], [2.0, 2.0], [1.0, None]])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_found_whatever_the_file_statistics_say(
    engine, tmp_path, others, wrong
):
    reasons = judge(
        engine, tmp_path, Column("x", "float64", "", nullable=True, floor=0.0), [*others, wrong]
    )
    assert reasons == [None, None, "x: NaN or infinite"]


def test_bounds_are_inclusive_and_positive_excludes_zero(engine, tmp_path):
    column = Column("x", "float64", "", floor=0.0, ceiling=1.0)
    assert judge(engine, tmp_path, column, [0.0, 1.0, -0.1, 1.1]) == [
        None,
        None,
        "x: below 0",
        "x: above 1",
    ]
    positive = Column("x", "float64", "", positive=True)
    assert judge(engine, tmp_path, positive, [0.0, 0.1]) == ["x: not above 0", None]


def test_null_breaks_no_rule_but_not_null(engine, tmp_path):
    loose = Column("x", "float64", "", nullable=True, floor=0.0, ceiling=1.0, positive=True)
    assert judge(engine, tmp_path, loose, [None, 1.0]) == [None, None]
    strict = Column("x", "float64", "", floor=0.0)
    assert judge(engine, tmp_path, strict, [None, 1.0]) == ["x: missing", None]


def test_text_that_was_no_number_is_called_so_rather_than_missing(engine, tmp_path):
    column = Column("x", "int64", "")
    reasons = judge(engine, tmp_path, column, [None, 1, None], ["one", "1", None])
    assert reasons == ["x: not a whole number", None, "x: missing"]


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("int64", ["1", "-2", "+3", " 4 "], ["1.5", "1e3", "", "x", "99999999999999999999", "1_0"]),
        ("float64", ["1", "-2.5", ".5", "1e-3", "nan", "inf"], ["1,5", "", "ten", "1.2.3", "0x1"]),
        ("bool", ["true", "False"], ["yes", "1"]),
        (
            "timestamp",
            [
                "2021-02-28",
                "2021-02-28 10:00",
                "2021-02-28T10:00:00.123Z",
                "2021-02-28T10:00:00+02:00",
            ],
            ["2021-02-30", "2021-13-01", "28.02.2021", "20210228", "epoch", "infinity", "2021-02"],
        ),
    ],
)
def test_text_is_read_only_if_it_is_exactly_of_its_type(engine, dtype, good, bad):
    rows = ibis.memtable({"text": good + bad})
    values = engine.to_pyarrow(rows.select(value=parsed(rows.text, dtype)))["value"].to_pylist()
    assert all(value is not None for value in values[: len(good)])
    assert values[len(good) :] == [None] * len(bad)
