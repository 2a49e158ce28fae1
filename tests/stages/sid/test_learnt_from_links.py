"""What learns from the edges of the graph: partners, the level-1 graph loss, DRQ's InfoNCE."""

import numpy as np
import pytest
import torch
from scipy import sparse

from tessera.stages.sid import neighbours
from tessera.stages.sid.neighbours import neighbours_kept
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.partners import Partners
from tessera.stages.sid.quantizer import fit_quantizer
from tessera.stages.sid.rqvae import RqVaeModel

SMALL = SidParams(codebook_size=4, levels=2, hidden=16, latent=4, epochs=60, batch_size=64)


def pairs_of(n):
    """Item k and its neighbour k + 1 for even k, both ways: no vector tells of them."""
    even = np.arange(0, n, 2)
    row, column = np.r_[even, even + 1], np.r_[even + 1, even]
    return sparse.csr_array((np.ones(n), (row, column)), shape=(n, n))


@pytest.fixture
def vectors(rng):
    return rng.standard_normal((64, 12))


def test_partners_are_drawn_by_the_weight_of_the_edge():
    weight = np.array([[0.0, 3.0, 1.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    partners = Partners(sparse.csr_array(weight))
    torch.manual_seed(0)
    drawn = [partners.draw(torch.tensor([2, 1, 0])) for _ in range(2000)]
    assert all(with_B.tolist() == [0, 2] for with_B, _ in drawn), "item 1 has no edge"
    found = np.array([partner_B.tolist() for _, partner_B in drawn])
    assert (found[:, 0] == 0).all()
    assert np.mean(found[:, 1] == 1) == pytest.approx(0.75, abs=0.04)
    assert set(found[:, 1]) == {1, 2}


def test_without_edges_there_are_no_partners():
    assert not Partners(sparse.csr_array((5, 5)))


def together(quantizer, vectors):
    code = quantizer.encode(vectors)[:, 0]
    return np.mean(code[::2] == code[1::2])


def test_the_graph_loss_brings_linked_items_under_one_coarse_code(vectors):
    plain = SMALL.model_copy(update={"quantizer": "rqvae"})
    pulled = plain.model_copy(update={"graph_pull": 1.0})
    links = pairs_of(64)
    before = fit_quantizer(vectors, plain, links)
    after = fit_quantizer(vectors, pulled, links)
    assert together(after, vectors) > together(before, vectors) + 0.2
    assert len(np.unique(after.encode(vectors)[:, 0])) > 1, "not by one code for everybody"


def test_one_codeword_for_everybody_is_worth_no_more_than_chance():
    model = RqVaeModel(2, 4, SMALL.model_copy(update={"latent": 2}))
    model.encode = torch.nn.Identity()
    corner_KZ = 9.0 * torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    model.codeword_LKZ[0] = corner_KZ
    same = model.parted(corner_KZ[[0, 0, 0, 0]], corner_KZ[[0, 0, 0, 0]])
    paired = model.parted(corner_KZ, corner_KZ)
    crossed = model.parted(corner_KZ, corner_KZ[[1, 2, 3, 0]])
    assert same.item() == pytest.approx(0.0, abs=1e-3)
    assert paired.item() == pytest.approx(-np.log(4), abs=1e-2)
    assert crossed.item() > 1.0


@pytest.mark.parametrize("pull", ["graph_pull", "order_pull"])
def test_what_is_off_changes_no_codeword(vectors, pull):
    plain = SMALL.model_copy(update={"quantizer": "rqvae", "epochs": 5})
    one = fit_quantizer(vectors, plain, pairs_of(64)).codeword_LKD
    assert np.array_equal(one, fit_quantizer(vectors, plain).codeword_LKD)
    on = plain.model_copy(update={pull: 0.1})
    assert not np.array_equal(one, fit_quantizer(vectors, on, pairs_of(64)).codeword_LKD)


def test_the_contrast_of_drq_brings_linked_items_closer(vectors):
    gaps = []
    for contrast in (0.0, 1.0):
        params = SMALL.model_copy(
            update={"quantizer": "drq", "contrast": contrast, "epochs": 300, "learning_rate": 0.003}
        )
        latent = fit_quantizer(vectors, params, pairs_of(64)).latent(vectors)
        unit = latent / np.linalg.norm(latent, axis=1, keepdims=True)
        cosine = unit @ unit.T
        gaps.append(np.mean(cosine[::2, 1::2].diagonal()) - np.mean(cosine))
    assert gaps[1] > gaps[0] + 0.2


def test_more_codewords_keep_more_neighbours(rng):
    vectors = rng.standard_normal((200, 6))
    found = fit_quantizer(vectors, SidParams(codebook_size=8))
    kept = neighbours_kept(vectors, found.encode(vectors))
    assert kept[0] < kept[1] < kept[2]
    drawn = neighbours_kept(vectors, rng.integers(0, 8, (200, 3)))
    assert kept[0] > drawn[0] + 0.1
    assert neighbours_kept(vectors, np.arange(200)[:, None]) == [1.0], "every item by itself"
    assert neighbours_kept(vectors[:1], np.zeros((1, 2), int)) == [1.0, 1.0]


def test_a_wider_prior_and_a_cooler_contrast_give_other_latents(vectors):
    drq = SMALL.model_copy(update={"quantizer": "drq", "epochs": 40})
    plain, narrow, cool = (
        fit_quantizer(vectors, drq.model_copy(update=turned), pairs_of(64)).latent(vectors)
        for turned in ({}, {"spread": 1.0}, {"contrast_temperature": 0.01})
    )
    assert np.square(narrow).mean() < 0.5 * np.square(plain).mean(), "nearer to the prior's mean"
    assert not np.allclose(cool, plain)


@pytest.mark.parametrize("quiet", [0.0, -1.0, float("nan")])
def test_an_edge_without_a_weight_above_zero_leads_nowhere(quiet):
    weight_E = np.array([quiet, 0.5, 0.5, 0.5, 0.5])
    ends = np.array([0, 1, 1, 2, 2]), np.array([1, 2, 3, 0, 4])
    rows = torch.tensor([2] * 200 + [1] * 200 + [0])
    torch.manual_seed(0)
    partners = Partners(sparse.csr_array((weight_E, ends), shape=(6, 6)))
    at, other = partners.draw(rows)
    assert at.tolist() == list(range(400)), "item 0 has no partner"
    assert [other[:200].unique().tolist(), other[200:].unique().tolist()] == [[0, 4], [2, 3]]
    assert not Partners(sparse.csr_array((weight_E[:1], ([0], [1])), shape=(2, 2)))


def test_items_asked_a_few_at_a_time_have_the_same_neighbours(rng, monkeypatch):
    vectors, code_NL = rng.standard_normal((150, 6)), rng.integers(0, 4, (150, 3))
    sizes, argsort = [], np.argsort
    monkeypatch.setattr(np, "argsort", lambda gap, **how: (
        sizes.append(gap.shape), argsort(gap, **how))[1])  # fmt: skip
    few = neighbours_kept(vectors, code_NL)
    assert max(size[0] for size in sizes) <= neighbours._AT_ONCE
    monkeypatch.setattr(neighbours, "_AT_ONCE", 150)
    assert neighbours_kept(vectors, code_NL) == few
