"""FAR-Trans: retail investors' trades at a European bank (arXiv 2407.08692), official names.

`limit_prices.csv` is never opened: its profitability looks ahead.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.errors import BadInput
from tessera.contracts.rules import parsed
from tessera.stages.ingest.draft import FAULT, Draft, Drafts
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.find import Found, find, listed, maybe, only, unpacked
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.raw import Lines, read_lines

_TRANSACTIONS = Layout(
    (
        "customerID",
        "ISIN",
        "transactionID",
        "transactionType",
        "timestamp",
        "totalValue",
        "units",
        "channel",
    )
)
_CUSTOMERS = Layout(
    (
        "customerID",
        "customerType",
        "riskLevel",
        "investmentCapacity",
        "lastQuestionnaireDate",
        "timestamp",
    )
)
_ASSETS = Layout(
    (
        "ISIN",
        "assetName",
        "assetShortName",
        "assetCategory",
        "assetSubCategory",
        "marketID",
        "sector",
        "industry",
        "timestamp",
    )
)
_PRICES = Layout(("ISIN", "timestamp", "closePrice"))
_TRADES, _RECONSTRUCTED = "transactions.csv", "transactions_reconstructed.csv"
_DIGITS = 12  # pads transactionID so that text sorts like the number
_PREDICTED = "^Predicted_"
_RISK = {"Conservative": "1", "Income": "2", "Balanced": "3", "Aggressive": "4"}
_CAPACITY = {"CAP_LT30K": "1", "CAP_30K_80K": "2", "CAP_80K_300K": "3", "CAP_GT300K": "4"}
_OFFICIAL_SPELLING = {"CAP_LT_30K": "1", "GT300K": "4"}
"""The data set's own description spells two capacities unlike its files."""


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Read the official files; the source has no exposures and no outcomes."""
    read = {
        name: read_lines(engine, files, layout, name)
        for name, files, layout in (
            ("transactions", _transactions(folder), _TRANSACTIONS),
            ("customers", [only(folder, "customer_information.csv")], _CUSTOMERS),
            ("assets", [only(folder, "asset_information.csv")], _ASSETS),
            ("closes", [only(folder, "close_prices.csv")], _PRICES),
        )
    }
    return {
        "items": _items(read["assets"], read["closes"].rows),
        "users": _users(read["customers"]),
        "prices": _prices(read["closes"]),
        "events": _events(read["transactions"]),
    }


def _transactions(folder: Path) -> list[Found]:
    """Find the trades and what was reconstructed; a copy beside them would count twice."""
    official = [*find(folder, _TRADES), *maybe(folder, _RECONSTRUCTED)]
    foreign = [
        one
        for one in maybe(folder, "transactions*.csv")
        if unpacked(one.label) not in (_TRADES, _RECONSTRUCTED)
    ]
    if foreign:
        raise BadInput(
            f"{listed(foreign)} lies beside {listed(official)} and is none of the source's files: "
            "move it away"
        )
    return official


def _events(lines: Lines) -> Draft:
    """Take trades, and acquisitions derived from snapshots, whose day is the snapshot's."""
    raw = lines.rows
    snapshot = (raw.channel == "Reconstructed").fill_null(False)
    incomplete = ~snapshot & (raw.units.isnull() | raw.totalValue.isnull())
    fault = ibis.ifelse(
        incomplete, "units, totalValue: only a reconstructed row may lack them", ibis.null("string")
    )
    rows = raw.select(
        event_id=raw.customerID + "-" + raw.transactionID.lpad(_DIGITS, "0"),
        user_id=raw.customerID,
        item_id=raw.ISIN,
        action=raw.transactionType.lower(),
        event_ts=raw.timestamp,
        time_kind=ibis.ifelse(snapshot, "snapshot", "exact"),
        amount_eur=raw.totalValue,
        units=raw.units,
        channel=raw.channel,
        **{FILE: raw[FILE], ROW: raw[ROW], FAULT: fault},
    )
    names = {
        "event_id": "customerID, transactionID",
        "user_id": "customerID",
        "item_id": "ISIN",
        "action": "transactionType",
        "event_ts": "timestamp",
        "amount_eur": "totalValue",
    }
    return Draft(rows, lines.rejected, source_names=names, counts=lines.counts)


