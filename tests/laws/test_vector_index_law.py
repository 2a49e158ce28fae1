"""What every kind of index over vectors must do.  A new one inherits the suite by its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tessera.bundles.indexes import kinds, read_lists
from tessera.bundles.vectors import Search
from tessera.contracts.errors import BadInput, BadParams, BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.stages.index.params import IndexParams

ROWS, WIDTH, REGIONS, MOST = 4000, 16, 4, 20
FOUND = {"flat": 1.0, "lists": 0.95, "hnsw": 0.95, "pq": 0.95}
"""Least share of the nearest that a kind finds on average, whatever is listed."""


def unit(vector_AD):
    return (vector_AD / np.linalg.norm(vector_AD, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def few_lists(monkeypatch):
    """Let a search read an eighth of this small catalogue, and not all of it."""
    monkeypatch.setattr(read_lists, "_READ", 32)


@pytest.fixture(scope="module")
def world():
    """Vectors and queries around the centres of regions, and the region of each."""
    rng = np.random.default_rng(5)
    centre_RD = unit(rng.normal(size=(REGIONS, WIDTH)))
    at_A = rng.integers(0, REGIONS, ROWS + 40)
    all_AD = unit(centre_RD[at_A] + 0.15 * rng.normal(size=(len(at_A), WIDTH)))
    all_AD[11:14] = all_AD[10]
    return all_AD[:ROWS], all_AD[ROWS:], at_A[:ROWS], at_A[ROWS:]


@pytest.fixture(scope="module", params=kinds.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(kind, world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / kind
    folder.mkdir()
    kinds.write(world[0], folder, kind)
    return folder


@pytest.fixture(scope="module")
def search(bundle):
    return Search(kinds.open_index(bundle), [])


def nearest(world, query_D, listed_N):
    score_N = np.where(listed_N, world[0].astype(np.float64) @ query_D, -np.inf)
    return np.argsort(-score_N, kind="stable")[:MOST]


def listings(world):
    """Rows that are listed by name: all, by chance, and only far from where queries lie."""
    rng, region_N = np.random.default_rng(6), world[2]
    return {
        "all": np.ones(ROWS, bool),
        "half": rng.random(ROWS) < 0.5,
        "few": rng.random(ROWS) < 0.01,
        "regions": region_N < 2,
        "all but a region": region_N != 3,
    }


@pytest.mark.parametrize("name", ["all", "half", "few", "regions", "all but a region"])
def test_what_is_listed_is_found_and_the_nearest_of_it(kind, search, world, name):
    listed_N, shares = listings(world)[name], []
    for query_D in world[1]:
        row_K, score_K = search.among(query_D, listed_N, MOST)
        assert len(set(row_K.tolist())) == len(row_K) == min(MOST, listed_N.sum())
        assert listed_N[row_K].all()
        assert (np.diff(score_K) <= 0).all()
        np.testing.assert_allclose(score_K, world[0][row_K] @ query_D, atol=1e-5)
        shares.append(len(np.intersect1d(row_K, nearest(world, query_D, listed_N))) / len(row_K))
    assert np.mean(shares) >= FOUND[kind]
    assert min(shares) > 0.5, "nobody goes without, also whose own region is closed"


@pytest.mark.parametrize("most", [1, 300, ROWS, 2 * ROWS])
def test_as_many_are_found_as_are_wanted_and_listed(search, world, most):
    listed_N = listings(world)["regions"]
    row_K, _ = search.among(world[1][0], listed_N, most)
    assert len(set(row_K.tolist())) == min(most, listed_N.sum())
    assert listed_N[row_K].all()


def test_where_nothing_is_listed_nothing_is_found(search, world):
    row_K, score_K = search.among(world[1][0], np.zeros(ROWS, bool), MOST)
    assert (len(row_K), len(score_K)) == (0, 0)


def test_equal_products_stand_in_the_order_of_the_rows(search, world):
    row_K, _ = search.among(world[0][10], np.ones(ROWS, bool), 4)
    assert row_K.tolist() == [10, 11, 12, 13]


def test_the_same_vectors_give_the_same_bytes_and_answers(kind, bundle, search, world, tmp_path):
    kinds.write(world[0], tmp_path, kind)
    for path in bundle.iterdir():
        told = [hashlib.sha256(one.read_bytes()).digest() for one in (path, tmp_path / path.name)]
        assert told[0] == told[1], path.name
    again = Search(kinds.open_index(tmp_path), [])
    for query_D in world[1][:5]:
        one, other = (each.among(query_D, world[2] > 2, MOST) for each in (search, again))
        np.testing.assert_array_equal(one, other)


def test_vectors_come_back_as_they_were_written(search, world):
    assert (search.index.count, search.index.width) == (ROWS, WIDTH)
    np.testing.assert_array_equal(search.index.vectors(0, ROWS), world[0])
    np.testing.assert_array_equal(search.index.vectors(ROWS - 3, 3), world[0][-3:])


def test_files_are_mapped_and_not_read(bundle, search):
    search.among(np.ones(WIDTH, np.float32), np.ones(ROWS, bool), MOST)
    mapped = Path("/proc/self/maps").read_text()
    assert all(str(path) in mapped for path in bundle.iterdir())


def test_a_torn_file_is_one_line(bundle, tmp_path, kind):
    for path in bundle.iterdir():
        torn = tmp_path / path.name
        torn.mkdir()
        for one in bundle.iterdir():
            whole = one.read_bytes()
            (torn / one.name).write_bytes(whole[: len(whole) // 2] if one == path else whole)
        with (
            pytest.raises(BrokenBundle, match="publish it again"),
            translate_errors(BrokenBundle, "vectors", "publish it again"),
        ):
            kinds.open_index(torn)


def test_a_vector_that_is_no_number_makes_no_index_but_a_flat_one(kind, world, tmp_path):
    vector_ND = world[0].copy()
    vector_ND[7, 3] = np.nan
    if kind == "flat":
        kinds.write(vector_ND, tmp_path, kind)
        found = Search(kinds.open_index(tmp_path), []).among(world[0][7], np.ones(ROWS, bool), ROWS)
        assert sorted(found[0].tolist()) == [row for row in range(ROWS) if row != 7]
        return
    with pytest.raises(BadInput, match=f"make no index of kind {kind}: train again"):
        kinds.write(vector_ND, tmp_path, kind)
    assert not list(tmp_path.iterdir())


def test_a_small_catalogue_is_laid_out_or_refused_in_one_line(kind, world, tmp_path):
    if kind == "pq":
        with pytest.raises(BadParams, match="256 codewords .* there are 9: set index.kind to auto"):
            kinds.write(world[0][:9], tmp_path, kind)
        assert not list(tmp_path.iterdir())
        return
    kinds.write(world[0][:9], tmp_path, kind)
    row_K, _ = Search(kinds.open_index(tmp_path), []).among(world[0][4], np.ones(9, bool), 9)
    assert row_K[0] == 4
    assert sorted(row_K.tolist()) == list(range(9))


def test_every_kind_can_be_chosen():
    assert get_args(IndexParams.model_fields["kind"].annotation) == (kinds.AUTO, *kinds.KINDS)


def test_a_kind_is_told_by_its_file_and_an_unknown_one_is_refused(kind, bundle, world, tmp_path):
    known = kinds.KINDS[kind].open_index
    assert type(kinds.open_index(bundle)).__module__ == known.__module__
    with pytest.raises(BadParams, match="index.kind 'tree' is none: choose one of auto, flat"):
        kinds.write(world[0], tmp_path, "tree")
