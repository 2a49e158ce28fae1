"""Words of a code are those that set its items apart, and no others."""

import numpy as np
import pytest

from tessera.shared.codes.words import MOST, code_words, item_terms, log_odds_z


def terms(*items):
    return [frozenset(one.split()) for one in items]


def test_what_all_have_and_what_one_has_is_no_word_of_a_code():
    told = terms("bond euro a1", "bond euro a2", "bond euro a3", "loan euro b1", "loan euro b2",
                 "loan euro b3")  # fmt: skip
    words = code_words(told, np.array([[0], [0], [0], [1], [1], [1]]))
    assert words.of == {(0,): ("bond",), (1,): ("loan",)}
    assert words.items == {(0,): 3, (1,): 3}


def test_words_come_from_what_the_code_has_and_not_from_what_it_lacks():
    told = terms(*["fund rare"] * 3, *["fund"] * 3, *["bond"] * 9)
    words = code_words(told, np.array([[0]] * 6 + [[1]] * 9))
    assert words.of[0,][0] == "fund"
    assert words.of[1,] == ("bond",)


def test_a_word_of_few_of_the_items_is_none_of_the_code():
    told = terms(*["fund odd"] * 4, *["fund"] * 6, *["bond"] * 10)
    assert code_words(told, np.array([[0]] * 10 + [[1]] * 10)).of[0,] == ("fund",)


def test_a_deeper_level_is_told_beside_its_siblings_alone():
    told = terms(*["bond bank"] * 4, *["bond rail"] * 4, *["loan rail"] * 8)
    code_NL = np.array([[0, 1]] * 4 + [[0, 2]] * 4 + [[1, 2]] * 8)
    words = code_words(told, code_NL)
    assert words.of[0,] == ("bond",)
    assert words.of[0, 1] == ("bank",)
    assert words.of[0, 2] == ("rail",)
    assert (1, 2) not in words.of, "an only child says no more than its parent"


def test_equal_weights_stand_by_name_and_the_order_of_items_changes_nothing(rng):
    told = terms(*["zeta beta alpha omega delta"] * 5, *["other"] * 5)
    code_NL = np.array([[0]] * 5 + [[1]] * 5)
    words = code_words(told, code_NL)
    assert words.of[0,] == ("alpha", "beta", "delta", "omega")
    assert len(words.of[0,]) == MOST
    order = rng.permutation(10)
    assert code_words([told[k] for k in order], code_NL[order]).of == words.of


def test_a_word_within_another_one_is_left_out():
    told = [frozenset({"covered bond", "covered", "bond"})] * 4 + [frozenset({"loan"})] * 4
    assert code_words(told, np.array([[0]] * 4 + [[1]] * 4)).of[0,] == ("covered bond",)


def test_chance_makes_few_words(rng):
    vocabulary = [f"t{n}" for n in range(100)]
    told = [frozenset(rng.choice(vocabulary, 20)) for _ in range(200)]
    words = code_words(told, rng.integers(0, 10, (200, 1)))
    assert sum(len(one) for one in words.of.values()) <= 6, "of 1,000 that could be"


def test_terms_are_fields_as_they_stand_and_words_of_letters():
    found = item_terms(["ÖBB Anleihe 2029 with", None], ["Real Estate", None])
    assert found == {"öbb", "anleihe", "real estate"}


def test_catalogues_without_words_or_items_have_none():
    assert code_words([frozenset()] * 3, np.array([[0], [0], [1]])).of == {}
    assert code_words([], np.zeros((0, 2), int)).of == {}


def test_a_term_of_all_but_the_group_is_against_it():
    z = log_odds_z(np.array([1.0]), np.array([10.0]), np.array([80.0]), np.array([100.0]))
    assert z[0] == pytest.approx(-3.9, abs=0.5)
