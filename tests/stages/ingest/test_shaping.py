"""Rows of a table that a file does not have one by one."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from tessera.contracts.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

ITEMS = {"file": "items.csv", "columns": {"item_id": "id"}}
EVENTS = {
    "file": "log.csv",
    "columns": {"user_id": "who", "item_id": "what", "event_ts": "day"},
    "constants": {"action": "view"},
}
SHOWN = EVENTS | {
    "evenly": "all",
    "constants": {"position": "1", "policy_id": "p", "context_version": "0"},
}


@pytest.fixture
def log(ingest, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()

    def go(lines: list[str], items: int = 3, tables: dict | None = None, **events):
        (folder / "items.csv").write_text("id\n" + "".join(f"i{n}\n" for n in range(items)))
        (folder / "log.csv").write_text("\n".join(["who,what,day,kind,chance", *lines]) + "\n")
        mapping = {"events": EVENTS | events, "items": ITEMS} | (tables or {})
        return ingest(folder, "table", protocol="leave_last_out", mapping=mapping)

    return go


LINES = [
    "a,i0,2024-01-01,view,.5",
    "b,i1,2024-01-02,VIEW,.5",
    "c,i2,2024-01-03,preview,.5",
    "d,i9,2024-01-04,view,.5",
    "e,i0,2024-01-05,,.5",
    "torn,i0",
    "f,i0,2024-01-06,view,.5",
]


def test_rows_that_are_not_meant_are_counted_and_the_rest_is_accounted_for(log):
    out = log(LINES, only={"kind": "view"})
    assert [row["user_id"] for row in out.rows("events")] == ["a", "f"]
    assert [row["event_id"] for row in out.rows("events")] == ["000000000001", "000000000007"]
    assert out.reasons() == [
        ("events", "item_id: not in items"),
        ("events", "line has 2 values instead of 5"),
    ]
    told = out.metrics
    assert (told["events_in"], told["events_good"], told["events_quarantined"]) == (4, 2, 2)
    assert told["events_left_out"] == 3
    assert told["events_lines"] == told["events_lines_header"] + told["events_in"] + 3


def test_several_values_of_a_row_are_rows_of_one_record(log):
    lines = [
        "a,i0:1 i1:0 i2:1,2024-01-01,,",
        "b,,2024-01-02,,",
        "c,i1:0,2024-01-03,,",
        "d,i1:1  x,2024-01-04,,",
    ]
    out = log(lines, each={"from": "what", "take": "(.+):1"})
    assert [(row["event_id"], row["user_id"], row["item_id"]) for row in out.rows("events")] == [
        ("000000000001-00001", "a", "i0"),
        ("000000000001-00002", "a", "i2"),
        ("000000000004-00001", "d", "i1"),
    ]
    assert (out.metrics["events_in"], out.metrics["events_left_out"]) == (3, 2)
    assert out.metrics["events_split"] == 1
    assert out.reasons() == []


def test_elements_may_be_taken_whole(log):
    out = log(["a,i0|i1,2024-01-01,,", "b,i2,2024-01-02,,"], each={"from": "what", "between": "|"})
    assert [row["item_id"] for row in out.rows("events")] == ["i0", "i1", "i2"]


def test_a_key_of_several_columns_is_joined(log):
    columns = EVENTS["columns"] | {"user_id": "both"}
    out = log(LINES[:2], joined={"both": ["who", "kind"]}, columns=columns)
    assert [row["user_id"] for row in out.rows("events")] == ["a-view", "b-VIEW"]


def test_a_pattern_of_a_column_that_is_not_there_is_named(log):
    with pytest.raises(BadInput, match=r"log\.csv lacks column knd"):
        log(LINES, only={"knd": "view"})


def test_given_its_candidates_what_was_shown_was_shown_evenly(log):
    """Of each window every item was shown about as often: the propensity is what it says."""
    lines = [f"u{n % 7},i{n % 12},2024-01-01,,{1 / 12}" for n in range(24_000)]
    out = log(lines, 12, {"exposures": SHOWN | {"evenly": 4}})
    shown = defaultdict(Counter)
    for row in out.rows("exposures"):
        assert (row["propensity"], row["candidate_propensities"]) == (1 / 4, [1 / 4] * 4)
        shown[frozenset(row["candidate_ids"])][row["item_id"]] += 1
    assert len(shown) == 12
    for window, counts in shown.items():
        assert set(counts) == set(window)
        assert all(abs(count - 500) < 110 for count in counts.values())


def test_a_chance_that_is_not_even_and_an_item_that_nobody_knows_are_set_aside(log):
    columns = SHOWN["columns"] | {"propensity": "chance"}
    lines = ["a,i0,2024-01-01,,0.3333333", "b,i1,2024-01-01,,0.4", "c,i9,2024-01-01,,0.3333333"]
    lines += ["d,i1,2024-01-02,,x"]
    out = log(lines, 3, {"exposures": SHOWN | {"columns": columns}})
    assert [row["user_id"] for row in out.rows("exposures")] == ["a"]
    found = [
        reason.split(", such as")[0] for table, reason in out.reasons() if table == "exposures"
    ]
    assert found == ["item_id: not in items", *["propensity: not 1/3, as evenly says"] * 2]


def test_thousands_of_candidates_in_every_row_are_refused(log):
    with pytest.raises(BadInput, match=r"1001 candidates .*mapping\.exposures\.evenly: 50"):
        log(LINES[:2], 1_001, {"exposures": SHOWN})
