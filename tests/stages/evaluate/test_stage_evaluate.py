import csv
import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tessera.shared.policies.suitability import Unknown
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.stage import run

PARAMS = EvaluateParams(
    draws=50, ease_l2=2.0, als_factors=4, als_l2=1.0, knn_shrink=0.0, recent_days=20
)
ROW = {"user_id": "u6", "score": 0.0}
TRAINED = ["hstu", "sasrec"]
FITTED = [
    "random",
    "popularity",
    "recent_popularity",
    "item_knn",
    "ease",
    "popularity_demand",
    "demand_leaning",
    "ease_demand",
    "als",
]


@pytest.fixture
def evaluate(tmp_path):
    def _evaluate(tables, name="run", params=PARAMS):
        folder = tmp_path / name
        ranking, curves = folder / "ranking.json", folder / "curves"
        opened = tables.open(folder)
        metrics = run(**opened, ranking=ranking, curves=curves, params=params)
        return metrics, json.loads(ranking.read_text()), folder

    return _evaluate


@pytest.fixture(scope="module")
def tasted(two_tastes, tmp_path_factory):
    """Metrics, table and folder of one run on the two tastes."""
    folder = tmp_path_factory.mktemp("tasted")
    ranking, curves = folder / "ranking.json", folder / "curves"
    metrics = run(**two_tastes.open(folder), ranking=ranking, curves=curves, params=PARAMS)
    return metrics, json.loads(ranking.read_text()), folder


def shuffled(table, rng):
    return table.take(pa.array(rng.permutation(len(table))))


def files_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_lists_of_the_shop_match_hand_computation(shop, evaluate):
    metrics, table, _ = evaluate(shop)
    # After what is held, gone and unknown: u1 C D, u2 C B, u3 C, u7 nothing.
    second = 1 / np.log2(3)
    of_third = 1 / (1 + second)
    assert metrics["hstu_ndcg_10"] == pytest.approx((1 + second + of_third + 0) / 4, abs=1e-6)
    assert metrics["hstu_mrr_10"] == pytest.approx((1 + 1 / 2 + 1) / 4)
    assert metrics["hstu_recall_10"] == pytest.approx((1 + 1 + 1 / 2) / 4)
    # Popularity lists B C for u2 and u7, C D for u1, A B C for u3.
    of_third = (1 + 1 / 2) / (1 + second)
    assert metrics["popularity_ndcg_10"] == pytest.approx((1 + 1 + of_third + 1) / 4, abs=1e-6)
    assert metrics["users"] == 4.0
    assert table["protocol"]["candidates"] == 5
    assert table["protocol"]["relevant_pairs"] == 5
    assert list(table["models"]) == TRAINED + FITTED


def test_every_model_has_every_metric(tasted):
    _, table, _ = tasted
    ranks = {f"{name}_{k}" for name in ("hr", "ndcg", "mrr", "recall") for k in (5, 10, 50)}
    shape = {"coverage_10", "gini_10", "novelty_10", "popularity_10", "top1pct_share_10", "roi_10"}
    for metrics in table["models"].values():
        assert set(metrics) == ranks | shape
    assert set(table["slices"]) == {
        "new_users",
        "cold_items",
        "long_tail",
        "born_after_cut",
        *(f"risk_{level}" for level in (1, 2, 3, 4)),
        "priced_items",
    }


def test_the_lead_is_over_the_best_model_that_is_not_on_trial(tasted):
    metrics, table, _ = tasted
    rival = table["intervals"]["ndcg_10_minus_best_baseline"]["best_baseline"]
    means = {name: one["ndcg_10"] for name, one in table["models"].items()}
    assert rival == max((name for name in means if name != "hstu"), key=means.get)
    assert metrics["lead_ndcg_10_mean"] == pytest.approx(means["hstu"] - means[rival], abs=2e-6)
    assert metrics["lead_ndcg_10_low"] < metrics["lead_ndcg_10_mean"]
    assert metrics["lead_ndcg_10_mean"] < metrics["lead_ndcg_10_high"]


def test_risk_is_read_as_of_the_cut_and_unknown_is_lowest(shop, evaluate):
    _, table, _ = evaluate(shop)
    # u1 is 2 until day 11; u2 never said, u3 only on day 12, u7 has no row.
    assert table["slices"]["risk_2"]["users"] == 1
    assert table["slices"]["risk_1"]["users"] == 3
    assert table["slices"]["risk_4"]["users"] == 0


