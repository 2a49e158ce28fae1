"""Blocks that the first level alone is of: topology costs one level of text, and no more."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import normalized_mutual_info_score

from tessera.stages.sid.params import SPLITS, SidParams
from tessera.stages.sid.quantizer import fit_quantizer
from tessera.stages.sid.vectors import coarse_columns, fit_space, read_catalogue, vectorise

ITEMS, GROUPS, TEXT, GRAPH = 240, 8, 10, 4
COARSE_D = np.arange(TEXT + GRAPH) >= TEXT


@pytest.fixture
def world(rng):
    """Text, and a place in the graph by a group that no text tells of: vectors and groups."""
    text_ND = rng.standard_normal((ITEMS, TEXT))
    group_N = rng.integers(0, GROUPS, ITEMS)
    place_ND = 6.0 * rng.standard_normal((GROUPS, GRAPH))[group_N]
    return np.hstack([text_ND, place_ND + rng.standard_normal((ITEMS, GRAPH))]), group_N


def params_of(quantizer="rkmeans", **more):
    return SidParams(quantizer=quantizer, codebook_size=8, **more)


def text_error(quantizer, vectors):
    left = vectors - quantizer.decode(quantizer.encode(vectors))
    return np.mean(left[:, :TEXT] ** 2)


@pytest.mark.parametrize("quantizer", SPLITS)
def test_the_first_level_knows_the_groups_and_those_below_know_text(world, quantizer):
    vectors, group_N = world
    mixed = fit_quantizer(vectors, params_of(quantizer))
    found = fit_quantizer(vectors, params_of(quantizer), coarse_D=COARSE_D)
    code_NL = found.encode(vectors)
    assert normalized_mutual_info_score(group_N, code_NL[:, 0]) > 0.9
    assert max(normalized_mutual_info_score(group_N, code_N) for code_N in code_NL.T[1:]) < 0.1
    assert text_error(found, vectors) < 0.9 * text_error(mixed, vectors)


@pytest.mark.parametrize("quantizer", SPLITS)
def test_topology_costs_one_level_of_text_and_no_more(world, quantizer):
    vectors, _ = world
    found = fit_quantizer(vectors, params_of(quantizer, levels=4), coarse_D=COARSE_D)
    assert found.name == quantizer
    assert found.codeword_LKD.shape == (4, 8, TEXT + GRAPH)
    text_alone = fit_quantizer(vectors * ~COARSE_D, params_of(quantizer, levels=3))
    code_NL = found.encode(vectors)
    assert np.array_equal(text_alone.encode(vectors), code_NL[:, 1:])
    assert text_error(found, vectors) == pytest.approx(text_error(text_alone, vectors))
    assert not found.codeword_LKD[0][:, ~COARSE_D].any()
    assert not found.codeword_LKD[1:, :, COARSE_D].any()


def test_a_new_place_in_the_graph_moves_the_first_codeword_alone(world, rng):
    vectors, _ = world
    found = fit_quantizer(vectors, params_of(), coarse_D=COARSE_D)
    moved = vectors.copy()
    moved[:, COARSE_D] = rng.permutation(moved[:, COARSE_D])
    before_NL, after_NL = found.encode(vectors), found.encode(moved)
    assert np.mean(before_NL[:, 0] != after_NL[:, 0]) > 0.5
    assert np.array_equal(before_NL[:, 1:], after_NL[:, 1:])


@pytest.mark.parametrize("quantizer", SPLITS)
def test_without_coarse_columns_nothing_moves(world, quantizer):
    vectors, _ = world
    plain = fit_quantizer(vectors, params_of(quantizer)).codeword_LKD.tobytes()
    none = np.zeros(TEXT + GRAPH, dtype=bool)
    found = fit_quantizer(vectors, params_of(quantizer), coarse_D=none)
    assert found.codeword_LKD.tobytes() == plain


def test_coarse_columns_are_those_of_their_blocks(catalogue):
    params = SidParams(text_width=16, coarse_blocks=("topology",))
    read = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges())
    space = fit_space(read, params)
    coarse_D = coarse_columns(space, params)
    assert coarse_D.shape == (vectorise(read, space, params).shape[1],)
    assert np.flatnonzero(coarse_D).tolist() == [32, 33, 34, 35], "behind content and neighbours"
    assert not coarse_columns(space, SidParams(text_width=16)).any()


@pytest.mark.parametrize(
    ("turned", "told"),
    [
        ({"quantizer": "rqvae"}, "coarse_blocks needs sid.quantizer to be one of rkmeans, minib"),
        ({"quantizer": "rq_fsq"}, "coarse_blocks needs sid.quantizer to be one of rkmeans, minib"),
        ({"quantizer": "drq"}, "coarse_blocks needs sid.quantizer to be one of rkmeans, minibatch"),
        ({"coarse_blocks": ("graph",)}, "names graph, but what weighs is content, neighbourhood"),
        ({"coarse_blocks": ("structure",)}, "names structure, but what weighs is content"),
        ({"topology_weight": 0.0}, "names topology, but what weighs is content, neighbourhood"),
        ({"content_weight": 0.0, "neighbourhood_weight": 0.0}, "leaves nothing below"),
        ({"levels": 1}, "leaves no level to other blocks: raise sid.levels"),
    ],
)
def test_blocks_that_no_level_could_leave_out_are_one_clear_line(turned, told):
    with pytest.raises(ValidationError, match=told):
        SidParams(**{"coarse_blocks": ("topology",), **turned})
