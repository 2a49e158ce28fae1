"""Great Expectations suites, rendered from the contracts, so that no column is described twice.

The folder is a complete Great Expectations project of data alone: configuration, one suite, one
validation definition and one checkpoint a table.  Great Expectations itself is not needed here.

Great Expectations cannot look into a list.  A table with list columns is therefore shown to its
suite with two more columns a list: `<name>.length` (elements) and `<name>.broken` (elements that
are missing, NaN or infinite).
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import yaml

from tessera.contracts.columns import Column, Dtype, Table
from tessera.contracts.tables import TABLES

DATASOURCE = "tables"
BATCH = "rows"
EXAMPLES = 5
"""Failing rows named for each expectation."""
TABLE_SCOPE = "table"
"""Expectations about all rows at once, which chunks cannot answer one by one."""

_LISTS: tuple[Dtype, ...] = ("strings", "floats", "ints")
_TYPES: dict[Dtype, str] = {
    "string": "str",
    "int64": "int",
    "float64": "float",
    "bool": "bool",
    "timestamp": "Timestamp",
    "strings": "list",
    "floats": "list",
    "ints": "list",
}
_PARALLEL = {
    "exposures": (("candidate_ids", "candidate_propensities"),),
    "scores": (("candidate_ids", "candidate_scores"), ("candidate_ids", "champion_scores")),
}
"""Lists of one row that must be equally long."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "tessera.great-expectations")


def list_columns(table: Table) -> list[str]:
    """Names of the columns that hold lists."""
    return [column.name for column in table.columns if column.dtype in _LISTS]


def shown_columns(table: Table) -> list[str]:
    """Columns that the suite sees: those of the table, then two for each list."""
    extra = [f"{name}.{what}" for name in list_columns(table) for what in ("length", "broken")]
    return table.names + extra


def expectations(table: Table) -> list[dict[str, Any]]:
    """Everything the contract promises about a table, as Great Expectations configurations."""
    found = [
        _expect("expect_table_columns_to_match_ordered_list", column_list=shown_columns(table)),
        _about_table("expect_table_row_count_to_be_between", min_value=table.min_rows),
    ]
    for column in table.columns:
        found += _about_column(column)
    for left, right in _PARALLEL.get(table.name, ()):
        found.append(
            _expect(
                "expect_column_pair_values_to_be_equal",
                column_A=f"{left}.length",
                column_B=f"{right}.length",
                ignore_row_if="either_value_is_missing",
            )
        )
    if len(table.key) == 1:
        found.append(_about_table("expect_column_values_to_be_unique", column=table.key[0]))
    elif table.key:
        found.append(
            _about_table("expect_compound_columns_to_be_unique", column_list=list(table.key))
        )
    for number, expectation in enumerate(found):
        expectation["id"] = _id("expectation", table.name, str(number))
    return found


def _about_column(column: Column) -> list[dict[str, Any]]:
    name = column.name
    found = [_expect("expect_column_values_to_be_of_type", column=name, type_=_TYPES[column.dtype])]
    if not column.nullable:
        found.append(_expect("expect_column_values_to_not_be_null", column=name))
    if column.allowed is not None:
        found.append(
            _expect(
                "expect_column_values_to_be_in_set", column=name, value_set=list(column.allowed)
            )
        )
    if (bounds := _bounds(column)) is not None:
        found.append(_expect("expect_column_values_to_be_between", column=name, **bounds))
    if column.dtype in _LISTS:
        found.append(
            _expect("expect_column_values_to_be_between", column=f"{name}.length", min_value=1)
        )
        found.append(
            _expect("expect_column_values_to_be_between", column=f"{name}.broken", max_value=0)
        )
    return found


def _bounds(column: Column) -> dict[str, Any] | None:
    """Bounds of the contract; a float without one is still bounded, so that inf and NaN fail."""
    if column.dtype not in ("int64", "float64"):
        return None
    low = 0.0 if column.positive and not column.floor else column.floor
    high = column.ceiling
    if column.dtype == "float64":
        largest = sys.float_info.max
        low, high = (-largest if low is None else low), (largest if high is None else high)
    bounds: dict[str, Any] = {"min_value": low, "max_value": high}
    bounds = {key: value for key, value in bounds.items() if value is not None}
    if column.positive and low == 0:
        bounds["strict_min"] = True
    return bounds or None


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}, "severity": "critical"}


