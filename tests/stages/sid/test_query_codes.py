"""Queries bridge items that no word ties together, from what was known alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from benchmarks.query_bridge import agreement, coded, codes_of_queries, train_bridge
from benchmarks.query_codes import World, auc, draw_world, sharing, together
from tessera.stages.sid.params import SidParams

TINY = {"users": 80, "items": 64, "requests": 1_200, "days": 90, "queries": 0.8}
KINDS, QUERIES, ITEMS = 4, 120, 40
PARAMS = SidParams(epochs=30, batch_size=64, hidden=32, latent=8, contrast=1.0)


@pytest.fixture(scope="module")
def world():
    return draw_world(3, TINY)


@pytest.fixture(scope="module")
def planted():
    """Queries and items of four kinds, which share no word; items tell nothing of their kind."""
    rng = np.random.default_rng(0)
    query_Q, item_N = np.arange(QUERIES) % KINDS, np.arange(ITEMS) % KINDS
    query_QD = np.hstack([np.eye(KINDS)[query_Q], np.zeros((QUERIES, ITEMS))])
    item_ND = np.hstack([np.zeros((ITEMS, KINDS)), np.eye(ITEMS)])
    led_NQ = (item_N[:, None] == query_Q) & (rng.random((ITEMS, QUERIES)) < 0.2)
    return query_QD, item_ND, sparse.csr_array(led_NQ.astype(float)), query_Q, item_N


def apart(planted, params):
    """How much nearer a query is to items of its kind than to others."""
    query_QD, item_ND, led_NQ, query_Q, item_N = planted
    bridge = train_bridge(query_QD, item_ND, led_NQ, params)
    cosine_QN = bridge.latent(query_QD) @ bridge.latent(item_ND).T
    same_QN = query_Q[:, None] == item_N
    return cosine_QN[same_QN].mean() - cosine_QN[~same_QN].mean()


def test_queries_come_to_lie_with_what_is_clicked_under_them(planted):
    assert apart(planted, PARAMS) > 0.5
    assert abs(apart(planted, PARAMS.model_copy(update={"contrast": 0.0}))) < 0.2


def test_codes_of_a_query_are_those_of_its_kind_and_dealt_anew_they_are_not(planted):
    query_QD, item_ND, led_NQ, query_Q, item_N = planted
    bridge = train_bridge(query_QD, item_ND, led_NQ, PARAMS)
    code_NL = coded(bridge.latent(item_ND), item_N, 4, 0)
    assert np.array_equal(code_NL[:, 0], item_N), "the first level is the one that was given"
    latent_QZ = bridge.latent(query_QD)
    code_QWL = codes_of_queries(latent_QZ, code_NL, led_NQ)
    assert (code_QWL[:, 0, 0] == query_Q).all()
    other_Q = np.random.default_rng(1).permutation(QUERIES)
    sham_QWL = codes_of_queries(latent_QZ, code_NL, led_NQ[:, other_Q])
    assert (sham_QWL[:, 0, 0] == query_Q).mean() < 0.6


def test_a_pair_is_worth_the_deepest_level_that_agrees_with_any_code():
    code_QWL = np.array([[[1, 2, 3], [4, 5, 6]]])
    item_QCL = np.array([[[1, 2, 9], [4, 5, 6], [7, 2, 3], [4, 9, 6]]])
    assert agreement(code_QWL, item_QCL).tolist() == [[0.5, 1.0, 0.0, 0.25]]


def test_what_is_learnt_from_was_clicked_before_the_cut(world):
    item_M, query_M = world.led_NQ.nonzero()
    assert len(item_M) > 300
    assert set(world.period_Q[query_M].tolist()) == {0}
    clicked = {
        (query, item)
        for query, items, hit in zip(
            range(len(world.found_QC)), world.found_QC, world.click_QC, strict=True
        )
        for item in items[hit].tolist()
    }
    pairs = set(zip(query_M.tolist(), item_M.tolist(), strict=True))
    assert len(pairs - clicked) <= 0.02 * len(pairs), "but for who asks twice in half an hour"
    assert set(world.period_Q[world.is_new_Q].tolist()) == {2}, "new phrasings judge alone"


def test_the_sham_deals_clicks_out_among_queries_that_are_learnt_from(world):
    dealt = world.dealt_anew(0)
    assert (dealt.led_NQ != world.led_NQ).nnz > 0
    assert set(world.period_Q[dealt.led_NQ.nonzero()[1]].tolist()) == {0}
    assert np.array_equal(dealt.led_NQ.sum(axis=1), world.led_NQ.sum(axis=1)), "items keep theirs"


def test_scores_are_weighed_before_they_are_judged(world, rng):
    parts = [rng.random(world.found_QC.shape), world.click_QC + rng.random(world.found_QC.shape)]
    found = together(world, parts)
    assert auc(world, found)["all"] > 0.9
    later_Q = world.period_Q == 2
    turned = replace(world, click_QC=np.where(later_Q[:, None], ~world.click_QC, world.click_QC))
    assert np.array_equal(together(turned, parts), found)
    assert auc(turned, found)["all"] == pytest.approx(1 - auc(world, found)["all"], abs=2e-4)


def test_codes_by_purpose_are_shared_by_purpose(world):
    first_N = world.category_N
    purpose_N = world.serves_NP.argmax(axis=1)
    by_purpose, by_chance = (
        sharing(world, np.stack([first_N, second_N, second_N], axis=1))
        for second_N in (purpose_N, np.arange(len(first_N)) % 7)
    )
    assert by_purpose > 2.0
    assert by_chance == pytest.approx(1.0, abs=0.6)


def test_a_world_is_that_of_its_seed(world):
    again = draw_world(3, TINY)
    assert isinstance(again, World)
    assert np.array_equal(again.query_QD, world.query_QD)
    assert (again.led_NQ != world.led_NQ).nnz == 0
