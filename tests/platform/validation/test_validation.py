"""A table that breaks a promise is refused, with the expectation and the rows named."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.columns import Table
from tessera.contracts.errors import InvalidTable
from tessera.contracts.tables import EVENTS, EXPOSURES, QUARANTINE, TABLES
from tessera.platform.validation import validation
from tessera.platform.validation.validation import validate, validate_all
from tessera.platform.validation.validation_page import render_page

SUITES = Path(__file__).parents[3] / "great_expectations"
DAY = datetime(2024, 1, 5, tzinfo=UTC)
EVENT = {
    "user_id": "u1",
    "item_id": "i1",
    "action": "buy",
    "event_ts": DAY,
    "time_kind": "exact",
    "amount_eur": 10.0,
    "units": 1.0,
    "channel": None,
    "request_id": None,
}
EXPOSURE = {
    "request_id": "r1",
    "user_id": "u1",
    "item_id": "a",
    "event_ts": DAY,
    "policy_id": "v0",
    "propensity": 0.5,
    "candidate_ids": ["a", "b"],
    "candidate_propensities": [0.5, 0.5],
    "context_version": "1",
}


def events(n: int) -> list[dict]:
    return [{"event_id": f"e{number:05d}"} | EVENT for number in range(n)]


def exposures(n: int) -> list[dict]:
    return [EXPOSURE | {"position": number + 1} for number in range(n)]


def write(rows: list[dict], table: Table, path: Path) -> Path:
    """Write rows that may break the contract: its schema, but nothing is required."""
    loose = pa.schema([pa.field(f.name, f.type) for f in schema(table)])
    pq.write_table(pa.Table.from_pylist(rows, schema=loose), path)
    return path


@pytest.fixture
def check(tmp_path):
    def run(rows: list[dict], table: Table = EVENTS):
        path = write(rows, table, tmp_path / f"{table.name}.parquet")
        return validate(table.name, path, SUITES, tmp_path / "results")

    return run


def test_a_good_table_passes_and_its_result_is_written(check, tmp_path):
    summary = check(events(3))
    assert summary.passed
    assert summary.rows == 3
    written = json.loads((tmp_path / "results/events.json").read_text())
    assert written["passed"]
    assert len(written["checks"]) == len(summary.checks) > 20


@pytest.mark.parametrize("chunk", [1000, 2])
@pytest.mark.parametrize(
    ("row", "broken", "said"),
    [
        (3, {"amount_eur": -5.0}, "amount_eur is at least 0 and finite.*1 of 5 rows .row 4: -5.0"),
        (3, {"amount_eur": float("nan")}, "amount_eur.*finite.*row 4: nan"),
        (0, {"units": float("inf")}, "units.*finite.*row 1: inf"),
        (4, {"action": "gift"}, "action is one of view, .*row 5: gift"),
        (1, {"user_id": None}, "user_id is never missing.*row 2: missing"),
        (2, {"event_ts": None}, "event_ts is never missing.*row 3"),
        (4, {"event_id": "e00000"}, "event_id is unique.*2 of 5.*row 1: e00000; row 5: e00000"),
    ],
)
def test_a_broken_row_is_named_in_one_line(check, monkeypatch, chunk, row, broken, said):
    monkeypatch.setattr(validation, "CHUNK_ROWS", chunk)
    rows = events(5)
    rows[row] |= broken
    with pytest.raises(InvalidTable, match=said) as caught:
        check(rows)
    text = str(caught.value)
    assert text.startswith("events: expect_")
    assert text.endswith("results/index.html")
    assert "\n" not in text


def test_a_key_that_returns_in_a_later_chunk_is_found(check, monkeypatch):
    monkeypatch.setattr(validation, "CHUNK_ROWS", 2)
    rows = exposures(6)
    rows[5]["position"] = 1
    with pytest.raises(
        InvalidTable, match=r"position is unique .* 2 of 6 rows .row 1: r1, 1; row 6"
    ):
        check(rows, EXPOSURES)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"candidate_ids": [], "candidate_propensities": []}, "length of candidate_ids is at lea"),
        ({"candidate_ids": ["a", None]}, "missing, NaN or infinite elements of candidate_ids"),
        ({"candidate_propensities": [0.5, float("nan")]}, "elements of candidate_propensities"),
        ({"candidate_ids": ["a"]}, "length of candidate_ids equals length of candidate_prop"),
        ({"propensity": 0.0}, "propensity is above 0 and at most 1"),
        ({"propensity": 1.5}, "propensity is above 0 and at most 1"),
        ({"position": 0}, "position is at least 1"),
    ],
)
def test_lists_and_bounds_of_exposures_are_checked(check, broken, said):
    rows = exposures(4)
    rows[2] |= broken
    with pytest.raises(InvalidTable, match=f"{said}.*row 3"):
        check(rows, EXPOSURES)


def test_broken_elements_are_counted_in_a_slice_of_lists():
    lists = pa.array([[1.0], [float("nan"), None], [], None, [2.0, float("inf")]])
    assert validation._broken(lists).tolist() == [0, 2, 0, 0, 1]
    assert validation._broken(lists[1:]).tolist() == [2, 0, 0, 1]


def test_a_missing_column_is_the_first_thing_said(check, tmp_path):
    path = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist([{"event_id": "e1"} | EVENT]).drop(["action"]), path)
    with pytest.raises(InvalidTable, match="columns are event_id, user_id, item_id, action"):
        validate("events", path, SUITES, tmp_path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("amount_eur", pa.array(["ten"])),
        ("event_ts", pa.array([DAY.replace(tzinfo=None)], pa.timestamp("us"))),
        ("item_id", pa.array([7])),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path, column, values):
    rows = pa.Table.from_pylist(events(1), schema=schema(EVENTS))
    rows = rows.set_column(rows.column_names.index(column), column, values)
    pq.write_table(rows, tmp_path / "events.parquet")
    with pytest.raises(InvalidTable, match=f"{column} is of type"):
        validate("events", tmp_path / "events.parquet", SUITES, tmp_path)


def test_a_truncated_file_is_refused(check, tmp_path):
    path = write(events(50), EVENTS, tmp_path / "events.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidTable, match="not whole Parquet.*run its stage again"):
        validate("events", path, SUITES, tmp_path)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_no_rows_are_fine_unless_the_contract_wants_some(table, tmp_path):
    path = tmp_path / "empty.parquet"
    write_table(schema(table).empty_table(), table, path)
    if table.min_rows == 0:
        assert validate(table.name, path, SUITES, tmp_path).rows == 0
    else:
        with pytest.raises(InvalidTable, match="there are at least 1 rows, found 0"):
            validate(table.name, path, SUITES, tmp_path)


def test_missing_integers_do_not_count_as_floats(check):
    rows = [
        {"item_id": f"i{n}", "name": "x"} | {"risk_class": risk} for n, risk in enumerate([1, None])
    ]
    assert check(rows, TABLES["items"]).passed


def test_validation_writes_nothing_into_the_suites(check):
    def fingerprint() -> str:
        digest = hashlib.sha256()
        for path in sorted(p for p in SUITES.rglob("*") if p.is_file()):
            digest.update(path.as_posix().encode() + path.read_bytes())
        return digest.hexdigest()

    before = fingerprint()
    check(events(2))
    assert fingerprint() == before


def test_every_table_is_checked_before_the_first_error_is_raised(tmp_path):
    paths = {
        "events": write(events(1) * 2, EVENTS, tmp_path / "a.parquet"),
        "exposures": write(exposures(2), EXPOSURES, tmp_path / "b.parquet"),
    }
    with pytest.raises(InvalidTable, match="^events: "):
        validate_all(paths, SUITES, tmp_path / "results")
    assert json.loads((tmp_path / "results/exposures.json").read_text())["passed"]


def test_the_page_shows_failures_and_quarantine_and_needs_no_network(check, tmp_path):
    rows = events(3)
    rows[1]["amount_eur"] = -1.0
    rows[2]["channel"] = "<script>"
    with pytest.raises(InvalidTable):
        check(rows)
    reasons = ["amount is negative"] * 2 + ["item is unknown"]
    check(
        [
            {"table": "events", "source_file": "x.csv", "source_row": n + 1, "reason": reason}
            for n, reason in enumerate(reasons)
        ],
        QUARANTINE,
    )
    page = (tmp_path / "results/index.html").read_text()
    assert "1 of 2 tables failed: events" in page
    assert "row 2: <code>-1.0</code>" in page
    assert "item is unknown" in page
    assert "http" not in page


def test_values_are_escaped_on_the_page(check, tmp_path):
    rows = events(1)
    rows[0]["action"] = "<img src=x>"
    with pytest.raises(InvalidTable):
        check(rows)
    page = (tmp_path / "results/index.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_a_page_of_no_results_says_so(tmp_path):
    render_page(tmp_path, tmp_path / "page.html")
    assert "Nothing has been validated yet" in (tmp_path / "page.html").read_text()


def test_telemetry_is_off():
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_row_numbers_run_on_across_chunks(check, monkeypatch, rng):
    monkeypatch.setattr(validation, "CHUNK_ROWS", 7)
    rows = events(40)
    broken = np.sort(rng.choice(40, 3, replace=False))
    for row in broken:
        rows[row]["amount_eur"] = -float(row)
    rows[broken[0]]["amount_eur"] = -0.5
    named = "; ".join(f"row {row + 1}: {rows[row]['amount_eur']}" for row in broken)
    with pytest.raises(InvalidTable) as caught:
        check(rows)
    assert named in str(caught.value)