def _users(lines: Lines) -> Draft:
    """Take versions of customers, each valid once its questionnaire had been answered.

    All versions of a customer carry the same, latest, risk level, so a row older than its own
    questionnaire tells what nobody knew at its date; until then the customer counts as unknown.
    """
    raw = lines.rows
    asked = parsed(raw.lastQuestionnaireDate, "timestamp")
    written = parsed(raw.timestamp, "timestamp")
    since = ibis.ifelse(
        (asked > written).fill_null(False), raw.lastQuestionnaireDate, raw.timestamp
    )
    rows = raw.select(
        user_id=raw.customerID,
        valid_from=since,
        risk_class=_level(raw.riskLevel, _RISK),
        capacity_class=_level(raw.investmentCapacity, _CAPACITY | _OFFICIAL_SPELLING),
        segment=raw.customerType,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    names = {
        "user_id": "customerID",
        "valid_from": "timestamp",
        "risk_class": "riskLevel",
        "capacity_class": "investmentCapacity",
    }
    return Draft(rows, lines.rejected, source_names=names, counts=lines.counts)


def _level(text: ir.StringColumn, classes: dict[str, str]) -> ir.StringColumn:
    """Turn a level into its class; predicted counts like stated, an unheard-of word stays."""
    word = text.re_replace(_PREDICTED, "")
    return word.cases(*classes.items(), ("Not_Available", ibis.null("string")), else_=word)


def _items(lines: Lines, closes: ir.Table) -> Draft:
    """Take the earliest description of each asset; later ones may know what came after."""
    raw = lines.rows
    described = [column for column in _ASSETS.columns if column not in ("ISIN", "timestamp")]
    age = ibis.window(
        group_by=raw.ISIN, order_by=[raw.timestamp, *(raw[name] for name in described)]
    )
    raw = raw.mutate(version=ibis.row_number().over(age))
    day = parsed(closes.timestamp, "timestamp")
    known = closes.mutate(day=day).filter(ibis._.day.notnull())
    first = known.group_by(_isin=known.ISIN).agg(first_close=known.day.min())
    joined = raw.left_join(first, first._isin == raw.ISIN)
    words = [
        "assetName",
        "assetShortName",
        "assetCategory",
        "assetSubCategory",
        "sector",
        "industry",
    ]
    rows = joined.select(
        item_id=joined.ISIN,
        name=ibis.coalesce(joined.assetName, joined.assetShortName, joined.ISIN),
        category=joined.assetCategory,
        subcategory=joined.assetSubCategory,
        sector=joined.sector,
        market_id=joined.marketID,
        text=_joined_words(joined, words),
        risk_class=risk_class(joined.assetCategory, joined.assetSubCategory),
        valid_from=joined.first_close,
        **{FILE: joined[FILE], ROW: joined[ROW], FAULT: _superseded(joined)},
    )
    names = {"item_id": "ISIN", "name": "assetName"}
    return Draft(rows, lines.rejected, source_names=names, counts=lines.counts)


def _superseded(rows: ir.Table) -> ir.StringColumn:
    later = (rows.version > 0) & rows.ISIN.notnull()
    return ibis.ifelse(
        later, "ISIN: a later description; the earliest is kept", ibis.null("string")
    )


def _joined_words(rows: ir.Table, columns: list[str]) -> ir.StringColumn:
    """Join what is there with spaces."""
    text = ibis.literal("")
    for column in columns:
        text = text + rows[column].fill_null("") + " "
    return text.re_replace(" +", " ").strip()


def risk_class(category: ir.StringColumn, subcategory: ir.StringColumn) -> ir.IntegerColumn:
    """Rate an asset from 1 to 4 by what it is, since the source rates investors only.

    1 money market and government bonds, 2 bond funds and corporate bonds, 3 balanced, structured
    and equity funds, 4 single stocks; other funds stay unknown, which counts as 4.
    """
    fund, bond = category == "MTF", category == "Bond"
    return ibis.cases(
        (category == "Stock", 4),
        (bond & (subcategory == "Government"), 1),
        (bond, 2),
        (fund & (subcategory == "Money Market"), 1),
        (fund & subcategory.isin(["Bond", "Bonds"]), 2),
        (fund & subcategory.isin(["Balanced", "Structured", "Equity"]), 3),
        else_=ibis.null("int64"),
    )


def _prices(lines: Lines) -> Draft:
    raw = lines.rows
    rows = raw.select(
        item_id=raw.ISIN,
        price_ts=raw.timestamp,
        close_eur=raw.closePrice,
        **{FILE: raw[FILE], ROW: raw[ROW]},
    )
    names = {"item_id": "ISIN", "price_ts": "timestamp", "close_eur": "closePrice"}
    return Draft(rows, lines.rejected, source_names=names, counts=lines.counts)
