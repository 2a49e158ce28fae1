import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tessera.contracts.errors import BadInput
from tessera.model.params import HstuParams
from tessera.model.trainer import loop
from tessera.model.training import examples
from tessera.model.training import train as train_module
from tessera.model.training.fit import fit, pose
from tessera.model.training.train import ItemTables, train


class Killed(Exception):
    pass


def kill_after(monkeypatch, steps):
    real, done = loop.Trainer._step, []

    def step(self, *args):
        if len(done) == steps:
            raise Killed
        done.append(1)
        return real(self, *args)

    monkeypatch.setattr(loop.Trainer, "_step", step)


def weights(world, params, scratch):
    return fit("hstu", world, params, scratch).model.state_dict()


def assert_same(one, two):
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def fit_and_be_killed(world, params, scratch):
    with pytest.raises(Killed):
        fit("hstu", world, params, scratch)


@pytest.mark.parametrize(("steps", "scales"), [(2, 0), (4, 0), (9, 0), (4, 3)])
def test_a_killed_run_resumes_and_ends_with_the_same_weights(
    world, small, tmp_path, monkeypatch, steps, scales
):
    small = small.model_copy(update={"recency_scales": scales})
    whole = fit("hstu", world, small, None)
    with monkeypatch.context() as patch:
        kill_after(patch, steps)
        fit_and_be_killed(world, small, tmp_path)
    resumed = fit("hstu", world, small, tmp_path)
    assert_same(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.state == resumed.state


def test_a_finished_run_is_not_trained_again(world, small, tmp_path, monkeypatch):
    first = weights(world, small, tmp_path)
    kill_after(monkeypatch, 0)
    assert_same(first, weights(world, small, tmp_path))


def test_a_checkpoint_of_other_params_or_data_is_not_taken_up(world, small, tmp_path):
    fit("hstu", world, small, tmp_path)
    other = small.model_copy(update={"seed": 5})
    assert_same(weights(world, other, None), weights(world, other, tmp_path))


def test_a_checkpoint_is_of_all_that_is_told_of_items(world, small, tmp_path, monkeypatch):
    def not_trained(_kind, run, _objective, rules, _validate):
        keys.append(rules.checkpoint.key)
        return run.state

    monkeypatch.setattr(loop, "train", not_trained)
    task, keys = pose("hstu", world, small), []
    items, shape = task.shape.items, replace(task.shape, edge_bias=True)
    edge_VV, mature_VF = torch.zeros(items, items), np.zeros((items, 3), np.float32)
    for told in ((edge_VV,), (edge_VV + 1,), (edge_VV, mature_VF), (edge_VV, mature_VF + 1)):
        tables = ItemTables(world.codes_VC, *told)
        train(shape, tables, task.examples(refit=False), None, small, tmp_path)
    assert len(set(keys)) == len(keys) == 4


def test_half_a_checkpoint_is_not_taken_up(world, small, tmp_path):
    fit("hstu", world, small, tmp_path)
    path = tmp_path / "search" / "hstu.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert_same(weights(world, small, None), weights(world, small, tmp_path))


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_weights(
    world, small, monkeypatch
):
    one_epoch = weights(world, small.model_copy(update={"epochs": 1}), None)
    real = train_module.batch_loss

    def poisoned(model, *rest):
        loss = real(model, *rest)
        return loss * np.nan if one_epoch_done(model) else loss

    calls = []

    def one_epoch_done(_model):
        calls.append(1)
        return len(calls) > steps

    steps = count_steps(world, small, monkeypatch)
    monkeypatch.setattr(train_module, "batch_loss", poisoned)
    broken = fit("hstu", world, small, None)
    assert broken.state.broken
    assert broken.figures()["stopped_on_nan"] == 1.0
    assert_same(one_epoch, broken.model.state_dict())


def count_steps(world, small, monkeypatch):
    real, done = loop.Trainer._step, []
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", lambda self, *a: (done.append(1), real(self, *a))[1])
        fit("hstu", world, small.model_copy(update={"epochs": 1}), None)
    return len(done)


def test_training_stops_when_patience_ends(world, small, monkeypatch):
    values = iter([0.3, 0.5, 0.4, 0.4, 0.4])
    monkeypatch.setattr("tessera.model.sequences.questions.ndcg", lambda *_: next(values))
    state = fit("hstu", world, small.model_copy(update={"epochs": 9, "patience": 2}), None).state
    assert (state.epoch, state.best_epoch, state.best("ndcg")) == (4, 2, 0.5)


def test_a_refit_learns_from_the_validation_period_too(world, small):
    plain = fit("hstu", world, small, None)
    again = fit("hstu", world, small.model_copy(update={"refit": True}), None)
    assert again.state.epoch == plain.state.best_epoch
    assert not torch.equal(plain.model.start_D, again.model.start_D)


def test_three_times_the_learning_rate_lowers_the_loss_every_epoch_and_further(world, small):
    """SORT, arXiv 2603.03988, asks this of what normalises and gates the attention."""
    shipped = HstuParams()
    size = {"width": shipped.width, "blocks": shipped.blocks, "epochs": 5}
    slow, fast = (
        fit("hstu", world, small.model_copy(update={**size, "learning_rate": rate}), None).state
        for rate in (shipped.learning_rate, 3 * shipped.learning_rate)
    )
    assert not fast.broken
    assert np.isfinite(fast.losses).all()
    assert (np.diff(fast.losses) < 0).all()
    assert fast.losses[-1] < slow.losses[-1]


def test_sampled_negatives_learn_too(world, small):
    params = small.model_copy(update={"full_softmax_items": 0, "negatives": 6})
    losses = fit("hstu", world, params, None).state.losses
    assert losses[-1] < losses[0]


def test_no_event_to_predict_is_said_in_one_line(world, small):
    with pytest.raises(BadInput, match="hstu.targets"):
        fit("hstu", world, small.model_copy(update={"targets": ("sell",)}), None)


RUNNER = """
import sys
from pathlib import Path
import ibis
from safetensors.torch import save_file
from tessera.contracts.split import load_split
from tessera.model.training.fit import fit
from tessera.model.nn.device import threads
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.reading import read_histories
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue, read_codes
folder, scratch, result, pause = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
con = ibis.duckdb.connect()
events, items, codes = (con.read_parquet(folder / name) for name in ("events", "items", "codes"))
split = load_split(folder / "split.json")
params = HstuParams.model_validate_json((folder / "params.json").read_text())
catalogue = read_catalogue(items)
histories = read_histories(events, split, catalogue.vocabulary, tied_sets=True)
world = Dataset(split, catalogue, read_codes(codes, catalogue.vocabulary), histories)
if pause == "kill":
    import os
    import signal
    from tessera.model.trainer.loop import Trainer
    real, steps = Trainer._step, []
    def step(self, *args):
        steps.append(1)
        if len(steps) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args)
    Trainer._step = step
with threads(1):
    save_file(fit("hstu", world, params, scratch).model.state_dict(), result)
"""


def test_kill_minus_nine_and_a_new_process_give_the_same_weights(
    tables, world, small, stage_files, tmp_path
):
    for name in ("events", "items", "codes"):
        getattr(tables, name).to_parquet(tmp_path / name)
    (tmp_path / "params.json").write_text(small.model_dump_json())

    def process(pause):
        paths = [str(path) for path in (tmp_path, tmp_path / "scratch", tmp_path / "result")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", RUNNER, *paths, pause]
        return subprocess.run(command, env=environment).returncode

    assert process("kill") == -signal.SIGKILL
    assert not (tmp_path / "result").exists()
    assert process("") == 0
    assert_same(weights(world, small, None), load_file(tmp_path / "result"))


def test_the_kept_weights_are_the_running_mean_of_those_of_the_steps(world, small, monkeypatch):
    real, after, cut = loop.Trainer._step, [], examples.Examples.windows
    counts = []

    def windows_of(*args):
        windows = cut(*args)
        counts.append(len(windows))
        return windows

    monkeypatch.setattr(examples.Examples, "windows", windows_of)

    def step(self, *args):
        loss = real(self, *args)
        after.append(self.run.model.item_VD.detach().clone())
        return loss

    monkeypatch.setattr(loop.Trainer, "_step", step)
    params = small.model_copy(update={"epochs": 3, "patience": 3, "average_epochs": 0.3})
    trained = fit("hstu", world, params, None)
    steps = len(after) * trained.state.best_epoch // trained.state.epoch
    counted, *epochs = counts
    assert len(epochs) == 3
    assert counted == pytest.approx(np.mean(epochs), rel=0.1), "the unit is an epoch"
    assert counted > 1.2 * len(world.histories.user_id_U), "long histories are cut in several"
    memory = 0.3 * counted / params.batch
    mean = after[0]
    for taken, weight in enumerate(after[1:steps], start=1):
        mean = torch.lerp(mean, weight, max(1 / memory, 9 / (10 + taken)))
    kept = trained.model.item_VD
    torch.testing.assert_close(kept, mean, rtol=1e-5, atol=1e-6)
    assert not torch.equal(kept, after[steps - 1])
