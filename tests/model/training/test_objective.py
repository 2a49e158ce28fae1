"""Which softmax the recall loss takes, and how many targets share its negatives."""

import pytest
import torch

from tessera.model.nn.loss import draw_negatives, sampled_softmax
from tessera.model.params import HstuParams
from tessera.model.sequences.questions import action_codes
from tessera.model.training.examples import BatchBuilder, Examples
from tessera.model.training.fit import fit
from tessera.model.training.objective import Lesson, batch_loss
from tessera.model.trunk.model import SequenceModel, Shape, states_at


@pytest.fixture
def step(world, rng):
    """Return a model, a batch and its targets."""
    torch.manual_seed(0)
    shape = Shape("hstu", 8, 2, 1, 8, 0.0, 0.0, True, True, True, 13, ())
    model = SequenceModel(shape, torch.zeros(13, 0, dtype=torch.long), torch.ones(13).bool())
    stop_U = world.histories.learnt_until(refit=False)
    examples = Examples(world.histories, stop_U, action_codes(("click",)))
    some = examples.windows(8, rng).take(range(7))
    return model.eval(), *BatchBuilder(examples, None).lesson(some)


@pytest.mark.parametrize("shared", [1, 2, 5, 8192])
def test_a_run_of_targets_shares_its_negatives(step, shared):
    model, batch, targets = step
    warm_W, count = torch.arange(1, 13), len(targets.item_N)
    params = HstuParams(full_softmax_items=0, negatives=4, shared_targets=shared, mask_weight=0)
    torch.manual_seed(3)
    found = batch_loss(model, [Lesson(0, batch, targets)], warm_W, params)
    torch.manual_seed(3)
    draws = -(-count // shared)
    negative_GM = draw_negatives(warm_W, draws, 4)
    negative_NM = negative_GM.repeat_interleave(-(-count // draws), 0)[:count]
    item_VD = model.items()
    state_ND = states_at(model, model(batch, item_VD), targets.sequence_N, targets.state_N)
    wanted = sampled_softmax(state_ND, item_VD, targets.item_N, negative_NM, params.temperature)
    assert count > 20
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_shared_negatives_learn_too(world, small):
    params = small.model_copy(
        update={"full_softmax_items": 0, "negatives": 6, "shared_targets": 16}
    )
    losses = fit("hstu", world, params, None).state.losses
    assert losses[-1] < losses[0]
