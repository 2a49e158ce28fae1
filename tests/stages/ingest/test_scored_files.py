"""Columns of made-up files are found by their names, by what joins, or by their values alone."""

from __future__ import annotations

from tessera.stages.ingest.samples import Sample
from tessera.stages.ingest.scored_files import scored

DAYS = [f"2021-03-{day:02d}T09:30:00" for day in range(1, 21)]
FUNDS = [f"F{n:02d}" for n in range(20)]


def found(file, table):
    """Return the column of the file behind each contract column, and why."""
    return {column: (name, why) for column, (_, name, why) in file.scores[table].items()}


def test_a_name_places_a_column_only_if_its_values_are_of_that_kind():
    (file,) = scored([Sample("a.csv", {"isin": FUNDS, "amount": ["soon"] * 20})])
    assert found(file, "events") == {"item_id": ("isin", "by its name")}


def test_ids_of_a_file_of_items_place_a_column_that_no_word_names():
    trades = Sample("trades.csv", {"zzz": FUNDS * 2, "when": DAYS * 2})
    _, file = scored([Sample("items.csv", {"isin": FUNDS, "name": FUNDS}), trades])
    assert found(file, "events")["item_id"] == ("zzz", "100% of its values are item_ids")
    (alone,) = scored([trades])
    assert not alone.known("events", "item_id")


def test_a_clock_places_a_time_under_any_name_and_missing_values_say_nothing():
    file, empty = scored(
        [Sample("a.csv", {"zzz": [" ", *DAYS, "NA"]}), Sample("b.csv", {"zzz": ["NA"]})]
    )
    assert file.values == {"zzz": DAYS}
    assert found(file, "events")["event_ts"] == ("zzz", "by its values")
    assert not empty.known("events", "event_ts")


def test_columns_whose_ids_are_those_of_users_and_of_items_are_named():
    numbers = [str(n) for n in range(20)]
    files = [Sample("items.csv", {"item_id": numbers, "name": FUNDS}),
             Sample("users.csv", {"user_id": numbers}),
             Sample("log.csv", {"zzz": numbers, "yyy": numbers, "item_id": numbers})]  # fmt: skip
    assert [file.either for file in scored(files)][2] == {"zzz", "yyy"}


def test_the_stem_of_a_file_is_its_name_for_people():
    names = {"data/orders.csv.gz": "orders", "ml.inter": "interactions", "b/part.1.csv": "part.1"}
    for name, stem in names.items():
        assert scored([Sample([name], {"a": ["1"]})])[0].stem == stem
