"""What was checked, in words and on one offline page that also prints well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tessera.contracts.pages import templates
from tessera.contracts.tables import TABLES
from tessera.platform.workspace import files

PAGE = "index.html"


def sentence(expectation: str, kwargs: dict[str, Any]) -> str:
    """Say in plain words what an expectation demands."""
    return _SENTENCES[expectation](kwargs)


def _said(column: str) -> str:
    """Name a column that only the suite sees in words."""
    name, _, what = column.partition(".")
    return {
        "": name,
        "length": f"length of {name}",
        "broken": f"number of missing, NaN or infinite elements of {name}",
    }[what]


def _range(kwargs: dict[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    largest = sys.float_info.max
    parts = []
    if low is not None and low > -largest:
        parts.append(f"{'above' if kwargs.get('strict_min') else 'at least'} {low:g}")
    if high is not None and high < largest:
        parts.append(f"at most {high:g}")
    if high == largest or low == -largest:
        parts.append("finite")
    return " and ".join(parts)


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "expect_table_columns_to_match_ordered_list": lambda said: (
        f"columns are {', '.join(said['column_list'])}, in this order"
    ),
    "expect_table_row_count_to_be_between": lambda said: (
        f"there are at least {said['min_value']} rows"
    ),
    "expect_column_values_to_be_of_type": lambda said: (
        f"{said['column']} is of type {said['type_']}"
    ),
    "expect_column_values_to_not_be_null": lambda said: f"{said['column']} is never missing",
    "expect_column_values_to_be_in_set": lambda said: (
        f"{said['column']} is one of {', '.join(said['value_set'])}"
    ),
    "expect_column_values_to_be_between": lambda said: f"{_said(said['column'])} is {_range(said)}",
    "expect_column_pair_values_to_be_equal": lambda said: (
        f"{_said(said['column_A'])} equals {_said(said['column_B'])}"
    ),
    "expect_column_values_to_be_unique": lambda said: f"{said['column']} is unique in the table",
    "expect_compound_columns_to_be_unique": lambda said: (
        f"{' + '.join(said['column_list'])} is unique in the table"
    ),
}


def _observed(check: dict[str, Any]) -> str:
    """Say what was found, unless it is word for word what was asked for."""
    said = str(check["observed"])
    if check["passed"] and check["expectation"] == "expect_table_columns_to_match_ordered_list":
        return "the same"
    return f"{int(said):,}" if said.isdecimal() else said


def _quarantined(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in quarantine by table and reason, most first, each as a share of the rows read."""
    counted = [dict(one) for summary in found for one in summary["quarantined"]]
    read = {summary["table"]: summary["rows"] for summary in found}
    for table in {one["table"] for one in counted}:
        bad = sum(one["rows"] for one in counted if one["table"] == table)
        for one in counted:
            if one["table"] == table:
                one["share"] = one["rows"] / (bad + read.get(table, 0))
    return sorted(counted, key=lambda one: -one["rows"])


def render_page(results: Path, page: Path) -> None:
    """Write one HTML file from every `<table>.json` under `results`; needs no network to read.

    Parameters
    ----------
    results : Path
        Folder that `validate_all` wrote.
    page : Path
        HTML file to write, atomically.
    """
    order = {name: number for number, name in enumerate(TABLES)}
    found = [files.read_json(path) for path in results.glob("*.json")]
    found.sort(key=lambda summary: order.get(summary["table"], len(order)))
    for summary in found:
        doc = TABLES[summary["table"]].doc if summary["table"] in TABLES else ""
        summary["doc"] = doc.replace("`", "")
        summary["failed"] = [check for check in summary["checks"] if not check["passed"]]
        for check in summary["checks"]:
            check["observed"] = _observed(check)
    quarantined = _quarantined(found)
    template = templates("tessera.platform.validation").get_template("validation.html")
    text = template.render(
        tables=found,
        failed=[one for one in found if not one["passed"]],
        rows=sum(one["rows"] for one in found),
        checks=sum(len(one["checks"]) for one in found),
        quarantined=quarantined,
        quarantined_rows=sum(one["rows"] for one in quarantined),
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(text.encode(), page)
