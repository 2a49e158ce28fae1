"""Whom nothing suits is said before anything is trained."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tessera.stages.ingest.params import IngestParams

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


def reach(out):
    return json.loads((out.folder / "suitability.json").read_text())


def test_items_and_investors_are_counted_by_class(ingest, market, caplog):
    """u1 is of class 2, u0 and u2 are in no table; items are of class 1 and 4."""
    found = reach(ingest(market, "market"))
    assert found == {
        "unknown_user": 1,
        "unknown_item": 4,
        "items": {"1": 1, "4": 1},
        "investors": {"unknown": 2, "2": 1},
        "nothing_suits": 0,
    }
    assert "nothing suits" not in caplog.text


def test_a_catalogue_where_nothing_suits_is_told_with_the_remedy(ingest, market, change, caplog):
    change("items", lambda rows: [row | {"risk_class": None} for row in rows])
    assert reach(ingest(market, "market"))["nothing_suits"] == 3
    assert "nothing suits anybody: no item has a risk class, and unknown counts as 4" in caplog.text
    assert "ingest.unknown_item_risk" in caplog.text
    caplog.clear()
    assert reach(ingest(market, "market", unknown_item_risk=1))["nothing_suits"] == 0
    assert "nothing suits" not in caplog.text


def test_those_whom_nothing_suits_are_counted(ingest, market, change, caplog):
    change("items", lambda rows: [row | {"risk_class": 2} for row in rows])
    assert reach(ingest(market, "market"))["nothing_suits"] == 2
    assert "nothing suits 2 of 3 investors: no item on sale is below class 2" in caplog.text
    assert reach(ingest(market, "market", unknown_user_risk=2))["nothing_suits"] == 0


def test_what_was_not_on_sale_suits_nobody(ingest, market, change):
    late = {"valid_from": market_day(9), "risk_class": 1}
    change("items", lambda rows: [rows[0] | late, rows[1]])
    assert reach(ingest(market, "market"))["items"] == {"4": 1}


def market_day(number):
    from datetime import UTC, datetime, timedelta

    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def test_films_and_goods_bear_no_risk(ingest, movielens, amazon, caplog):
    assert reach(ingest(movielens, "movielens"))["unknown_item"] == 1
    assert reach(ingest(amazon, "amazon"))["nothing_suits"] == 0
    assert "nothing suits" not in caplog.text
    assert reach(ingest(movielens, "movielens", unknown_item_risk=4))["nothing_suits"] == 4


@pytest.mark.parametrize("params", [{"unknown_user_risk": 0}, {"unknown_item_risk": 5}])
def test_there_are_four_classes(params):
    with pytest.raises(ValidationError):
        IngestParams(**params)
