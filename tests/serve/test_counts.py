"""Counts that are carried on from request to request are those of the log."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from tessera.contracts.tables import ACTIONS
from tessera.serve.online.counts import ItemCounts
from tessera.shared.features.facts import Facts, Queries

_ITEMS = 9


def facts(rng, count):
    none = dict.fromkeys(one.name for one in fields(Facts))
    told = {"item_E": rng.integers(1, _ITEMS, count), "moment_E": rng.integers(0, 60, count),
            "action_E": rng.integers(len(ACTIONS), size=count),
            "risk_I": np.zeros(_ITEMS, np.int64)}  # fmt: skip
    return Facts(**{**none, **told, "folder": None})


@pytest.mark.parametrize("count", [0, 5, 400])
def test_counts_are_those_of_a_loop_in_whatever_order_requests_come(rng, count):
    found = facts(rng, count)
    counts, item_Q = ItemCounts(found), np.arange(_ITEMS)
    rows = list(zip(found.item_E, found.action_E, found.moment_E, strict=True))
    for moment in [3, 3, 20, 55, 7, 61, 61, 0, 1000]:
        for actions, ago in (((2,), 0), ((0, 1), 9), ((0, 1), 0)):
            asked = Queries(np.array([0]), np.array([moment]), np.zeros(_ITEMS, int), item_Q)
            wanted = [
                sum(row[0] == item and row[1] in actions and row[2] < moment - ago for row in rows)
                for item in item_Q
            ]
            assert counts.of_request(actions, asked, ago).tolist() == wanted


def test_what_was_counted_once_is_not_searched_for_again(rng):
    found = facts(rng, 50)
    counts = ItemCounts(found)
    asked = [
        Queries(np.zeros(1, int), np.array([moment]), np.zeros(2, int), np.array([1, 2]))
        for moment in (10, 20)
    ]
    counts.of_request((2,), asked[0])
    counts._facts = SimpleNamespace(clock=found.clock)  # nothing else is read any more
    assert counts.of_request((2,), asked[1]).tolist() == found.item_counts((2,), asked[1]).tolist()
