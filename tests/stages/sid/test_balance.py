"""Items that would share a code get one each, as near as can be, and nobody else moves."""

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tessera.stages.sid import balance as balance_module
from tessera.stages.sid.balance import balance
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.ledger import append

COARSE = np.array([[0.0], [100.0], [200.0], [300.0]])
FINE = np.array([[0.0], [1.0], [2.0], [3.0]])
BOOK = ResidualKMeans(np.stack([COARSE, FINE]))


def given(values, ids=None, held=None, later=()):
    vectors = np.array(values, dtype=float)[:, None]
    ids = ids or [f"i{k}" for k in range(len(values))]
    code = BOOK.encode(vectors)
    return code, balance(code, vectors, BOOK, ids, held or {}, later)


def test_items_that_collide_are_spread_at_the_least_distance():
    plain, found = given([1.0, 1.1, 100.0])
    assert plain.tolist() == [[0, 1], [0, 1], [1, 0]]
    assert found.tolist() == [[0, 1], [0, 2], [1, 0]]


def test_nobody_moves_where_nobody_collides():
    plain, found = given([0.0, 1.0, 2.0, 101.0])
    assert np.array_equal(plain, found)


def test_a_code_given_before_is_left_to_its_item():
    _, found = given([1.0, 1.1], ["old", "new"], {"old": (0, 1, 0), "gone": (0, 2, 0)})
    assert found.tolist() == [[0, 1], [0, 0]], "2 belongs to an item that left"


def test_neither_the_order_of_rows_nor_other_prefixes_matter(rng):
    values = [*np.round(rng.random(12) * 3, 2).tolist(), 100.5, 101.5]
    ids = [f"i{k:02d}" for k in range(14)]
    _, found = given(values, ids)
    order = rng.permutation(14)
    _, mixed = given([values[k] for k in order], [ids[k] for k in order])
    assert np.array_equal(found[order], mixed)
    _, fewer = given(values[:12], ids[:12])
    assert np.array_equal(fewer, found[:12])


def test_more_items_than_codewords_share_them_evenly():
    _, found = given([0.0] * 10)
    assert sorted(np.bincount(found[:, 1], minlength=4)) == [2, 2, 3, 3]


@pytest.mark.parametrize("taken", range(5))
def test_items_collide_only_where_no_codeword_is_free(taken):
    held = {f"old{k}": (0, k, 0) for k in range(taken)}
    _, found = given([0.2, 0.3, 1.2, 1.3], held=held)
    both = [*found[:, 1].tolist(), *range(taken)]
    assert len(set(both)) == 4, "every free one is given"
    assert max(both.count(k) for k in range(4)) <= 2


def test_an_item_of_tomorrow_moves_nobody():
    _, today = given([1.0, 1.1], ["b", "c"])
    _, found = given([0.9, 1.0, 1.1], ["a", "b", "c"], later={"a"})
    assert np.array_equal(found[1:], today)
    assert found[0].tolist() == [0, 0], "the nearest that is left"


def test_codewords_are_given_evenly_however_many_days_it_takes():
    held = {}
    for day in range(10):
        item = f"i{day}"
        _, found = given([0.0], [item], held)
        held = append(held, [item], found)
    assert sorted(np.bincount([code[1] for code in held.values()], minlength=4)) == [2, 2, 3, 3]


def test_where_codewords_suffice_the_sum_of_distances_is_the_least(rng):
    values = np.round(rng.random(3) * 3, 2)
    _, found = given(values.tolist(), held={"old": (0, 2, 0)})
    ways = [sum((values - np.array(way)) ** 2) for way in permutations([0.0, 1.0, 3.0])]
    assert sum((values - found[:, 1]) ** 2) == pytest.approx(min(ways))


def test_many_items_of_one_prefix_cost_no_square_of_them(monkeypatch, rng):
    shapes = []
    monkeypatch.setattr(balance_module, "linear_sum_assignment", lambda cost_GJ: (
        shapes.append(cost_GJ.shape), linear_sum_assignment(cost_GJ))[1])  # fmt: skip
    _, found = given((rng.random(41) * 3).tolist())
    assert max(max(shape) for shape in shapes) <= 4
    assert sorted(np.bincount(found[:, 1])) == [10, 10, 10, 11]
