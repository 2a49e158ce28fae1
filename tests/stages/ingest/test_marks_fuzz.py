"""Whatever marks a number or a time is written with, it is read back or not at all."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.contracts.tables import TABLES
from tessera.stages.ingest import clocks, lists, moments, numbers
from tessera.stages.ingest.columns import ColumnMapping
from tessera.stages.ingest.kinds import NumberReader, TimeReader
from tessera.stages.ingest.numbers import CANDIDATES, Marks

EXAMPLES = int(os.environ.get("TESSERA_FUZZ", "200"))

WHOLE = st.integers(-(10**9), 10**9)
CENTS = st.integers(0, 99)
SECONDS = st.integers(0, 130 * 365 * 86_400 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def grouped(whole: int, *, indian: bool) -> str:
    """Put commas between thousands, or before the last three digits and then every two."""
    if not indian:
        return f"{whole:,}"
    return re.sub(r"(?<=\d)(?=(\d\d)*\d{3}$)", ",", str(whole))


def written(whole: int, cents: int, marks: Marks, *, indian: bool = False) -> str:
    text = grouped(whole, indian=indian) if marks.thousands else str(whole)
    return text.replace(",", marks.thousands or "") + f"{marks.decimal}{cents:02d}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(WHOLE, CENTS, st.sampled_from(CANDIDATES), st.sampled_from(CANDIDATES), st.booleans())
def test_a_number_is_read_in_its_marks_and_never_as_another(whole, cents, marks, others, indian):
    text = written(whole, cents, marks, indian=indian)
    value = float(f"{whole}.{cents:02d}")
    (read,) = numbers.read(pa.array([text]), marks).to_pylist()
    assert float(read) == value
    (other,) = numbers.read(pa.array([text]), others).to_pylist()
    assert other is None or float(other) == value


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.tuples(WHOLE, CENTS), min_size=1, max_size=20),
    st.sampled_from(CANDIDATES[1:]),
    st.booleans(),
)
def test_a_column_in_other_marks_is_in_doubt(rows, marks, indian):
    text = pa.array([written(whole, cents, marks, indian=indian) for whole, cents in rows])
    evidence = numbers.Evidence()
    evidence.see(text)
    plain = all(float(value or "nan") == float(f"{whole}.{cents:02d}") for value, (whole, cents) in
                zip(numbers.read(text, Marks()).to_pylist(), rows, strict=True))  # fmt: skip
    assert plain or evidence.doubt() is not None


BESIDE = {
    "{}": {},
    "CHF {}": {"currency": "CHF"},
    "{}\u00a0CHF": {"currency": "CHF"},
    "${}": {"currency": ["USD", "$"]},
    "{}%": {"percent": True},
    "{} %": {"percent": True},
}


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    WHOLE, CENTS, st.sampled_from(CANDIDATES), st.sampled_from([*BESIDE]),
    st.sampled_from([*BESIDE]), st.booleans(),
)  # fmt: skip
def test_what_stands_beside_a_number_is_taken_away_if_said_and_told_if_not(
    whole, cents, marks, form, other, indian
):
    text = form.format(written(whole, cents, marks, indian=indian))
    value = float(f"{whole}.{cents:02d}" + "e-2" * ("%" in form))
    read, fault = one_number(text, marks, BESIDE[form])
    assert (fault, float(read)) == (None, value)
    read, fault = one_number(text, marks, BESIDE[other])
    if BESIDE[form] == BESIDE[other]:
        assert float(read) == value
    elif form == "{}" and "percent" not in BESIDE[other]:
        assert (fault, float(read)) == (None, value)
    else:
        assert "`percent`" in fault or "`currency`" in fault


def one_number(text: str, marks: Marks, how: dict) -> tuple[str | None, str | None]:
    said = {"from": "x", "decimal": marks.decimal, "thousands": marks.thousands} | how
    units = next(column for column in TABLES["events"].columns if column.name == "units")
    read = NumberReader("f", "p", units, ColumnMapping(**said)).read(pa.array([text]))
    return read.value[0].as_py(), read.fault[0].as_py()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    SECONDS, st.integers(0, 999_999), st.sampled_from(" T"), st.sampled_from(["", "Z", "+02:00"])
)
def test_a_comma_before_parts_of_a_second_is_a_dot(seconds, micros, between, zone):
    moment = EPOCH + timedelta(seconds=seconds, microseconds=micros)
    text = moment.strftime(f"%Y-%m-%d{between}%H:%M:%S,%f") + zone
    column = next(column for column in TABLES["events"].columns if column.name == "event_ts")
    for how in ({}, {"zone": "Etc/GMT-5"}):
        one = TimeReader("f", "p", column, ColumnMapping(**{"from": "x"} | how))
        read, dotted = one.read(pa.array([text])), one.read(pa.array([text.replace(",", ".")]))
        one.finish()
        assert read.fault[0].as_py() is None
        assert read.value == dotted.value
        assert moments.is_iso(text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SECONDS, st.sampled_from(["s", "ms", "us", "ns"]))
def test_a_count_from_1970_is_read_by_its_unit(seconds, unit):
    text = str(seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit])
    assert moments.reader(None, unit, None)(text) == (EPOCH + timedelta(seconds=seconds), None)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    SECONDS, st.sampled_from(["Europe/Rome", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
)
def test_a_clock_is_placed_or_its_hour_is_named(seconds, name):
    moment = EPOCH + timedelta(seconds=seconds)
    clock = moment.astimezone(ZoneInfo(name)).replace(tzinfo=None)
    read, fault = moments.placed(clock, ZoneInfo(name))
    assert read == moment or (read is None and "shows twice" in str(fault))


ZONES = (None, "Europe/Rome")
FORMS = ("%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%Y%m%d%H%M%S", "%Y-%m-%d")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(SECONDS, min_size=1), st.sampled_from(FORMS), st.sampled_from(ZONES))
def test_what_is_read_at_once_is_what_is_read_one_by_one(seconds, form, zone):
    text = [(EPOCH + timedelta(seconds=one)).strftime(form) for one in seconds]
    read = moments.reader((form,), None, zone)
    at_once = clocks.read(pa.array(text), (form,), None, zone).to_pylist()
    for fast, one in zip(at_once, text, strict=True):
        assert fast is None or (fast, None) == read(one)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["json", "python", "|", ",", " "]))
def test_no_text_breaks_the_reader_of_lists(text, how):
    for marks in (None, Marks()):
        values, fault = lists.reader(how, lambda one: one.strip() or None, marks)(text)
        assert (values is None) is (fault is not None)