def _about_table(kind: str, **kwargs: Any) -> dict[str, Any]:
    return _expect(kind, **kwargs) | {"meta": {"scope": TABLE_SCOPE}}


def rendered() -> dict[str, str]:
    """Text of every file of the project, by path inside its folder."""
    files = {"great_expectations.yml": _configuration()}
    for table in TABLES.values():
        name = table.name
        files[f"expectations/{name}.json"] = _json(
            {
                "name": name,
                "id": _id("suite", name),
                "expectations": expectations(table),
                "meta": {"great_expectations_version": "1.24.1"},
                "notes": table.doc,
            }
        )
        files[f"validation_definitions/{name}.json"] = _json(
            {
                "name": name,
                "id": _id("validation", name),
                "data": {
                    "datasource": {"name": DATASOURCE, "id": _id("datasource")},
                    "asset": {"name": name, "id": _id("asset", name)},
                    "batch_definition": {"name": BATCH, "id": _id("batch", name)},
                },
                "suite": {"name": name, "id": _id("suite", name)},
            }
        )
        files[f"checkpoints/{name}.json"] = _json(
            {
                "name": name,
                "id": _id("checkpoint", name),
                "validation_definitions": [{"name": name, "id": _id("validation", name)}],
                "actions": [],
                "result_format": {
                    "result_format": "SUMMARY",
                    "partial_unexpected_count": EXAMPLES,
                },
            }
        )
    return files


def _configuration() -> str:
    """Configure stores that read the committed files and write nothing; no docs, no telemetry."""

    def store(kind: str, folder: str | None) -> dict[str, Any]:
        backend: dict[str, Any] = {"class_name": "InMemoryStoreBackend"}
        if folder:
            backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder}
        return {
            "class_name": kind,
            "store_backend": backend | {"suppress_store_backend_id": True},
        }

    assets = {
        name: {
            "type": "dataframe",
            "id": _id("asset", name),
            "batch_metadata": {},
            "batch_definitions": {BATCH: {"id": _id("batch", name), "partitioner": None}},
        }
        for name in TABLES
    }
    configuration = {
        "config_version": 4.0,
        "stores": {
            "expectations_store": store("ExpectationsStore", "expectations/"),
            "validation_results_store": store("ValidationResultsStore", None),
            "checkpoint_store": store("CheckpointStore", "checkpoints/"),
            "validation_definition_store": store(
                "ValidationDefinitionStore", "validation_definitions/"
            ),
        },
        "expectations_store_name": "expectations_store",
        "validation_results_store_name": "validation_results_store",
        "checkpoint_store_name": "checkpoint_store",
        "data_docs_sites": {},
        "fluent_datasources": {
            DATASOURCE: {"type": "pandas", "id": _id("datasource"), "assets": assets}
        },
        "progress_bars": {"globally": False, "metric_calculations": False},
        "analytics_enabled": False,
        "data_context_id": _id("context"),
    }
    head = "# Rendered from src/tessera/contracts/tables.py by `make render`; edit it there.\n"
    return head + yaml.safe_dump(configuration, sort_keys=False)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _id(*parts: str) -> str:
    """Return the same id at every rendering."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def render_suites(folder: Path) -> None:
    """Write the project into `folder`; suites of tables that are no more are removed."""
    texts = rendered()
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for stale in _strays(folder, texts):
        stale.unlink()


def suites_up_to_date(folder: Path) -> list[str]:
    """Return what differs between `folder` and the contracts; nothing if it is up to date."""
    texts = rendered()
    wrong = []
    for name, text in texts.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.read_text() != text:
            wrong.append(f"{name} is out of date")
    wrong += [f"{p.relative_to(folder).as_posix()} has no table" for p in _strays(folder, texts)]
    return wrong


def _strays(folder: Path, texts: dict[str, str]) -> list[Path]:
    kinds = ("expectations", "validation_definitions", "checkpoints")
    there = [path for kind in kinds for path in sorted((folder / kind).glob("*.json"))]
    return [path for path in there if path.relative_to(folder).as_posix() not in texts]
