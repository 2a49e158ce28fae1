"""Faults of the engine reach people as one line, faults of the device as themselves."""

from __future__ import annotations

import errno

import duckdb
import ibis
import pytest

from tessera.contracts.errors import BadInput, BadParams
from tessera.stages.ingest.engine import for_people, open_engine
from tessera.stages.ingest.params import IngestParams

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


def test_a_full_device_is_an_os_error_that_the_runner_knows():
    error = for_people(duckdb.IOException('Could not write: No space left on device\n"x"'))
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC


def test_too_little_memory_names_the_parameter():
    error = for_people(duckdb.OutOfMemoryException("could not allocate\nblock"))
    assert isinstance(error, BadParams)
    assert "ingest.memory_limit" in str(error)
    assert "\n" not in str(error)


def test_an_unreadable_file_is_bad_input():
    assert isinstance(for_people(duckdb.InvalidInputException("no magic bytes")), BadInput)


def test_our_own_wrong_sql_is_not_blamed_on_the_files(tmp_path):
    with pytest.raises(duckdb.CatalogException), open_engine(IngestParams(), tmp_path) as engine:
        engine.batches(ibis.table({"x": "int64"}, name="nowhere"))


def test_a_result_is_streamed_in_its_order_and_kept_once(tmp_path):
    with open_engine(IngestParams(), tmp_path) as engine:
        numbers = ibis.range(1_000).unnest().name("x").as_table()
        kept, rows = engine.keep(numbers, "numbers")
        assert rows == 1_000
        with engine.batches(kept.order_by(kept.x.desc())) as batches:
            assert batches.read_all()["x"].to_pylist() == list(range(999, -1, -1))
