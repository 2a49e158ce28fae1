"""Any type that a tool writes into Parquet is read right or refused in one line."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.engine import open_engine
from tessera.stages.ingest.table import drafts

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def read(tmp_path, loose):
    """One column of Parquet files, as the column of a table of events that it is mapped to."""

    def go(ours: str, *parts: pa.Array, table: str = "events") -> list:
        for number, array in enumerate(parts):
            pq.write_table(pa.table({"x": array}), tmp_path / f"part-{number}.parquet")
        mapped = {"file": "part-*.parquet", "columns": {ours: "x"}}
        params = loose({table: mapped})
        with open_engine(params, tmp_path) as engine:
            rows = drafts(tmp_path, engine, params)[table].rows
            with engine.batches(rows.order_by(["source_file", "source_row"])) as batches:
                return batches.read_all()[ours].to_pylist()

    return go


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["17850", None]),
        pa.array(["17850", None], pa.large_string()),
        pa.array(["17850", None], pa.string_view()),
        pa.array(["17850", None]).dictionary_encode(),
        pa.array([b"17850", None]),
        pa.array([b"17850", None], pa.large_binary()),
        pa.array([b"17850", None], pa.binary(5)),
        pa.array([17850, None], pa.int16()),
        pa.array([17850, None], pa.uint64()),
        pa.array([17850.0, None]),
        pa.array([17850.0, float("nan")]),
        pa.array([17850, None], pa.float32()),
        pa.array([17850.0, None]).dictionary_encode(),
        pa.array([Decimal("17850"), None], pa.decimal128(9, 0)),
        pa.array([Decimal("17850.00"), None], pa.decimal128(9, 2)),
        pa.array([Decimal("17850.00"), None], pa.decimal256(50, 2)),
    ],
    ids=lambda array: str(array.type),
)
def test_an_id_is_text_without_a_point(read, array):
    assert read("user_id", array) == ["17850", None]


def test_large_whole_ids_keep_every_digit(read):
    assert read("user_id", pa.array([2**64 - 1], pa.uint64())) == [str(2**64 - 1)]
    assert read("user_id", pa.array([2**53 + 1])) == [str(2**53 + 1)]


def test_ids_of_bytes_are_utf8(read):
    assert read("user_id", pa.array(["Zoë".encode()])) == ["Zoë"]


def test_a_uuid_is_written_as_people_write_it(read):
    name = uuid.UUID(int=7)
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([name.bytes, None], pa.binary(16)))
    assert read("user_id", array) == [str(name), None]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (pa.array([1.0, 2.5]), r"row 2: column x holds 2\.5: should hold ids"),
        (pa.array([2.0**60]), "row 1: column x holds"),
        (pa.array([Decimal("1.5")]), r"row 1: column x holds 1\.5: should hold ids"),
        (pa.array([b"ok", b"\xff"]), r"row 2: column x holds b'\\xff': its bytes are not UTF-8"),
        (pa.array([True]), "holds bool, should hold ids"),
        (pa.array([{"a": 1}]), "holds struct<.*>, should hold ids"),
        (pa.array([date(2024, 1, 1)]), "holds date32.*, should hold ids"),
        (pa.array([MOMENT]), "holds timestamp.*, should hold ids"),
    ],
    ids=str,
)
def test_what_is_no_id_is_refused_with_row_and_value(read, array, told):
    with pytest.raises(BadInput, match=f"part-0.parquet.*{told}"):
        read("user_id", array)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Rome", "+05:30"])
def test_a_moment_of_any_unit_and_zone(read, unit, zone):
    given = MOMENT if zone else MOMENT.replace(tzinfo=None)
    (found, none) = read("event_ts", pa.array([given, None], pa.timestamp(unit, zone)))
    assert (found.astimezone(UTC) if zone else found.replace(tzinfo=UTC)) == MOMENT
    assert none is None


def test_dates_are_moments_and_absurd_ones_stay_moments(read):
    assert read("event_ts", pa.array([date(2024, 1, 2)])) == [datetime(2024, 1, 2)]
    ms = pa.array([date(1960, 1, 2)], pa.date64())
    assert read("event_ts", ms) == [datetime(1960, 1, 2)]
    (absurd,) = read("event_ts", pa.array([2**55], pa.timestamp("ms")))
    assert absurd.year == 9999


def test_nanoseconds_are_rounded_the_same_before_1970(read):
    ticks = pa.array([-1_500, -1_000, 1_499, 1_500], pa.timestamp("ns"))
    micros = [moment.microsecond for moment in read("event_ts", ticks)]
    assert micros == [999_999, 999_999, 1, 2]


def test_a_time_of_day_is_no_moment(read):
    with pytest.raises(BadInput, match="column x holds time64"):
        read("event_ts", pa.array([time(1, 2)]))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([3, None], pa.int8()),
        pa.array([3.0, None]),
        pa.array([3.0, float("nan")]),
        pa.array([Decimal("3.0"), None]),
        pa.array([3, None], pa.uint64()),
    ],
    ids=lambda array: str(array.type),
)
def test_whole_numbers_may_come_as_floats(read, array):
    assert read("risk_class", array, table="users") == [3, None]


@pytest.mark.parametrize("array", [pa.array([2.5]), pa.array([2**63], pa.uint64())], ids=str)
def test_what_is_no_whole_number_is_refused(read, array):
    with pytest.raises(BadInput, match="row 1: column x holds .*: should hold whole numbers"):
        read("risk_class", array, table="users")


def test_amounts_of_any_number(read):
    assert read("amount_eur", pa.array([Decimal("1.25")])) == [1.25]
    assert read("amount_eur", pa.array([1], pa.uint8()), pa.array([0.5])) == [1.0, 0.5]


def test_text_that_is_no_id_may_be_anything_flat(read):
    assert read("channel", pa.array([True, None])) == ["true", None]
    assert read("channel", pa.array([1.0, 2.5])) == ["1", "2.5"]
    assert read("channel", pa.array([date(2024, 1, 2)])) == ["2024-01-02"]
    assert read("channel", pa.nulls(2)) == [None, None]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int32()),
        pa.list_(pa.string()),
    ],
    ids=str,
)
def test_lists_of_ids(read, kind):
    values = [["1", "2"], None] if pa.types.is_string(kind.value_type) else [[1, 2], None]
    given = pa.array(values, kind)
    assert read("candidate_ids", given, table="exposures") == [["1", "2"], None]


def test_lists_of_numbers(read):
    pair = pa.array([[0.5, 0.5]], pa.list_(pa.float64(), 2))
    assert read("candidate_propensities", pair, table="exposures") == [[0.5, 0.5]]
    given = pa.array([[0.5, 0.5], []], pa.large_list(pa.float32()))
    found = read("candidate_propensities", given, pa.array([[], None]), table="exposures")
    assert found == [[0.5, 0.5], [], [], None]


def test_parts_that_hold_nothing_fit_and_parts_of_another_kind_do_not(read):
    assert read("channel", pa.nulls(1), pa.array(["a"])) == [None, "a"]
    told = "part-1.parquet: column x holds string, but timestamp.* in the files before it"
    with pytest.raises(BadInput, match=told):
        read("event_ts", pa.array([MOMENT]), pa.array(["2024"]))


def test_parquet_by_another_name_is_parquet(tmp_path, loose):
    pq.write_table(pa.table({"x": ["a"]}), tmp_path / "orders")
    mapped = {"file": "orders", "columns": {"user_id": "x"}}
    params = loose({"events": mapped})
    with open_engine(params, tmp_path) as engine:
        draft = drafts(tmp_path, engine, params)["events"]
        assert draft.rows.user_id.to_pyarrow().to_pylist() == ["a"]
        assert draft.counts.records == 1


def test_a_damaged_part_is_named(tmp_path, read, loose):
    read("channel", pa.array(["a" * 50] * 100))
    path = tmp_path / "part-0.parquet"
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(bytes(data))
    mapped = {"file": "part-0.parquet", "columns": {"channel": "x"}}
    params = loose({"events": mapped})
    with (
        pytest.raises(BadInput, match=r"part-0\.parquet .*fetch it again"),
        open_engine(params, tmp_path) as engine,
    ):
        drafts(tmp_path, engine, params)
