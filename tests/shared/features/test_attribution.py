"""An outcome counts once, for its own exposure, inside the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import OUTCOMES
from tessera.shared.features.attribution import reward, tally

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, tzinfo=UTC)


def exposures(*rows):
    columns = ("request_id", "position", "user_id", "item_id")
    data = {name: [row[place] for row in rows] for place, name in enumerate(columns)}
    types = {"request_id": "string", "position": "int64", "user_id": "string", "item_id": "string"}
    schema = types | {"event_ts": "timestamp('UTC')"}
    return ibis.memtable(data | {"event_ts": [START] * len(rows)}, schema=schema)


def outcomes(*rows):
    """request_id, item_id, action, days after the exposure."""
    data = [
        {
            "request_id": row[0],
            "item_id": row[1],
            "action": row[2],
            "value": 10.0,
            "event_ts": START + timedelta(days=row[3]),
        }
        for row in rows
    ]
    return ibis.memtable(pa.Table.from_pylist(data, schema(OUTCOMES)))


SLATE = exposures(
    ("r1", 1, "u", "a"), ("r1", 2, "u", "b"), ("r1", 3, "u", "c"), ("r2", 1, "u", "a")
)


def answers(table) -> dict[tuple[str, int], tuple[int, int, int]]:
    return {
        (row["request_id"], row["position"]): (row["reward"], row["bought"], row["dismissed"])
        for row in table.to_pyarrow().to_pylist()
    }


def test_clicks_and_purchases_are_reward_and_dismissals_are_not():
    done = outcomes(("r1", "a", "click", 1), ("r1", "b", "buy", 1), ("r1", "c", "dismiss", 1))
    assert answers(reward(SLATE, done, 7)) == {
        ("r1", 1): (1, 0, 0),
        ("r1", 2): (1, 1, 0),
        ("r1", 3): (0, 0, 1),
        ("r2", 1): (0, 0, 0),
    }


def test_only_outcomes_inside_the_window_count():
    done = outcomes(("r1", "a", "buy", 7), ("r1", "b", "buy", 7.01), ("r1", "c", "buy", -0.01))
    found = answers(reward(SLATE, done, 7))
    assert [found["r1", place][1] for place in (1, 2, 3)] == [1, 0, 0]


def test_an_outcome_and_an_exposure_logged_twice_count_once():
    done = outcomes(("r1", "a", "buy", 1), ("r1", "a", "buy", 2), ("r1", "a", "click", 1))
    rows = reward(SLATE.union(SLATE), done, 7).to_pyarrow().to_pylist()
    assert len(rows) == 4
    assert (rows[0]["reward"], rows[0]["bought"], rows[0]["value_eur"]) == (1, 1, 20.0)


def test_what_is_left_out_is_counted():
    done = outcomes(
        ("r1", "a", "buy", 1),
        ("r1", "a", "buy", 1),
        ("r1", "b", "buy", 9),
        ("r1", "c", "buy", -1),
        ("r9", "a", "buy", 1),
        ("r1", "z", "buy", 1),
    )
    assert tally(SLATE.union(SLATE), done, 7) == {
        "exposures": 8,
        "outcomes": 6,
        "duplicate_exposures": 4,
        "duplicate_outcomes": 1,
        "orphan": 1,
        "not_shown": 1,
        "early": 1,
        "late": 1,
        "attributed": 1,
    }


@pytest.mark.parametrize("outside", [-1, 9])
def test_a_copy_outside_the_window_hides_none_inside(outside):
    done = outcomes(("r1", "a", "buy", outside), ("r1", "a", "buy", 2))
    rows = reward(SLATE, done, 7).to_pyarrow().to_pylist()
    assert (rows[0]["bought"], rows[0]["value_eur"]) == (1, 10.0)
    found = tally(SLATE, done, 7)
    assert (found["attributed"], found["duplicate_outcomes"]) == (1, 1)
    assert found["early"] == found["late"] == found["orphan"] == found["not_shown"] == 0


def test_no_outcome_at_all_is_no_reward():
    assert set(answers(reward(SLATE, outcomes(), 7)).values()) == {(0, 0, 0)}
    assert tally(SLATE, outcomes(), 7)["attributed"] == 0
