"""Weights between items are one more part of each vector, as far as validation wants them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.nn import functional

from tessera.contracts.split import TRAIN
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.questions import action_codes
from tessera.model.sequences.windows import last_windows
from tessera.model.training.fit import fit
from tessera.model.trunk.closed_form import MIXES
from tessera.model.trunk.inference import encode, item_vectors
from tessera.model.trunk.item_weights import ItemWeights
from tessera.shared.features.conditional import conditional_weights

CLICK = ACTIONS.index("click")


@pytest.fixture
def params(small):
    return small.model_copy(
        update={"item_weights_width": 64, "item_weights_l2": 5.0, "epochs": 1, "demand_days": 0.0}
    )


def had(histories, stop_U, items):
    """Return had_UV, investor by investor."""
    had_UV = np.zeros((len(stop_U), items))
    for user, stop in enumerate(stop_U):
        for event in range(histories.first_U1[user], stop):
            if histories.action_E[event] == CLICK:
                had_UV[user, histories.item_E[event]] = 1.0
    return had_UV


def learn(model, histories, stop_U):
    clicks = action_codes(("click",))
    model.closed_form.like(clicks)
    model.closed_form.parts["item_weights"].learn(histories.acquired_before(stop_U, clicks), 5.0)


def test_weights_are_those_of_a_ridge_regression_on_all_other_items():
    rng = np.random.default_rng(0)
    had_UI = (rng.random((40, 6)) < 0.4).astype(float)
    weight_II = conditional_weights(csr_matrix(had_UI), 3.0)
    for item in range(6):
        others = [other for other in range(6) if other != item]
        x_UO, y_U = had_UI[:, others], had_UI[:, item]
        wanted_O = np.linalg.solve(x_UO.T @ x_UO + 3.0 * np.eye(5), x_UO.T @ y_U)
        np.testing.assert_allclose(weight_II[others, item], wanted_O, rtol=1e-9)
        assert weight_II[item, item] == 0.0


def test_an_inner_product_is_the_cosine_plus_what_the_history_says(world, params):
    params = params.model_copy(update={"length": 32})
    model = fit("hstu", world, params, None).model
    histories = world.histories
    stop_U = histories.until(TRAIN)
    learn(model, histories, stop_U)
    assert (stop_U - histories.first_U1[:-1]).max() <= 32
    windows = last_windows(histories.first_U1[:-1], stop_U, np.zeros(len(stop_U), np.int64), 32)
    found = {}
    for mix in (0.0, 0.5):
        model.closed_form.let(item_weights=mix)
        found[mix] = encode(model, histories, windows), item_vectors(model)
    cosine_UV = found[0.0][0] @ found[0.0][1].T
    assert found[0.0][0].shape[1] == params.width, "without a say the vectors are the trunk's"
    had_UV = had(histories, stop_U, len(cosine_UV[0]))
    weight_VV = np.zeros((len(cosine_UV[0]),) * 2)
    weight_VV[1:, 1:] = conditional_weights(csr_matrix(had_UV[:, 1:]), 5.0)
    wanted_UV = cosine_UV + 0.5 * had_UV @ weight_VV
    vector_UD, item_VD = found[0.5]
    for vectors in (vector_UD, item_VD):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    got_UV = (vector_UD @ item_VD.T)[:, 1:]
    scale_U1 = (wanted_UV[:, 1:] * got_UV).sum(1) / (got_UV**2).sum(1)
    np.testing.assert_allclose(got_UV * scale_U1[:, None], wanted_UV[:, 1:], atol=2e-5)


def test_only_what_lies_before_the_stop_is_learnt_from(world):
    histories = world.histories
    stop_U = histories.until(TRAIN)
    later_E = np.arange(len(histories.item_E)) >= stop_U[histories.user_E]
    assert later_E.any()
    items = len(world.codes_VC)
    tables = []
    for shift in (0, 1):
        item_E = np.where(later_E, (histories.item_E + shift) % (items - 1) + 1, histories.item_E)
        weights = ItemWeights(items, 8)
        moved = replace(histories, item_E=item_E)
        weights.learn(moved.acquired_before(stop_U, np.asarray([CLICK])), 5.0)
        tables.append(weights)
    assert torch.equal(tables[0].from_VR, tables[1].from_VR)
    assert tables[0].from_VR.abs().max() > 0
    assert torch.equal(tables[0].to_VR, tables[1].to_VR)


@pytest.mark.parametrize("best", MIXES["item_weights"])
def test_validation_decides_how_much_they_count(world, params, best, monkeypatch):
    def values(model, *_):
        asked = [mix["item_weights"] for mix in model.closed_form.choices()]
        return np.array([[0.5 - abs(mix - best) / 10] * 2 for mix in asked])

    monkeypatch.setattr("tessera.model.training.fit.mix_values", values)
    for refit in (False, True):
        trained = fit("hstu", world, params.model_copy(update={"refit": refit}), None)
        assert trained.model.closed_form.mix["item_weights"] == pytest.approx(best)
        assert trained.figures()["validation_ndcg_at_10"] == pytest.approx(0.5)


def test_sasrec_stays_the_plain_baseline(world, params):
    assert not fit("sasrec", world, params, None).model.closed_form.parts


def test_actions_that_are_no_targets_say_nothing(world, params):
    model = fit("hstu", world, params, None).model
    learn(model, world.histories, world.histories.until(TRAIN))
    model.closed_form.let(item_weights=0.5)
    unit = functional.normalize(torch.randn(2, params.width), dim=1)
    item = torch.tensor([[1, 2], [1, 0]])
    dismissed = torch.tensor([[CLICK, ACTIONS.index("dismiss")], [CLICK, CLICK]])
    one, two = model.closed_form.investor(unit[[0, 0]], item, dismissed)
    torch.testing.assert_close(one, two)
