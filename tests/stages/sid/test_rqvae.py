"""Traps of RQ-VAE, each planted once."""

import numpy as np
import pytest
import torch
from scipy import sparse

from tessera.stages.sid.params import SidParams
from tessera.stages.sid.rqvae import RqVaeModel, train_rqvae

NO_LINKS = sparse.csr_array((0, 0))
SMALL = SidParams(quantizer="rqvae", levels=2, hidden=16, latent=4, epochs=30, batch_size=64)


@pytest.fixture
def data(rng):
    centre = 3.0 * rng.standard_normal((4, 6))
    return centre[rng.integers(0, 4, 200)] + 0.2 * rng.standard_normal((200, 6))


def model_of(data, params, size=4):
    torch.manual_seed(0)
    model = RqVaeModel(data.shape[1], size, params)
    vectors = torch.from_numpy(data).float()
    model.start_codewords(vectors, params)
    return model, vectors


def gradient(data, commitment):
    model, vectors = model_of(data, SMALL.model_copy(update={"commitment": commitment}))
    loss, _, _ = model(vectors)
    loss.backward()
    return loss.item(), model.encode[0].weight.grad.clone()


def test_the_commitment_weight_enters_loss_and_gradient(data):
    loss_0, gradient_0 = gradient(data, commitment=0.0)
    loss_1, gradient_1 = gradient(data, commitment=1.0)
    loss_2, gradient_2 = gradient(data, commitment=2.0)
    assert loss_1 > loss_0 + 1e-3
    assert loss_2 - loss_1 == pytest.approx(loss_1 - loss_0, rel=1e-4)
    torch.testing.assert_close(gradient_2 - gradient_1, gradient_1 - gradient_0)
    assert (gradient_1 - gradient_0).abs().max() > 1e-4


def test_the_gradient_passes_straight_through_to_the_encoder(data):
    assert gradient(data, commitment=0.0)[1].abs().max() > 1e-4


def test_codewords_start_at_means_of_the_whole_set(data):
    model, vectors = model_of(data, SMALL)
    latent = model.encode(vectors).detach()
    nearest = torch.cdist(latent, model.codeword_LKZ[0]).argmin(dim=1)
    assert len(nearest.unique()) == 4
    means = torch.stack([latent[nearest == k].mean(dim=0) for k in range(4)])
    torch.testing.assert_close(means, model.codeword_LKZ[0], atol=1e-4, rtol=1e-3)


def test_a_dead_codeword_is_restarted_where_items_are(data):
    model, vectors = model_of(data, SMALL)
    model.codeword_LKZ[0, 3] = 1e6
    model.total_LKZ[0, 3] = 1e6
    model.use_LK[0, 3] = 1e-3
    _, residuals, codes = model(vectors)
    model.follow(residuals, codes, SMALL)
    assert model.codeword_LKZ[0].abs().max() < 100


def test_codewords_move_towards_what_they_serve(data):
    model, vectors = model_of(data, SMALL)
    model.codeword_LKZ[0] += 0.1
    model.total_LKZ[0] = model.codeword_LKZ[0] * model.use_LK[0][:, None]
    _, residuals, codes = model(vectors)
    target = torch.stack([residuals[0][codes[0] == k].mean(dim=0) for k in range(4)])
    before = (model.codeword_LKZ[0] - target).norm()
    model.follow(residuals, codes, SMALL)
    assert (model.codeword_LKZ[0] - target).norm() < before


def test_training_lowers_the_error(data):
    def error(epochs, learning_rate=SMALL.learning_rate):
        turned = {"epochs": epochs, "learning_rate": learning_rate}
        found = train_rqvae(data, 8, SMALL.model_copy(update=turned), NO_LINKS)
        return np.mean((found.decode(found.encode(data)) - data) ** 2)

    assert error(60) < 0.5 * error(1)
    assert error(60) < 0.5 * error(60, learning_rate=1e-6)


def test_the_frozen_numpy_model_is_the_trained_one(data, monkeypatch):
    kept = {}
    plain = RqVaeModel.follow

    def remember(self, *args):
        kept["model"] = self
        plain(self, *args)

    monkeypatch.setattr(RqVaeModel, "follow", remember)
    found = train_rqvae(data, 4, SMALL, NO_LINKS)
    model = kept["model"]
    with torch.no_grad():
        _, _, codes = model(torch.from_numpy(data * found.layers["scale"]).float())
    assert np.mean(found.encode(data) == torch.stack(codes, dim=1).numpy()) > 0.99


def test_training_leaves_the_global_random_state_alone(data):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_rqvae(data, 4, SMALL.model_copy(update={"epochs": 1}), NO_LINKS)
    assert torch.equal(torch.rand(1), expected)


def test_each_width_is_that_of_its_layer(data):
    model, _ = model_of(data, SMALL.model_copy(update={"hidden": 7, "latent": 3}))
    assert [layer.out_features for layer in (model.encode[0], model.encode[2])] == [7, 3]
    assert model.codeword_LKZ.shape == (2, 4, 3)


@pytest.mark.parametrize(("batch_size", "steps"), [(50, 4), (200, 1)])
def test_a_step_takes_so_many_items(data, monkeypatch, batch_size, steps):
    seen = []
    monkeypatch.setattr(RqVaeModel, "follow", lambda *_: seen.append(1))
    train_rqvae(data, 4, SMALL.model_copy(update={"batch_size": batch_size, "epochs": 1}), NO_LINKS)
    assert len(seen) == steps


def test_so_much_of_a_codeword_survives_a_step(data):
    params = SMALL.model_copy(update={"codeword_decay": 0.25, "dead_below": 0.0})
    model, vectors = model_of(data, params)
    before_K = model.use_LK[0].clone()
    _, residuals, codes = model(vectors)
    model.follow(residuals, codes, params)
    served_K = torch.bincount(codes[0], minlength=4)
    torch.testing.assert_close(model.use_LK[0], 0.25 * before_K + 0.75 * served_K)


@pytest.mark.parametrize(("dead_below", "restarts"), [(0.5, True), (0.0, False)])
def test_what_is_used_less_often_than_asked_is_dead(data, dead_below, restarts):
    model, vectors = model_of(data, SMALL)
    model.codeword_LKZ[0, 3] = 1e6
    model.total_LKZ[0, 3] = 1e6
    model.use_LK[0, 3] = 0.1
    _, residuals, codes = model(vectors)
    model.follow(residuals, codes, SMALL.model_copy(update={"dead_below": dead_below}))
    assert (model.codeword_LKZ[0].abs().max() < 100) == restarts
