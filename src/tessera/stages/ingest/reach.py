"""Whom anything on sale suits: better known before training than from empty lists after it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from tessera.contracts.split import Split, known
from tessera.contracts.tables import RISK_CLASSES
from tessera.shared.policies.suitability import Unknown, suitable
from tessera.stages.ingest.engine import Engine

_LOG = logging.getLogger(__name__)


def reach(
    tables: Mapping[str, Path], engine: Engine, split: Split, unknown: Unknown
) -> dict[str, Any]:
    """Count items on sale and investors by risk class at the cut, and say where nothing suits.

    Returns
    -------
    dict
        `items` and `investors` by risk class, `unknown` those without one; `nothing_suits`,
        investors for whom no item on sale suits.
    """
    items = _on_sale(engine.read(tables["items"], "items"), split)
    on_sale = _by_class(items.risk_class)
    past = known(engine.read(tables["events"], "events"), split)
    acted = past.select("user_id").distinct()
    investors = _by_class(_as_known(acted, engine.read(tables["users"], "users"), split))
    classes = [risk or 0 for risk, count in on_sale.items() if count]
    without = {
        risk: count
        for risk, count in investors.items()
        if not suitable(risk or 0, classes, unknown).any()
    }
    _say(without, sum(investors.values()), on_sale, unknown)
    return {
        "items": _named(on_sale),
        "investors": _named(investors),
        "nothing_suits": sum(without.values()),
    }


def _on_sale(items: ir.Table, split: Split) -> ir.Table:
    if split.protocol == "leave_last_out":
        return items
    born = items.valid_from.isnull() | (items.valid_from <= split.cut)
    return items.filter(born & (items.valid_to.isnull() | (items.valid_to > split.cut)))


def _as_known(acted: ir.Table, users: ir.Table, split: Split) -> ir.IntegerColumn:
    """Risk class of everybody who acted, as known at the cut."""
    seen = users if split.ordinal else users.filter(users.valid_from <= split.cut)
    newest = ibis.row_number().over(
        ibis.window(group_by=seen.user_id, order_by=seen.valid_from.desc())
    )
    last = seen.mutate(_back=newest).filter(ibis._._back == 0)
    told = last.select(_user=last.user_id, risk_class=last.risk_class)
    return acted.left_join(told, acted.user_id == told._user).risk_class


def _by_class(risk: ir.IntegerColumn) -> Counter[int | None]:
    rows = risk.name("risk").as_table()
    found = rows.group_by("risk").agg(rows=rows.count()).to_pyarrow().to_pylist()
    return Counter({row["risk"]: row["rows"] for row in found})


def _named(counted: Counter[int | None]) -> dict[str, int]:
    ordered = sorted(counted.items(), key=lambda pair: pair[0] or 0)
    return {"unknown" if risk is None else str(risk): count for risk, count in ordered}


def _say(
    without: dict[int | None, int], everybody: int, on_sale: Counter[int | None], unknown: Unknown
) -> None:
    if not without:
        return
    whom = "anybody" if sum(without.values()) == everybody else f"{sum(without.values()):,} of "
    whom += "" if whom == "anybody" else f"{everybody:,} investors"
    if not any(risk for risk in on_sale):
        why = f"no item has a risk class, and unknown counts as {unknown.item}"
    else:
        lowest = min(risk or unknown.item for risk in on_sale)
        why = f"no item on sale is below class {lowest} ({RISK_CLASSES[lowest - 1]})"
    _LOG.warning(
        "nothing suits %s: %s, unknown investors as %d; map risk_class, or say what unknown counts "
        "as: ingest.unknown_item_risk, ingest.unknown_user_risk",
        *(whom, why, unknown.user),
    )
