"""A file is a table by its columns, by its name where those do not tell, or it is left over."""

from __future__ import annotations

import pytest

from tessera.stages.ingest.placing import nearly_events, placed
from tessera.stages.ingest.samples import Sample
from tessera.stages.ingest.scored_files import scored

WHO = [f"u{n}" for n in range(20)]
WHAT = [f"F{n:02d}" for n in range(20)]
WHEN = [f"2021-03-{day:02d}" for day in range(1, 21)]
EVENTS = {"user_id": WHO, "item_id": WHAT, "event_ts": WHEN}


def tables(*samples):
    found, notes = placed(scored(samples))
    return {table: file.sample.label for table, file in found.items()}, notes


@pytest.mark.parametrize("name", ["orders.csv", "zzz.csv"])
def test_who_what_and_when_are_events_whatever_the_file_is_called(name):
    assert tables(Sample(name, EVENTS)) == ({"events": name}, [])


def test_what_ties_items_to_something_is_links():
    triples = Sample("kg.csv", {"isin": WHAT, "relation": ["country"] * 20, "target": WHO})
    assert tables(triples)[0] == {"links": "kg.csv"}


def test_who_asked_what_in_words_and_when_is_queries():
    asked = Sample("asked.csv", {"client": WHO, "search_text": ["a pension"] * 20, "day": WHEN})
    assert tables(asked)[0] == {"queries": "asked.csv"}


def test_a_file_that_fits_nothing_is_named():
    assert tables(Sample("readme.csv", {"a": ["x", "x"]})) == ({}, ["readme.csv: fits no table"])


def test_an_old_copy_gives_way_although_its_name_fits_and_it_is_longer():
    longer = {name: values * 2 for name, values in EVENTS.items()}
    found, (note,) = tables(Sample("orders_old.csv", longer), Sample("zzz.csv", EVENTS))
    assert found == {"events": "zzz.csv"}
    assert note.startswith("orders_old.csv: looks like events too, left out beside zzz.csv")


def test_a_file_so_called_is_a_table_although_its_id_is_not_known():
    clients = Sample("customers.csv", {"zzz": ["u1", "u1"], "segment": ["retail"] * 2})
    assert tables(clients)[0] == {"users": "customers.csv"}


@pytest.mark.parametrize(
    ("lost", "says"), [("user_id", "who"), ("item_id", "what"), ("event_ts", "when")]
)
def test_what_is_one_column_short_of_events_is_told(lost, says):
    rest = {name: values for name, values in EVENTS.items() if name != lost}
    (note,) = nearly_events(scored([Sample("log.csv", rest)]))
    assert note.endswith(f", and no column {says} ({lost})")
    assert nearly_events(scored([Sample("log.csv", {"user_id": WHO})])) == []
