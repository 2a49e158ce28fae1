"""What was checked, in words and on one offline page that also prints well."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tessera.contracts.tables import TABLES
from tessera.pipeline import files

PAGE = "index.html"


def sentence(expectation: str, kwargs: dict[str, Any]) -> str:
    """Say in plain words what an expectation demands."""
    column = kwargs.get("column", "")
    match expectation:
        case "expect_table_columns_to_match_ordered_list":
            return f"columns are {', '.join(kwargs['column_list'])}, in this order"
        case "expect_table_row_count_to_be_between":
            return f"there are at least {kwargs['min_value']} rows"
        case "expect_column_values_to_be_of_type":
            return f"{column} is of type {kwargs['type_']}"
        case "expect_column_values_to_not_be_null":
            return f"{column} is never missing"
        case "expect_column_values_to_be_in_set":
            return f"{column} is one of {', '.join(kwargs['value_set'])}"
        case "expect_column_values_to_be_between":
            return f"{_said(column)} is {_range(kwargs)}"
        case "expect_column_pair_values_to_be_equal":
            return f"{_said(kwargs['column_A'])} equals {_said(kwargs['column_B'])}"
    key = kwargs.get("column_list") or [column]
    return f"{' + '.join(key)} is unique in the whole table"


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
        summary["doc"] = TABLES[summary["table"]].doc if summary["table"] in TABLES else ""
        summary["failed"] = [check for check in summary["checks"] if not check["passed"]]
    quarantined = next((one["quarantined"] for one in found if one["quarantined"]), [])
    environment = Environment(
        loader=PackageLoader("tessera.pipeline"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("validation.html").render(
        tables=found,
        failed=[one for one in found if not one["passed"]],
        rows=sum(one["rows"] for one in found),
        checks=sum(len(one["checks"]) for one in found),
        quarantined=quarantined,
        quarantined_rows=sum(one["rows"] for one in quarantined),
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    aside = page.with_name(f".{page.name}.{os.getpid()}")
    aside.write_text(text)
    files.move_into_place(aside, page)
