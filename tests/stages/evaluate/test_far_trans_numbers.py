"""The published protocol on the official files, beside the numbers of the plan."""

from datetime import UTC, datetime, timedelta
from functools import cache

import ibis
import pytest

from tessera.contracts.split import Split
from tessera.shared.metrics.profit import market_roi, roi
from tessera.stages.evaluate.baselines import fit
from tessera.stages.evaluate.holdout import build_holdout
from tessera.stages.evaluate.intervals import ten_most_popular
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import Slice, per_user, rank_all, slice_table
from tessera.stages.evaluate.returns import measure_returns
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.stage import ORDER
from tessera.stages.ingest.stage import run as ingest

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.filterwarnings("ignore:fetch_arrow_table"),
]
PARAMS = EvaluateParams(relevant_actions=("buy",), future_items=True, demand_days=181)
TABLES = (*ORDER, "quarantine")
EARLY, LATE = 2020, 2021


@pytest.fixture(scope="module")
def world(official, tmp_path_factory):
    """Holdout, returns and rankings at 1 July of a year, each computed once."""
    folder = tmp_path_factory.mktemp("far_trans")
    (folder / "request.json").write_text('{"cut": null}')
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    ingest(
        source=official / "far-trans",
        request=folder / "request.json",
        split=folder / "split.json",
        suitability=folder / "suitability.json",
        params=IngestParams(source="far_trans"),
        **paths,
    )
    engine = ibis.duckdb.connect()
    events, items, prices = (engine.read_parquet(paths[n]) for n in ("events", "items", "prices"))

    @cache
    def at(year):
        cut = datetime(year, 7, 1, tzinfo=UTC)
        end = datetime(year, 12, 31, 23, 59, tzinfo=UTC)
        split = Split(cut - timedelta(days=181), cut, end)
        holdout = build_holdout(events, items, split, PARAMS)
        return holdout, measure_returns(prices, holdout, split)

    @cache
    def lists(year, name):
        holdout, returns = at(year)
        return rank_all(fit(name, holdout, PARAMS), holdout, returns.priced_I)

    yield at, lists
    engine.disconnect()


@pytest.mark.parametrize(("year", "users", "ndcg"), [(EARLY, 2213, 0.2423), (LATE, 3326, 0.0669)])
def test_popularity_reproduces_the_primary_row(world, year, users, ndcg):
    at, lists = world
    value_N = per_user(lists(year, "popularity").top_NK, at(year)[0], (10,))["ndcg_10"]
    assert len(value_N) == users
    assert round(value_N.mean(), 4) == ndcg


@pytest.mark.parametrize(("year", "users", "ndcg"), [(EARLY, 1692, 0.3298), (LATE, 2793, 0.0836)])
def test_popularity_reproduces_the_priced_row(world, year, users, ndcg):
    at, lists = world
    holdout, returns = at(year)
    table = slice_table(
        Slice(item_I=returns.priced_I), {"popularity": lists(year, "popularity").priced_NK}, holdout
    )
    assert table["users"] == users
    assert round(table["models"]["popularity"]["ndcg_10"], 4) == ndcg


@pytest.mark.parametrize(
    ("year", "name", "ndcg"),
    [
        (EARLY, "item_knn", 0.303),
        (EARLY, "ease", 0.312),
        (LATE, "item_knn", 0.114),
        (LATE, "ease", 0.118),
    ],
)
def test_personal_baselines_come_close_to_the_plan(world, year, name, ndcg):
    at, lists = world
    found = per_user(lists(year, name).top_NK, at(year)[0], (10,))["ndcg_10"].mean()
    assert found == pytest.approx(ndcg, abs=0.003)


def test_demand_makes_the_lead_of_the_published_table_without_any_network(world):
    """What the catalogue tells at 2021-07-01 is worth more than twice EASE, whoever counts it."""
    at, lists = world
    found = {
        name: per_user(lists(LATE, name).top_NK, at(LATE)[0], (10,))["ndcg_10"].mean()
        for name in ("ease", "demand_leaning", "ease_demand")
    }
    assert found["demand_leaning"] == pytest.approx(0.2573, abs=0.003)
    assert found["ease_demand"] > 2 * found["ease"]


def test_profit_reproduces_market_and_most_popular(world):
    at, _ = world
    _, returns = at(LATE)
    assert returns.days == 183
    assert round(market_roi(returns.return_I, returns.days), 4) == 0.0103
    ten = ten_most_popular(returns)[None, :]
    assert round(roi(ten, returns.return_I, returns.days, 10)[0], 4) == 0.0057
    assert "GRS001003037" in returns.flagged  # -98 %
