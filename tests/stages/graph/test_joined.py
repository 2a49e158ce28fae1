"""Edges by joins are those by matrices, to the last bit."""

from __future__ import annotations

from dataclasses import fields

import ibis
import numpy as np
import pytest

from tessera.stages.graph import joined, links
from tessera.stages.graph.links import Acquisitions, Links
from tessera.stages.graph.params import GraphParams

ITEMS = 12
KINDS = ("co_acquired", "transitions")


@pytest.fixture
def past(rng):
    """First acquisitions of 3,000 investors; times repeat, so that steps have several members."""
    had_UI = rng.random((3_000, ITEMS)) < rng.random(ITEMS)
    user_A, item_A = np.nonzero(had_UI)
    ts_A = rng.integers(0, 6, len(user_A))
    order = np.lexsort((item_A, ts_A, user_A))
    user_A, item_A, ts_A = user_A[order], item_A[order], ts_A[order]
    decay_of = rng.random(6)  # of a time: what is acquired at once is of one age
    return Acquisitions(
        np.unique(user_A, return_inverse=True)[1], item_A, ts_A, decay_of[ts_A], ITEMS
    )


@pytest.fixture
def joins(tmp_path):
    engine = ibis.duckdb.connect()
    yield joined.Joins(engine, tmp_path)
    engine.disconnect()


def same(one, other):
    for field in fields(Links):
        here, there = getattr(one, field.name), getattr(other, field.name)
        assert here.dtype == there.dtype, field.name
        np.testing.assert_array_equal(here, there, field.name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"least_support": 700}, {"neighbours": 3}])
def test_joins_find_the_edges_of_matrices(past, joins, kind, settings):
    params = GraphParams(**settings)
    found = getattr(joined, kind)(past, joins, params)
    expected = getattr(links, kind)(past, params)
    assert 0 < len(expected.source) < ITEMS * (ITEMS - 1), "the params leave some out"
    same(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_acquired_anything(joins, kind):
    none = np.zeros(0, np.int64)
    past = Acquisitions(none, none, none, np.zeros(0), ITEMS)
    params = GraphParams()
    found = getattr(joined, kind)(past, joins, params)
    assert len(found.source) == 0
    same(found, getattr(links, kind)(past, params))


def test_equally_heavy_edges_go_by_target(joins):
    """One investor with everything at once: all cosines are 1, and two of four edges stay."""
    past = Acquisitions(
        np.zeros(5, np.int64), np.arange(5), np.zeros(5, np.int64), np.ones(5), ITEMS
    )
    params = GraphParams(neighbours=2, least_support=1)
    found = joined.co_acquired(past, joins, params)
    assert found.target.reshape(5, 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]
    same(found, links.co_acquired(past, params))