def test_a_slice_of_items_counts_only_them_as_relevant(shop, evaluate):
    _, table, _ = evaluate(shop, params=PARAMS.model_copy(update={"cold_days": 0}))
    cold = table["slices"]["cold_items"]
    # Cold is C alone among what is relevant: u1 finds it first, u3 second in the popular list.
    assert cold["users"] == 2
    assert cold["models"]["hstu"]["recall_10"] == 1.0
    expected = (1 + 1 / np.log2(4)) / 2  # u3: A B C
    assert cold["models"]["popularity"]["ndcg_10"] == pytest.approx(expected, abs=1e-6)


def test_the_metrics_print_recall_of_cold_items_for_every_model(shop, evaluate):
    metrics, table, _ = evaluate(shop)
    cold = table["slices"]["cold_items"]
    assert cold["users"] > 0
    for model in table["models"]:
        assert metrics[f"{model}_cold_recall_10"] == cold["models"][model]["recall_10"]


def test_items_born_after_the_cut_are_a_slice_where_they_may_be_listed(shop, evaluate):
    lists = [*shop.lists.to_pylist(), ROW | {"model": "sasrec", "item_id": "F", "rank": 2}]
    lists += [ROW | {"model": "sasrec", "item_id": "C", "rank": 1}]
    shop = replace(shop, lists=pa.Table.from_pylist(lists, schema=shop.lists.schema))
    metrics, table, _ = evaluate(shop, params=PARAMS.model_copy(update={"future_items": True}))
    born = table["slices"]["born_after_cut"]
    # u6 alone acquires F: SASRec lists it second, HSTU lists nothing for u6.
    assert born["users"] == 1
    assert born["models"]["sasrec"]["ndcg_10"] == pytest.approx(1 / np.log2(3), abs=1e-6)
    assert metrics["sasrec_born_after_cut_recall_10"] == 1.0
    assert metrics["hstu_born_after_cut_recall_10"] == 0.0


def test_without_items_born_after_the_cut_the_table_says_why(shop, evaluate):
    found = {
        "data.future_items is false": shop,
        "first offered after the cut": replace(
            shop, items=shop.items.set_column(1, "valid_from", [pa.nulls(7, shop.items[1].type)])
        ),
    }
    for number, (why, tables) in enumerate(found.items()):
        metrics, table, _ = evaluate(tables, f"run {number}")
        assert table["slices"]["born_after_cut"]["models"] is None
        assert why in table["slices"]["born_after_cut"]["why"]
        assert not [name for name in metrics if "born_after_cut" in name]
    bought = shop.events.filter(pc.not_equal(shop.events["item_id"], "F"))
    params = PARAMS.model_copy(update={"future_items": True})
    _, table, _ = evaluate(replace(shop, events=bought), "nobody", params)
    assert table["slices"]["born_after_cut"]["why"] == "no test investor acquires any"


def test_without_prices_there_is_no_profit(shop, evaluate):
    metrics, table, _ = evaluate(shop)
    assert table["profit"] is None
    assert "priced_items" not in table["slices"]
    assert not [name for name in metrics if "roi" in name]


def test_profit_of_the_market_is_the_mean_return_by_month(tasted):
    metrics, table, _ = tasted
    start, end = (np.array([10 + k + d * (k % 3) / 50 for k in range(30)]) for d in (48, 88))
    expected = (1 + (end / start - 1).mean()) ** (30 / 40) - 1
    assert metrics["market_roi_10"] == pytest.approx(expected, abs=1e-6)
    assert table["profit"]["days"] == 40
    assert table["profit"]["priced_items"] == 30
    low, high = (table["profit"]["market"][end] for end in ("low", "high"))
    assert low < expected < high


def test_folds_measure_closed_forms_with_test_periods_of_equal_length(tasted):
    _, table, _ = tasted
    assert [fold["cut"][:10] for fold in table["folds"]] == [
        "2024-01-21",
        "2024-01-31",
        "2024-02-10",
    ]
    assert table["folds"][0]["test_until"].startswith("2024-03-01")
    assert list(table["folds"][0]["models"]) == FITTED[1:-1]


def test_a_fold_equals_a_run_at_its_cut(two_tastes, tasted, evaluate):
    _, table, _ = tasted
    fold = table["folds"][1]
    length = two_tastes.split.test_until - two_tastes.split.cut
    cut = two_tastes.split.folds[1]
    split = replace(two_tastes.split, cut=cut, test_until=cut + length, folds=())
    _, alone, _ = evaluate(replace(two_tastes, split=split), "alone")
    assert fold["users"] == alone["users"]
    for name, metrics in fold["models"].items():
        assert metrics["ndcg_10"] == alone["models"][name]["ndcg_10"]


def test_a_fold_before_which_nobody_can_be_tested_is_left_out_and_said(
    two_tastes, tasted, evaluate, caplog
):
    _, table, _ = tasted
    begun = two_tastes.split.cut - timedelta(days=3000)
    split = replace(two_tastes.split, folds=(begun, *two_tastes.split.folds))
    _, again, _ = evaluate(replace(two_tastes, split=split), "begun")
    assert [fold["cut"] for fold in again["folds"]] == [fold["cut"] for fold in table["folds"]]
    assert f"further cut {begun} left out" in caplog.text


