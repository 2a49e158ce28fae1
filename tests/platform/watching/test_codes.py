"""What is said of semantic IDs is what the trie of a bundle holds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tessera.bundles.manifest import MANIFEST
from tessera.platform.watching.codes import codes, codes_of
from tessera.shared.codes.trie import build_trie, save_trie

CODES = np.array([[0, 0, 0], [0, 0, 1], [2, 1, 0], [1, 3, 0]])


def write(bundle, code_NL, against="v0"):
    bundle.mkdir(parents=True)
    (bundle / "trie.json").write_text(json.dumps([f"i{n}" for n in range(len(code_NL))]))
    save_trie(build_trie(code_NL), bundle / "trie.safetensors")
    (bundle / MANIFEST).write_text(json.dumps({"judged_against": against}))
    return bundle


def test_codes_come_out_of_the_trie_as_they_went_in():
    trie = build_trie(CODES)
    assert codes_of(trie).tolist() == CODES[trie.item_N].tolist()


def test_capacity_leaves_the_suffix_out_and_churn_counts_items_that_moved(tmp_path):
    write(tmp_path / "v1", CODES)
    moved = CODES.copy()
    moved[3] = (1, 2, 0)
    bundle = write(tmp_path / "v2", moved, against="v1")
    found = codes(bundle, tmp_path, 40)
    assert found["codes.capacity", "all"].value == pytest.approx(4 / (4 + 1 + 1))
    assert found["codes.churn", "all"].value == 0.25
    assert found["codes.churn", "all"].rows == 4


def test_without_a_bundle_before_there_is_no_churn_and_without_codes_nothing(tmp_path):
    assert set(codes(write(tmp_path / "v1", CODES), tmp_path, 40)) == {("codes.capacity", "all")}
    (tmp_path / "v0").mkdir()
    assert codes(tmp_path / "v0", tmp_path, 40) == {}
