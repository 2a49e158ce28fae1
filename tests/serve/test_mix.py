"""Retrievers share the places: as the shares say, each item once, and learnt where it pays."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from tessera.serve.investors import Investor
from tessera.serve.mix import NOWHERE, Acquisition, learn, learnt
from tessera.serve.retrieval import Found, mixed, places

SOMEBODY = Investor("u", 4, (), (), None)


class Listed:
    """A retriever that lists these rows in this order."""

    def __init__(self, *rows):
        self.rows = rows

    def retrieve(self, who, eligible_I, most):
        rows = [row for row in self.rows if eligible_I[row]][:most]
        return Found(np.array(rows, np.int64), np.zeros(len(rows)))


class Silent:
    def retrieve(self, who, eligible_I, most):
        return None


def found(shares, most, retrievers, closed=()):
    eligible_I = ~np.isin(np.arange(20), closed)
    answer = mixed(retrievers, SOMEBODY, eligible_I, most, shares)
    assert eligible_I.sum() == 20 - len(closed), "what is asked with is left as it is"
    return answer.row_F.tolist(), answer.source_F


def test_each_retriever_fills_its_places_and_goes_on_where_another_was_first():
    both = {"dense": Listed(0, 1, 2, 3, 4), "walk": Listed(1, 0, 7, 8, 9)}
    rows, sources = found({"dense": 0.5, "walk": 0.5}, 4, both)
    assert (rows, sources) == ([0, 1, 7, 8], ["dense"] * 2 + ["walk"] * 2)
    assert found({"walk": 0.25, "dense": 0.75}, 4, both)[0] == [1, 0, 2, 3]
    assert found({"dense": 0.5, "walk": 0.5}, 4, both, closed=(0, 7))[0] == [1, 2, 8, 9]


def test_places_that_are_left_go_to_the_shares_and_then_to_the_others():
    known = {"dense": Silent(), "walk": Listed(3, 4), "segment": Listed(4, 5, 6, 7, 8)}
    rows, sources = found({"dense": 0.5, "walk": 0.5}, 5, known)
    assert (rows, sources) == ([3, 4, 5, 6, 7], ["walk"] * 2 + ["segment"] * 3)
    alike = known | {"walk": Listed(3, 4, 9)}
    assert found({"dense": 0.5, "walk": 0.5}, 4, alike)[0] == [3, 4, 9, 5], "its rest is first"
    assert found({"dense": 1.0}, 3, {"dense": Listed(1), "walk": Listed(1, 2)})[0] == [1, 2]
    assert found({"content": 1.0}, 2, known)[0] == [3, 4], "a bundle may lack a retriever"
    assert found({"dense": 1.0}, 0, known) == ([], [])


@pytest.mark.parametrize("most", range(12))
def test_all_places_are_dealt_out(most):
    dealt = places({"dense": 0.6, "walk": 0.3, "content": 0.3}, most)
    assert sum(dealt.values()) == most
    assert all(abs(dealt[name] - most * share / 1.2) < 1
               for name, share in (("dense", 0.6), ("walk", 0.3), ("content", 0.3)))  # fmt: skip


STEP = 5


def world(rng, requests, retrievers=9, kinds=6):
    """Each retriever is good at a few kinds of requests; some kinds are much more frequent."""
    skill_SK = rng.random((retrievers, kinds)) ** 3
    chance_K = 1 / np.arange(1, kinds + 1)

    def draw():
        kind_Q = rng.choice(kinds, requests, p=chance_K / chance_K.sum())
        has_QS = rng.random((requests, retrievers)) < skill_SK[:, kind_Q].T
        place_QS = rng.integers(0, 2 * STEP, (requests, retrievers))
        return np.where(has_QS, place_QS, NOWHERE)

    return draw


def reached(place_QS, dealt_S):
    return (place_QS < dealt_S).any(axis=1).mean()


def exhaustive(place_QS, most):
    each = range(0, most + 1, STEP)
    every = (one for one in product(each, repeat=place_QS.shape[1]) if sum(one) == most)
    return max(reached(place_QS, np.array(one)) for one in every)


def test_greedy_reaches_its_share_of_the_best_and_beats_the_best_by_mean_on_later_requests(rng):
    better = []
    for _ in range(20):
        draw = world(rng, 600, retrievers=6)
        earlier, later = draw(), draw()
        dealt_S = learn(earlier, 3 * STEP, STEP)
        assert dealt_S.sum() == 3 * STEP
        assert reached(earlier, dealt_S) >= 0.63 * exhaustive(earlier, 3 * STEP)
        alone_S = (earlier < STEP).mean(axis=0)
        by_mean_S = np.zeros(len(alone_S), int)
        by_mean_S[np.argsort(-alone_S)[:3]] = STEP
        better.append(reached(later, dealt_S) - reached(later, by_mean_S))
    assert np.mean(better) > 3 * np.std(better) / 20**0.5
    assert np.min(better) > -0.05


def test_where_one_retriever_finds_what_all_find_it_has_all_places():
    place_QS = np.array([[3, 4, NOWHERE], [12, NOWHERE, NOWHERE], [0, 0, 0]])
    assert learn(place_QS, 15, STEP).tolist() == [15, 0, 0]
    assert learn(np.zeros((0, 3), int), 15, STEP).sum() == 15


class Engine:
    """Investors a want what `dense` lists, the others what `walk` lists; row 9 is not on sale."""

    def __init__(self, shares):
        self.recommender = SimpleNamespace(
            retrievers={"dense": Listed(0, 1, 2, 3), "walk": Listed(7, 8, 6, 5)}
        )
        self.params = SimpleNamespace(retrieved=4)
        self.item_row = {f"i{row}": row for row in range(10)}
        self.scorer = SimpleNamespace(now=lambda user, moment: moment)
        self.candidates = SimpleNamespace(
            shares=shares,
            eligible_I=lambda who, moment: np.arange(10) < 9,
            new_rows=lambda moment: np.array([7]),
        )

    def who(self, user, now):
        return Investor(user, 4, (), (), None if user == "cold" else np.ones(2))


def acquired(count):
    wanted = {"a": ("i0", "i1"), "b": ("i7", "i8"), "cold": ("i7", "i7"), "c": ("i9", "gone")}
    return [
        Acquisition(user, items[moment % 2], moment)
        for moment in range(count)
        for user, items in wanted.items()
    ]


def test_shares_are_learnt_from_the_earlier_acquisitions_and_tried_on_the_later_ones():
    one = learnt(Engine({"dense": 1.0}), acquired(20)[::-1], 2)
    assert one.shares == {"dense": 0.5, "walk": 0.5}
    assert one.learnt_from == 20, "neither the cold one nor what no list may hold"
    assert len(one.found_Q) == 30
    assert (one.found_Q.mean(), one.served_Q.mean()) == (1.0, pytest.approx(1 / 3))
    assert one.gain == (pytest.approx(2 / 3), pytest.approx((2 / 9 / 30) ** 0.5))
    assert (one.is_cold_Q.sum(), one.is_new_Q.sum()) == (10, 15)
    nothing = learnt(Engine({"dense": 0.5, "walk": 0.5}), acquired(20), 2)
    assert nothing.gain == (0.0, 0.0)
