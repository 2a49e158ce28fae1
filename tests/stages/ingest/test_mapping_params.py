# ruff: noqa: E501 -- one line a mistake
"""A mapping that cannot be meant is refused with the params, before any file is opened."""

from __future__ import annotations

import copy

import pytest

from tessera.contracts.errors import BadParams
from tessera.platform.workspace.params import check_section
from tessera.stages.ingest.params import IngestParams

GOOD = {
    "source": "table",
    "mapping": {
        "events": {
            "file": "orders.csv",
            "columns": {"user_id": "client", "item_id": "isin", "event_ts": "day"},
            "constants": {"action": "buy"},
        },
        "items": {"file": "products.csv", "columns": {"item_id": "isin"}},
    },
}


def changed(place: str, value: object) -> dict:
    """The good section with one more or another value at a dotted place."""
    section = copy.deepcopy(GOOD)
    inner = section["mapping"]
    *path, last = place.split(".")
    for part in path:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return section


WRONG = [
    ("events.columns.amount", "value",
     "unknown mapping.events.columns.amount, did you mean 'amount_eur'?"),
    ("events.constants.chanel", "web", "unknown mapping.events.constants.chanel, did you mean 'channel'?"),
    ("items.columns.event_ts", "day", "unknown mapping.items.columns.event_ts; known: item_id, name"),
    ("event", {}, "unknown table 'event', did you mean 'events'?"),
    ("events.constants.action", "bye", "'bye' is not one of view, click, buy"),
    ("items.constants.risk_class", 7, "mapping.items.constants.risk_class: '7' is above 4"),
    ("events.constants.amount_eur", "ten", "'ten' is no number"),
    ("events.constants.user_id", "u1", "user_id in columns and in constants: choose one"),
    ("users", {"file": "u.csv", "columns": {"risk_class": "r"}}, "mapping.users lacks user_id"),
    ("events.columns.item_id", {"from": "isin", "decimal": ","}, "item_id: decimal does not fit, it holds text"),
    ("events.columns.event_ts", {"from": "d", "thousands": "."}, "event_ts: thousands does not fit"),
    ("events.columns.event_ts", {"from": "d", "open_end": "9999-12-31"}, "open_end does not fit"),
    ("events.columns.event_ts", {"from": "d", "unit": "h"}, "unit is one of s, ms, us, ns, excel, not 'h'"),
    ("events.columns.event_ts", {"from": "d", "unit": "s", "format": "%Y"}, "a unit or a format"),
    ("events.columns.event_ts", {"from": "d", "format": "dd.mm.yyyy"}, "write it like %d.%m.%Y %H:%M"),
    ("events.columns.event_ts", {"from": "d", "format": "%d.%m %H"}, "it names no year"),
    ("events.columns.event_ts", {"from": "d", "zone": "Europe/Roma"}, "no time zone 'Europe/Roma', did you mean 'Europe/Rome'?"),
    ("events.zone", "Mars", "no time zone 'Mars'"),
    ("events.decimal", ";", "decimal is '.' or ',', not ';'"),
    ("events.columns.units", {"from": "n", "decimal": ",", "thousands": ","}, "cannot both be ','"),
    ("events.columns.channel", {"from": "c", "otherwise": "x"}, "otherwise needs values"),
    ("events.columns.channel", {"from": "c", "values": {"yes": True}}, "put the word in quotes"),
    ("items.columns.risk_class", {"from": "r", "values": {"5": "5"}}, "'5' is above 4"),
    ("items.columns.risk_class", {"from": "r", "unknown": 9}, "'9' is above 4"),
    ("events.columns.units", {"from": "n", "decimals": ","}, "columns.units.decimals, did you mean 'decimal'?"),
    ("events.columms", {}, "unknown ingest.mapping.events.columms, did you mean 'columns'?"),
    ("events.only", {"kind": "(buy"}, "'(buy' is no pattern"),
    ("events.only", {"kind": True}, "put the word in quotes"),
    ("events.each", {"from": "basket", "take": ".+"}, "'.+' needs one group in brackets, such as (.+)-1"),
    ("events.joined", {"who": ["a"]}, "events.joined.who: List should have at least 2 items"),
    ("events.evenly", "all", "mapping.events.evenly: only exposures are drawn"),
    ("exposures", {"file": "s.csv", "columns": {"user_id": "u", "item_id": "i", "event_ts": "d"}}, "mapping.exposures lacks position, policy_id, propensity"),
    ("outcomes", {"file": "o.csv", "columns": {"item_id": "i", "event_ts": "d"}, "constants": {"action": "buy", "value": 0}}, "mapping.outcomes: name request_id"),
    ("events.columns.units", {"decimal": ","}, "ingest.mapping.events.columns.units.from: Field required"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "says"), WRONG)
def test_what_cannot_be_meant_is_refused(place, value, says):
    assert IngestParams(**GOOD)
    with pytest.raises(BadParams) as caught:
        check_section("ingest", changed(place, value))
    line = str(caught.value)
    assert says in line
    assert line.startswith("params: ")
    assert "\n" not in line


def test_words_of_yaml_are_the_words_of_the_file():
    section = changed("items.columns.risk_class", {"from": "r", "values": {1: 1, "x": None}})
    section["mapping"]["events"]["nulls"] = ["NA", None]
    params = IngestParams(**section)
    assert params.mapping["items"].columns["risk_class"].values == {"1": "1", "x": None}
    assert params.mapping["events"].nulls == ("NA", "null")
