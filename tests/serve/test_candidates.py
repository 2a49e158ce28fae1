"""Candidates: only what may be shown, and what is new on sale has its share of the positions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tessera.serve.candidates import Candidates, new_among
from tessera.serve.context import Context
from tessera.serve.investors import Investor
from tessera.serve.params import ServeParams
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf
from tessera.shared.policies.slate import SlatePolicy, position_marginals

DAY = 86_400_000_000
NOW = 1000 * DAY
END = np.iinfo(np.int64).max
WHO = Investor("u", 3, (), (), None)


class First:
    """Lists the first of what is eligible."""

    def retrieve(self, who, eligible_I, most):
        row_F = np.flatnonzero(eligible_I)[:most]
        return Found(row_F, -row_F.astype(float))


def candidates(params, epsilon=0.2, items=60, new=range(30, 50), unsuitable=range(40, 50)):
    from_I = np.full(items, NOW - 300 * DAY)
    from_I[list(new)] = NOW - 20 * DAY
    to_I = np.full(items, END)
    to_I[[0, 55]] = NOW
    suits_I = ~np.isin(np.arange(items), list(unsuitable))
    recommender = SimpleNamespace(
        retrievers={"dense": First()},
        suits_I=lambda _: suits_I.copy(),
        shelf=Shelf.of(pa.table({"item_id": [f"i{n:02d}" for n in range(items)]})),
    )
    wanted = new_among(params.new_share, params.retrieved + params.uniform, epsilon)
    return Candidates(
        recommender, from_I, to_I, params, {"dense": 1.0}, min(wanted, params.uniform),
        np.full(items, np.nan),
    )  # fmt: skip


def asked(n, later=0):
    return Context.of(f"r{n}", "u", NOW + later, 3)


def drawn(params, count=200, later=0, **more):
    one = candidates(params, **more)
    return [one.of_request(asked(n, later), WHO) for n in range(count)]


def test_candidates_are_found_then_new_then_drawn_evenly_and_each_is_one_that_may_be_shown():
    params = ServeParams(retrieved=10, uniform=6)
    for row_C, sources in drawn(params):
        assert sources == ["dense"] * 10 + ["new"] + ["uniform"] * 5
        assert len(set(row_C.tolist())) == 16
        assert row_C[:10].tolist() == list(range(1, 11))
        assert not set(row_C.tolist()) & {0, 55, *range(40, 50)}, "not on sale, or not suitable"
        assert row_C[10] in range(30, 40)


def test_every_item_that_suits_is_drawn_and_every_new_one_alike():
    shown = [row_C for row_C, _ in drawn(ServeParams(retrieved=2, uniform=5), count=600)]
    count_I = np.bincount(np.concatenate(shown), minlength=60)
    assert (count_I[[n for n in range(1, 60) if n not in (0, 55, *range(40, 50))]] > 0).all()
    assert np.ptp(count_I[30:40]) < 0.5 * count_I[30:40].mean()


@pytest.mark.parametrize(("new_share", "retrieved", "uniform", "epsilon"),
                         [(0.01, 5, 3, 0.2), (0.05, 4, 4, 0.2), (0.02, 4, 3, 0.1),
                          (0.01, 6, 2, 0.05)])  # fmt: skip
def test_new_items_have_their_share_of_the_positions_even_if_the_model_likes_none(
    new_share, retrieved, uniform, epsilon
):
    params = ServeParams(retrieved=retrieved, uniform=uniform, new_share=new_share)
    policy = SlatePolicy(0.5, epsilon, 3)
    row_C, sources = candidates(params, epsilon).of_request(asked(0), WHO)
    is_new_C = np.isin(row_C, range(30, 40))
    score_1C = np.where(is_new_C, -9.0, np.arange(len(row_C)))[None]
    every_1C = np.ones_like(score_1C, bool)
    marginal_LC = position_marginals(score_1C, every_1C, policy, 3)[0]
    assert marginal_LC[:, is_new_C].sum(axis=1).min() >= new_share - 1e-12
    few_C = is_new_C & (np.cumsum(is_new_C) < is_new_C.sum())
    if "uniform" in sources and not is_new_C[np.array(sources) == "uniform"].any():
        assert marginal_LC[0, few_C].sum() < new_share, "no more of them than it takes"


def test_new_ones_that_were_found_anyway_count_and_none_is_made_up():
    params = ServeParams(retrieved=10, uniform=6, new_share=0.05)
    found = drawn(params, count=20, new=range(7, 20))
    assert all("new" not in sources for _, sources in found), "four were found, which is enough"
    none = drawn(params, count=20, new=())
    assert all(sources == ["dense"] * 10 + ["uniform"] * 6 for _, sources in none)


def test_an_item_is_new_for_so_many_days():
    params = ServeParams(retrieved=2, uniform=6, new_days=25)
    assert all("new" in sources for _, sources in drawn(params, count=9, later=4 * DAY))
    assert all("new" not in sources for _, sources in drawn(params, count=9, later=5 * DAY))


def test_without_exploration_there_is_no_share_of_new_ones():
    assert new_among(0.01, 50, 0.0) == new_among(0.0, 50, 0.2) == 0
    assert [new_among(0.01, 50, epsilon) for epsilon in (0.5, 0.2, 0.01, 0.001)] == [1, 3, 50, 50]
