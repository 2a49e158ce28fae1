"""How mature an item is, is known when learning ends: nothing later is counted."""

from dataclasses import replace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import DAY_US
from tessera.model.nn.own_share import MATURITY
from tessera.model.sequences.catalogue import microsecond
from tessera.model.training.fit import pose

DAYS, SHOWN, ANSWERED = range(len(MATURITY))


@pytest.fixture
def weighed(small):
    return small.model_copy(update={"item_input": "weighed", "window_days": 2.0})


def as_table(table, kept, moved=lambda row: False):
    """Return the rows that are kept, of which those that are moved are about another item."""
    found = table.to_pyarrow()
    rows = [row for row in found.to_pylist() if kept(row)]
    for row in rows:
        row["item_id"] = "i05" if moved(row) else row["item_id"]
    return ibis.memtable(pa.Table.from_pylist(rows, schema=found.schema))


def told(world, weighed, refit=False):
    """Return what the item input is told, as numbers of days and events."""
    tables = pose("hstu", world, weighed).tables(refit=refit)
    return np.expm1(tables.maturity_VF.astype(float))


@pytest.mark.parametrize("refit", [False, True])
def test_it_is_counted_up_to_the_end_of_what_is_learnt(slated, logged_world, weighed, split, refit):
    world = logged_world(slated, weighed)
    end = microsecond(split.cut if refit else split.validation_from)
    events = slated.events.to_pyarrow().to_pylist()
    shown = slated.exposures.to_pyarrow().to_pylist()
    found_VF = told(world, weighed, refit)
    for row, item in enumerate(world.catalogue.vocabulary, start=1):
        answers = [one for one in events if one["item_id"] == item]
        exposures = [one for one in shown if one["item_id"] == item]
        for column, rows in ((ANSWERED, answers), (SHOWN, exposures)):
            before = sum(microsecond(one["event_ts"]) < end for one in rows)
            assert round(found_VF[row, column]) == before > 0
    first = min(microsecond(one["event_ts"]) for one in events)
    np.testing.assert_allclose(found_VF[1:, DAYS], (end - first) / DAY_US, atol=1e-3)
    assert not found_VF[0].any(), "padding is no item"


def test_an_item_is_as_old_as_it_is_on_sale(slated, logged_world, weighed, split):
    world = logged_world(slated, weighed)
    from_V = world.catalogue.from_V.copy()
    begins = microsecond(split.validation_from)
    from_V[3], from_V[4] = begins - 2 * DAY_US, begins + DAY_US
    world = replace(world, catalogue=replace(world.catalogue, from_V=from_V))
    found_VF = told(world, weighed)
    np.testing.assert_allclose(found_VF[3:5, DAYS], [2.0, 0.0], atol=1e-5)


def test_what_is_shown_and_answered_later_changes_nothing(slated, logged_world, weighed, split):
    whole_VF = told(logged_world(slated, weighed), weighed)
    begins = split.validation_from
    slated.exposures = as_table(slated.exposures, lambda row: row["event_ts"] < begins)
    requests = set(slated.exposures.to_pyarrow()["request_id"].to_pylist())
    slated.outcomes = as_table(slated.outcomes, lambda row: row["request_id"] in requests)
    slated.events = as_table(slated.events, lambda row: True, lambda row: row["event_ts"] >= begins)
    np.testing.assert_array_equal(told(logged_world(slated, weighed), weighed), whole_VF)


def test_without_one_cut_for_all_neither_days_nor_exposures_are_told(slated, logged_world, weighed):
    world = logged_world(slated, weighed)
    world = replace(world, split=replace(world.split, protocol="leave_last_out"))
    found_VF = told(world, weighed)
    assert not found_VF[:, [DAYS, SHOWN]].any()
    assert found_VF[1:, ANSWERED].all()


def test_a_model_that_sums_codewords_is_told_nothing(slated, logged_world, small):
    params = small.model_copy(update={"window_days": 2.0})
    world = logged_world(slated, params)
    assert pose("hstu", world, params).tables(refit=False).maturity_VF is None
