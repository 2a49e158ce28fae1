"""The one trainer, on a line that learns to go through points."""

import numpy as np
import pytest
import torch
from torch import nn

from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Checkpoint, Run
from tessera.model.trainer.seeds import seeded

RULES = loop.Rules(epochs=4)


class Points:
    """Sixteen points on a line of slope 3, four a batch; a batch may be spoilt or empty."""

    def __init__(self, spoilt=None, empty=None):
        self.x = torch.linspace(-1, 1, 16)[:, None]
        self.spoilt, self.empty, self.seen = spoilt, empty, []

    def batches(self, epoch):
        return [(epoch, rows) for rows in torch.split(torch.arange(16), 4)]

    def size(self, batch):
        return len(batch[1])

    def loss(self, model, batch):
        epoch, rows = batch
        self.seen.append((epoch, int(rows[0]) // 4))
        if self.seen[-1] == self.empty:
            return None
        noise = 0.1 * torch.rand(len(rows), 1)  # as dropout, drawn in the step
        loss = ((model(self.x[rows]) - 3 * self.x[rows] + noise) ** 2).mean()
        return loss * np.nan if self.seen[-1] == self.spoilt else loss


def learn(points, rules=RULES, validate=None, rate=0.1, memory=None):
    with seeded(0, torch.device("cpu")):
        model = nn.Linear(1, 1)
        mean = loop.running_mean(model, memory) if memory else None
        run = Run(model, torch.optim.SGD(model.parameters(), lr=rate), mean)
        return model, loop.train("line", run, points, rules, validate)


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_it_learns_and_is_left_ready_to_be_asked():
    model, state = learn(Points(), loop.Rules(epochs=20))
    assert abs(model.weight.item() - 3) < 0.3
    assert state.losses[-1] < 0.1 * state.losses[0]
    assert not model.training


def test_a_step_that_is_not_a_number_moves_nothing_and_ends_it():
    points = Points(spoilt=(1, 2))
    model, state = learn(points)
    until = Points()
    learn(until)
    assert points.seen == until.seen[:7], "nothing is asked of the data after it"
    assert (state.broken, state.epoch, state.step) == (True, 1, 2)
    assert weights(model).isfinite().all()


def test_a_batch_that_teaches_nothing_moves_nothing():
    class Nothing(Points):
        def loss(self, model, batch):
            super().loss(model, batch)

    model, state = learn(Nothing())
    with seeded(0, torch.device("cpu")):
        untouched = nn.Linear(1, 1)
    assert torch.equal(weights(model), weights(untouched))
    assert state.losses == [0.0] * 4


def test_patience_ends_it_and_the_best_weights_are_kept():
    values, seen = iter([0.3, 0.5, 0.4, 0.4, 0.9]), []

    def validate(model):
        seen.append(weights(model))
        return {"quality": next(values)}

    model, state = learn(Points(), loop.Rules(epochs=9, patience=2), validate)
    assert (state.epoch, state.best_epoch, state.best("quality")) == (4, 2, 0.5)
    assert torch.equal(weights(model), seen[1])


def test_a_measure_that_is_below_any_other_is_still_the_best_there_is():
    _, state = learn(Points(), validate=lambda _: {"fit": -1000.0})
    assert (state.epoch, state.best_epoch) == (2, 1)


def test_two_measures_count_by_their_product():
    values = iter([(0.5, 0.5), (0.2, 0.9), (0.4, 0.7), (0.9, 0.1)])
    _, state = learn(
        Points(),
        loop.Rules(epochs=4, patience=4),
        lambda _: dict(zip(("one", "two"), next(values), strict=True)),
    )
    assert (state.best_epoch, state.best_value) == (3, pytest.approx(0.28))
    assert state.measures == {"one": [0.5, 0.2, 0.4, 0.9], "two": [0.5, 0.9, 0.7, 0.1]}


def test_no_step_is_longer_than_the_clip():
    short, long = (learn(Points(), loop.Rules(epochs=1, clip_norm=clip))[0] for clip in (0.01, 0))
    with seeded(0, torch.device("cpu")):
        start = weights(nn.Linear(1, 1))
    assert (weights(short) - start).norm() <= 4 * 0.1 * 0.01 + 1e-6
    assert (weights(long) - start).norm() > 0.01


def test_what_is_kept_is_the_mean_of_the_steps():
    taken = []

    class Watched(Points):
        def loss(self, model, batch):
            taken.append(weights(model))
            return super().loss(model, batch)

    model, _ = learn(Watched(), memory=5.0)
    last, _ = learn(Points())
    after = [*taken[1:], weights(last)]
    mean = after[0]
    for step, weight in enumerate(after[1:], start=1):
        mean = torch.lerp(mean, weight, max(1 / 5.0, 9 / (10 + step)))
    torch.testing.assert_close(weights(model), mean, rtol=1e-5, atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 5, 10])
def test_a_killed_run_goes_on_from_its_last_step_to_the_same_weights(tmp_path, at):
    class Deadly(Points):
        def loss(self, model, batch):
            if len(self.seen) == at:
                raise Killed
            return super().loss(model, batch)

    kept = Checkpoint(tmp_path / "line.safetensors", "key", steps=1)
    rules = loop.Rules(epochs=4, seed=7, checkpoint=kept)
    whole, state = learn(Points(), loop.Rules(epochs=4, seed=7), memory=3.0)
    with pytest.raises(Killed):
        learn(Deadly(), rules, memory=3.0)
    points = Points()
    resumed, again = learn(points, rules, memory=3.0)
    assert torch.equal(weights(resumed), weights(whole))
    assert again == state
    assert len(points.seen) == 16 - at


def test_a_run_of_something_else_is_not_taken_up(tmp_path):
    path = tmp_path / "line.safetensors"
    for key in ("one", "other"):
        points = Points()
        learn(points, loop.Rules(epochs=1, seed=7, checkpoint=Checkpoint(path, key, 1)))
        assert len(points.seen) == 4


def test_what_was_best_before_all_measures_count_is_forgotten():
    values = iter([(0.9, 0.9), (0.8, 0.9), (0.4, 0.6), (0.3, 0.6), (0.5, 0.6)])
    _, state = learn(
        Points(),
        loop.Rules(epochs=5, patience=2, pretrain=2),
        lambda _: dict(zip(("one", "two"), next(values), strict=True)),
    )
    assert (state.epoch, state.best_epoch, state.best_value) == (5, 5, pytest.approx(0.3))
