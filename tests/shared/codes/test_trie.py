"""The trie against a plain dictionary of prefixes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.shared.codes.trie import NOWHERE, build_trie, load_trie, save_trie

CODES = np.array([[2, 1, 0], [0, 5, 0], [2, 1, 1], [2, 3, 0], [0, 5, 1]])


def walk(trie, code):
    node = np.zeros(1, np.int64)
    for depth, codeword in enumerate(code):
        node = trie.step(depth, node, np.array([codeword]))
    return node


def test_children_are_what_some_item_continues_with():
    trie = build_trie(CODES)
    assert trie.children(()).tolist() == [0, 2]
    assert trie.children((2,)).tolist() == [1, 3]
    assert trie.children((2, 1)).tolist() == [0, 1]
    assert trie.children((7,)).tolist() == []
    assert trie.children((2, 5)).tolist() == []
    assert trie.children((2, 1, 1)).tolist() == []


def test_every_item_is_found_at_its_own_leaf():
    trie = build_trie(CODES)
    for row, code in enumerate(CODES):
        assert trie.items(walk(trie, code)).tolist() == [row]
    assert walk(trie, [0, 1, 0]).tolist() == [NOWHERE]
    assert trie.items(np.array([NOWHERE])).tolist() == [NOWHERE]


def test_a_codeword_of_another_parent_leads_nowhere():
    trie = build_trie(CODES)
    node = trie.step(0, np.zeros(3, np.int64), np.array([0, 2, 1]))
    assert trie.step(1, node, np.array([5, 5, 5])).tolist()[1:] == [NOWHERE, NOWHERE]
    assert trie.step(1, node, np.array([-1, 99, 1])).tolist() == [NOWHERE] * 3


def test_masks_of_a_beam_allow_exactly_the_children():
    trie = build_trie(CODES)
    node = np.append(trie.step(0, np.zeros(2, np.int64), np.array([2, 0])), NOWHERE)
    mask = trie.allowed(1, node, 8)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[1, 3], [5], []]


@given(st.sets(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=60))
def test_any_set_of_codes_is_answered_like_a_dictionary(codes):
    table = np.array(sorted(codes, reverse=True))
    trie = build_trie(table)
    for depth in range(3):
        for prefix in {code[:depth] for code in codes} | {(9,) * depth}:
            expected = sorted({code[depth] for code in codes if code[:depth] == prefix})
            assert trie.children(prefix).tolist() == expected
    leaves = [int(trie.items(walk(trie, code))[0]) for code in table]
    assert leaves == list(range(len(table)))


def test_a_trie_survives_the_disk(tmp_path):
    trie = build_trie(CODES)
    save_trie(trie, tmp_path / "trie.safetensors")
    again = load_trie(tmp_path / "trie.safetensors")
    assert again.children((2, 1)).tolist() == [0, 1]
    assert again.item_N.tolist() == trie.item_N.tolist()
    assert again.length == 3


def test_shared_and_negative_codes_are_refused():
    with pytest.raises(ValueError, match="share"):
        build_trie(np.array([[1, 2], [1, 2]]))
    with pytest.raises(ValueError, match="negative"):
        build_trie(np.array([[1, -1]]))


def test_an_empty_catalogue_has_an_empty_trie():
    trie = build_trie(np.zeros((0, 3), np.int64))
    assert trie.children(()).tolist() == []
    assert trie.step(0, np.zeros(1, np.int64), np.zeros(1, np.int64)).tolist() == [NOWHERE]