def test_equal_rows_in_any_order_give_equal_bytes(two_tastes, tasted, evaluate, rng):
    mixed = replace(
        two_tastes,
        **{
            name: shuffled(getattr(two_tastes, name), rng)
            for name in ("events", "items", "users", "prices", "lists")
        },
    )
    _, _, first = tasted
    _, _, second = evaluate(mixed, "second")
    assert files_of(first) == files_of(second)
    assert len(files_of(first)) == 9


def test_what_comes_after_the_test_period_changes_nothing(two_tastes, evaluate, rng):
    end = two_tastes.split.cut + (two_tastes.split.test_until - two_tastes.split.cut) / 2
    shorter = replace(two_tastes, split=replace(two_tastes.split, test_until=end))
    late = shorter.events["event_ts"].to_numpy() > np.datetime64(end.replace(tzinfo=None))
    before = shorter.events["item_id"].to_numpy(zero_copy_only=False)
    items = before.copy()
    items[late] = rng.permutation(items[late])
    assert (items != before).any()
    changed = replace(shorter, events=shorter.events.set_column(2, "item_id", [items.tolist()]))
    assert evaluate(shorter, "one")[1] == evaluate(changed, "two")[1]


def test_curves_hold_one_column_a_model(tasted):
    metrics, _, folder = tasted
    with (folder / "curves" / "ndcg.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["k", "hstu", *FITTED]
    at_ten = next(row for row in rows if row["k"] == "10")
    assert float(at_ten["ease"]) == pytest.approx(metrics["ease_ndcg_10"], abs=1e-6)
    recalls = (folder / "curves" / "recall.csv").read_text().splitlines()[1:]
    values = np.array([line.split(",")[1:] for line in recalls], dtype=float)
    assert (np.diff(values, axis=0) >= 0).all()
    assert (folder / "curves" / "ranking.png").read_bytes().startswith(b"\x89PNG")


def test_the_model_is_not_its_own_baseline():
    from tessera.stages.evaluate.intervals import best_baseline

    ends = ("", "_session", "_generative", "_trunk", "_walk", "_blend")
    own = {f"hstu{end}": 0.29 + 0.01 * nth for nth, end in enumerate(ends)}
    assert best_baseline({**own, "ease": 0.28, "sasrec": 0.27}) == "ease"


def rated(tables, *risks, **of):
    """The same tables with risk classes of the items in order, the rest unknown."""
    items = tables.items
    risk = pa.array([*risks, *[None] * (len(items) - len(risks))], pa.int64())
    at = items.schema.get_field_index("risk_class")
    return replace(tables, items=items.set_column(at, "risk_class", risk), **of)


def test_where_nothing_suits_the_suited_lists_are_empty_whatever_the_others_say(shop, evaluate):
    """Nobody rated an item, which counts as 4; u1 is of class 2 at the cut, the others unknown."""
    _, table, _ = evaluate(shop)
    found = table["suited"]
    assert found["nothing_suits"] == table["users"] == 4
    assert (found["unknown_user"], found["unknown_item"]) == (1, 4)
    assert found["models"]["hstu"] == {"hr_10": 0.0, "ndcg_10": 0.0, "shown": 0.0}
    assert table["models"]["hstu"]["hr_10"] == 0.75


def test_what_unknown_counts_as_decides_what_suits(shop, evaluate):
    _, table, _ = evaluate(replace(shop, unknown=Unknown(user=1, item=1)))
    assert table["suited"]["nothing_suits"] == 0
    for name, one in table["suited"]["models"].items():
        assert one["hr_10"] == table["models"][name]["hr_10"]
        assert one["ndcg_10"] == table["models"][name]["ndcg_10"]


def test_what_does_not_suit_leaves_the_list_and_the_rest_moves_up(shop, evaluate):
    """A, B, C are of class 1, 3, 2; u1 (class 2) has C D, u2 (unknown) C B, u3 C."""
    _, table, _ = evaluate(rated(shop, 1, 3, 2))
    found = table["suited"]
    assert found["nothing_suits"] == 0, "A suits everybody"
    assert found["models"]["hstu"]["shown"] == pytest.approx(1 / 40), "C for u1 alone"
    assert found["models"]["hstu"]["hr_10"] == pytest.approx(1 / 4)
    _, table, _ = evaluate(rated(shop, 1, 3, 2, unknown=Unknown(user=3, item=4)), "bold")
    assert table["suited"]["models"]["hstu"]["hr_10"] == table["models"]["hstu"]["hr_10"]
