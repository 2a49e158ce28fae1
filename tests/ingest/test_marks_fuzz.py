"""Whatever marks a number or a time is written with, it is read back or not at all."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.ingest import clocks, lists, moments, numbers
from tessera.ingest.numbers import CANDIDATES, Marks

EXAMPLES = int(os.environ.get("TESSERA_FUZZ", "200"))

WHOLE = st.integers(-(10**9), 10**9)
CENTS = st.integers(0, 99)
SECONDS = st.integers(0, 130 * 365 * 86_400 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written(whole: int, cents: int, marks: Marks) -> str:
    text = f"{whole:,}" if marks.thousands else str(whole)
    return text.replace(",", marks.thousands or "") + f"{marks.decimal}{cents:02d}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(WHOLE, CENTS, st.sampled_from(CANDIDATES), st.sampled_from(CANDIDATES))
def test_a_number_is_read_in_its_marks_and_never_as_another(whole, cents, marks, others):
    text = written(whole, cents, marks)
    value = float(f"{whole}.{cents:02d}")
    (read,) = numbers.read(pa.array([text]), marks).to_pylist()
    assert float(read) == value
    (other,) = numbers.read(pa.array([text]), others).to_pylist()
    assert other is None or float(other) == value


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(WHOLE, CENTS), min_size=1, max_size=20), st.sampled_from(CANDIDATES[1:]))
def test_a_column_in_other_marks_is_in_doubt(rows, marks):
    text = pa.array([written(whole, cents, marks) for whole, cents in rows])
    evidence = numbers.Evidence()
    evidence.see(text)
    plain = all(float(value or "nan") == float(f"{whole}.{cents:02d}") for value, (whole, cents) in
                zip(numbers.read(text, Marks()).to_pylist(), rows, strict=True))  # fmt: skip
    assert plain or evidence.doubt() is not None


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
