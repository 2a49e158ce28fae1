"""Training and listing without a pipeline: what comes out, and what is refused in one line."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera import api
from tessera.contracts.errors import BadInput, BadParams

PARAMS = api.HstuParams(width=8, blocks=1, length=8, epochs=1, demand_days=0.0, top=3)


@pytest.fixture(scope="module")
def recommender(served_market):
    return api.train(served_market["events"], served_market["items"], params=PARAMS)


def test_lists_leave_out_what_a_user_has_and_come_in_order(recommender, served_market):
    rows = api.recommend(recommender).to_pylist()
    had = {(row["user_id"], row["item_id"]) for row in served_market["events"].to_pylist()}
    assert not had & {(row["user_id"], row["item_id"]) for row in rows}
    assert [(row["user_id"], row["rank"]) for row in rows] == sorted(
        (row["user_id"], row["rank"]) for row in rows
    )
    assert {row["rank"] for row in rows} == {1, 2, 3}


def test_the_list_of_one_user_is_that_among_all(recommender):
    mine = api.recommend(recommender, ["u07"], top=2).to_pylist()
    among = [row for row in api.recommend(recommender).to_pylist() if row["user_id"] == "u07"][:2]
    assert [row["item_id"] for row in mine] == [row["item_id"] for row in among]
    np.testing.assert_allclose(
        [row["score"] for row in mine], [row["score"] for row in among], rtol=1e-5
    )


def test_pandas_and_arrow_frames_are_the_same(served_market, recommender):
    again = api.train(
        served_market["events"].to_pandas(), served_market["items"].to_pandas(), params=PARAMS
    )
    assert api.recommend(again).equals(api.recommend(recommender))


def without(rows, name):
    return rows.drop_columns(name)


def with_first(rows, name, value):
    values = [value, *rows[name].to_pylist()[1:]]
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, name, pa.array(values, rows.schema.field(at).type))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: {"events": without(t["events"], "action")}, "events has no column action"),
        (lambda t: {"events": with_first(t["events"], "action", "bought")},
         "events: 1 of 320 rows break a rule, such as action: not one of"),
        (lambda t: {"events": with_first(t["events"], "item_id", "i99")},
         "events: 1 rows are of items that are not in items, such as 'i99'"),
        (lambda t: {"events": with_first(t["events"], "event_id", "0001")},
         "events: several rows have the same event_id"),
        (lambda t: {"events": t["events"].slice(0, 0)}, "events has no row"),
        (lambda t: {"items": with_first(t["items"], "item_id", "i01")}, "the same item_id"),
        (lambda t: {"events": [1, 2]}, "events is no frame"),
    ],
)  # fmt: skip
def test_wrong_frames_are_refused_in_one_line(change, says, served_market):
    given = {name: served_market[name] for name in ("events", "items")}
    with pytest.raises(BadInput) as error:
        api.train(**given | change(served_market), params=PARAMS)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cut_that_leaves_nothing_to_learn_is_refused(served_market):
    for cut, says in (("2020-01-01", "leaves nothing to learn"), ("soon", "is no ISO time")):
        with pytest.raises(BadParams, match=says):
            api.train(served_market["events"], served_market["items"], cut=cut, params=PARAMS)


def test_nobody_and_no_list_are_refused(recommender):
    with pytest.raises(BadInput, match="1 users have no event, such as 'nobody'"):
        api.recommend(recommender, ["u01", "nobody"])
    with pytest.raises(BadParams, match="top is 0"):
        api.recommend(recommender, top=0)
