"""Training on any device: what is moved, how long a step may be, and how precisely it counts.

Without a GPU a pretended one stands in: its tensors say that they are elsewhere, hold their numbers
on the processor, and refuse every operation that mixes them with tensors that were left behind.
"""

from functools import partial

import ibis
import numpy as np
import pytest
import torch
import torch.optim.optimizer as optim
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tessera.contracts.errors import BadParams
from tessera.contracts.split import TEST, VALIDATION
from tessera.model.baselines import two_tower
from tessera.model.nn.device import chosen_device, moved
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.sequences.windows import last_windows
from tessera.model.trainer import loop
from tessera.model.training import objective
from tessera.model.training import train as train_module
from tessera.model.training.compiled import compile_layers
from tessera.model.training.examples import Examples
from tessera.model.training.fit import fit
from tessera.model.trunk.generated import sources
from tessera.model.trunk.inference import (
    encode,
    item_vectors,
    rank_requests,
    served,
    trunk_states,
)
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_model, save_model

AWAY = torch.device("meta")
MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
CALM = {"dropout": 0.0, "id_dropout": 0.0, "mask_weight": 0.0}
"""Nothing is drawn at random that depends on the device."""


class Away(Tensor):
    """A tensor that says it is elsewhere and holds its numbers here."""

    @staticmethod
    def __new__(cls, held):
        return Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=AWAY,
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"Away({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return carry_out(func, args, kwargs or {})


def carry_out(func, args, kwargs):
    tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
    away = {id(part.held): part for part in tensors if isinstance(part, Away)}
    left = [tuple(part.shape) for part in tensors if not isinstance(part, Away) and part.dim()]
    if away and left and func not in MOVES:
        raise RuntimeError(f"{func} mixes devices: tensors of {left} were left behind")
    asked = kwargs.get("device")
    goes = bool(away) if asked is None else torch.device(asked) == AWAY
    if func is torch.ops.aten.copy_.default:
        goes = isinstance(args[0], Away)
    kwargs = kwargs if asked is None else {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda p: p.held if isinstance(p, Away) else p, (args, kwargs))
    return tree_map(
        lambda p: away.get(id(p), Away(p) if goes else p) if isinstance(p, Tensor) else p,
        func(*args, **kwargs),
    )


class Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return carry_out(func, args, kwargs or {})


class FromLists(TorchFunctionMode):
    """Lists become tensors, and tensors lists, below where a dispatch mode sees them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.tensor:
            device = kwargs.pop("device", None) or "cpu"
            return torch.tensor(*args, **kwargs).to(device)
        if func is Tensor.new_tensor:
            return torch.tensor(args[1], dtype=args[0].dtype).to(args[0].device)
        if func is Tensor.tolist:
            return args[0].cpu().numpy().tolist()
        return func(*args, **kwargs)


@pytest.fixture
def away(monkeypatch):
    """Let models learn on a pretended device while inside `with away():`."""
    able = optim._get_fused_kernels_supported_devices()
    monkeypatch.setattr(optim, "_get_fused_kernels_supported_devices", lambda: [*able, AWAY.type])
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    monkeypatch.setattr("tessera.model.nn.tiles._GPU_TILE_CELLS", 200)

    class Block:
        def __enter__(self):
            self.patch = pytest.MonkeyPatch()
            for module in (train_module, two_tower):
                self.patch.setattr(module, "chosen_device", lambda _: AWAY)
            self.modes = FromLists(), Factories()
            for mode in self.modes:
                mode.__enter__()

        def __exit__(self, *error):
            for mode in reversed(self.modes):
                mode.__exit__(*error)
            self.patch.undo()

    return Block


@pytest.fixture
def ranked(slated, stage_files, small):
    """Return a world with slates, and params that use every part of the model."""
    params = small.model_copy(
        update={"window_days": 2.0, "hold_days": 3.0, "slate_share": 1.0, "edge_bias": True,
                "recency_scales": 2,
                "item_weights_width": 4, "heads": 2, "epochs": 2, "mask_weight": 0.1}
    )  # fmt: skip
    is_view = slated.events.event_id.endswith("3")  # several actions, so that some are hidden
    events = slated.events.mutate(action=ibis.ifelse(is_view, "view", slated.events.action))
    tables = (slated.users, slated.items, slated.prices, slated.exposures, slated.outcomes)
    sources = Sources(events, slated.codes, *tables, slated.edges, slated.cate)
    world = read_dataset(sources, stage_files / "split.json", stage_files, params)
    return world, params


def assert_near(one, two, tolerance):
    assert one.keys() == two.keys()
    for name, value in one.items():
        other = two[name].held if isinstance(two[name], Away) else two[name]
        torch.testing.assert_close(value, other, atol=tolerance, rtol=tolerance, msg=name)


def test_the_pretended_device_refuses_what_was_left_behind(away):
    with away(), pytest.raises(RuntimeError, match="left behind"):
        torch.ones(3).to(AWAY) + torch.ones(3)


@pytest.mark.parametrize(
    "changes", [{}, {"full_softmax_items": 0, "negatives": 6}, {"generate": True}]
)
def test_no_tensor_is_left_behind_and_the_weights_are_the_same(ranked, away, changes):
    world, params = ranked
    params = params.model_copy(update=changes)
    here = fit("hstu", world, params, None)
    with away():
        there = fit("hstu", world, params, None)
    assert {value.device for value in there.model.state_dict().values()} == {AWAY}
    assert here.state.measures["auc"]
    assert here.model.actions is not None
    assert here.state.losses == pytest.approx(there.state.losses, rel=1e-4)
    assert_near(here.model.state_dict(), there.model.state_dict(), 1e-4)


def test_codes_are_decoded_anywhere(ranked, away):
    world, params = ranked
    params = params.model_copy(update={"generate": True, "epochs": 1})
    here = fit("hstu", world, params, None).model
    asked = world.ask(TEST, params)

    def listed(model):
        state_QD = trunk_states(model, world.histories, asked.windows)
        return sources(model, model.decoder, asked, state_QD, params)

    found = listed(here)
    with away():
        again = listed(here.to(AWAY))
    for one, other in zip(found.values(), again.values(), strict=True):
        assert np.array_equal(one.item_UK, other.item_UK)
        np.testing.assert_allclose(one.score_UK, other.score_UK, atol=1e-5)


@pytest.mark.parametrize("kind", ["sasrec", "two_tower"])
def test_the_rivals_learn_anywhere_too(ranked, away, kind):
    world, params = ranked
    learn = two_tower.fit_two_tower if kind == "two_tower" else lambda w, p: fit_plain(kind, w, p)
    place = learn(world, params)[1]
    with away():
        assert learn(world, params)[1].losses == pytest.approx(place.losses, rel=1e-4)


def fit_plain(kind, world, params):
    trained = fit(kind, world, params, None)
    return trained.model, trained.state


def test_scores_and_files_of_a_model_elsewhere_are_those_of_one_here(ranked, away, tmp_path):
    world, params = ranked
    histories, slates = world.histories, world.log.slates
    slates = world.log.examples(np.ones(len(slates), bool), params.features)[1]
    windows = last_windows(histories.first_U1[:-1], histories.until(0), histories.until(0), 8)

    def told(model):
        found = rank_requests(model, histories, slates)
        scores = served(model, found, slates.item_RM)
        return encode(model, histories, windows), item_vectors(model), found.logit_RMT, scores

    with away():
        model = fit("hstu", world, params, None).model
        there = told(model)
        save_model(model, world.catalogue.vocabulary, tmp_path)
    here = told(load_model(tmp_path)[0])
    for one, two in zip(here, there, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_run_begun_elsewhere_is_finished_here(ranked, away, tmp_path, monkeypatch):
    world, params = ranked
    real, done = loop.Trainer._step, []

    def counted(self, *args):
        done.append(next(self.run.model.parameters()).device)
        return real(self, *args)

    monkeypatch.setattr(loop.Trainer, "_step", counted)
    whole = fit("hstu", world, params, None)
    all_steps = len(done)
    done.clear()

    def step(self, *args):
        done.append(next(self.run.model.parameters()).device)
        if len(done) == 12:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(loop.Trainer, "_step", step)
    with away(), pytest.raises(KeyboardInterrupt):
        fit("hstu", world, params, tmp_path)
    params = params.model_copy(update={"device": "cpu"})
    resumed = fit("hstu", world, params, tmp_path)
    steps = done[12:]
    assert set(done[:12]) == {AWAY}
    assert {device.type for device in steps} == {"cpu"}
    assert all_steps - 12 < len(steps) < all_steps, "it goes on from the last checkpoint"
    assert_near(whole.model.state_dict(), resumed.model.state_dict(), 1e-4)


def test_a_gpu_that_is_not_there_is_said_in_one_line(small, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(small.device).type == "cpu"
    with pytest.raises(BadParams, match="hstu.device is cuda") as error:
        chosen_device("cuda")
    assert "\n" not in str(error.value)


def test_each_process_has_a_gpu_of_its_own(small, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert chosen_device(small.device) == torch.device("cuda", 1)
    assert chosen_device("cpu").type == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(BadParams, match="nproc-per-node 2"):
        chosen_device(small.device)


def longest_update(world, params, monkeypatch, factor):
    """Return how far one step of gradient descent of length 1 moves the weights at most."""
    real_loss, real_step, moves = objective.batch_loss, loop.Trainer._step, []

    def step(self, *args):
        before = [weight.detach().clone() for weight in self.run.model.parameters()]
        loss = real_step(self, *args)
        after = [weight.detach() for weight in self.run.model.parameters()]
        moves.append(sum(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True)) ** 0.5)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "batch_loss", lambda *given: factor * real_loss(*given))
        patch.setattr(loop.Trainer, "_step", step)
        descent = partial(torch.optim.SGD, lr=1.0)
        patch.setattr(loop, "adamw", lambda model, *_, **__: descent(model.parameters()))
        fit("sasrec", world, params.model_copy(update={"epochs": 1}), None)
    return float(max(moves))


def test_a_huge_gradient_moves_the_weights_no_further_than_the_clip(world, small, monkeypatch):
    clipped = small.model_copy(update={"clip_norm": 0.5})
    assert longest_update(world, clipped, monkeypatch, 1e6) == pytest.approx(0.5, rel=1e-3)
    for off in (0.0, None):
        free = small.model_copy(update={"clip_norm": off})
        assert longest_update(world, free, monkeypatch, 1e6) > 1e4


def test_short_gradients_are_left_alone(world, small):
    one, two = (
        fit("hstu", world, small.model_copy(update={"clip_norm": most}), None).model.state_dict()
        for most in (0.0, 1e6)
    )
    assert_near(one, two, 0.0)


def lesson(world, params, kind="hstu"):
    """Return a fresh model with the world's slates and edges, and a batch to learn from."""
    shape = fit(kind, world, params.model_copy(update={"epochs": 1}), None).model.shape
    slates = world.log.examples(np.ones(len(world.log.slates), bool), params.features)[1]
    every_R = np.ones(len(slates), bool)
    first_U1, known_U = world.histories.first_U1, world.histories.until(VALIDATION)
    slates = slates.by_history(first_U1, known_U, every_R) if kind == "hstu" else None
    edge_VV = world.edge_VV if kind == "hstu" else None
    examples = Examples(world.histories, world.histories.until(0), np.array([1]), slates)
    torch.manual_seed(0)
    model = SequenceModel(shape, world.codes_VC, torch.ones(shape.items).bool(), edge_VV)
    rng = np.random.default_rng(0)
    windows = examples.windows(params.length, rng)
    teacher = examples.drawn(params.slate_share, rng)
    return model, teacher.lesson(teacher.ask(windows)), torch.arange(1, shape.items)


def loss_and_gradients(model, batch, warm, params):
    torch.manual_seed(0)
    loss = objective.batch_loss(model.train(), [objective.Lesson(0, *batch)], warm, params)
    loss.backward()
    return loss, {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("kind", ["hstu", "sasrec"])
def test_a_step_in_bfloat16_is_near_one_in_float32(ranked, kind):
    world, params = ranked
    model, batch, warm = lesson(world, params, kind)
    loss, exact = loss_and_gradients(model, batch, warm, params)
    model.zero_grad()
    half = params.model_copy(update={"precision": "bfloat16"})
    near, found = loss_and_gradients(model, batch, warm, half)
    assert near.dtype == torch.float32
    assert loss.item() == pytest.approx(near.item(), rel=0.01)
    assert loss.item() != near.item(), "products are no longer float32"
    whole, rough = (torch.cat([g.flatten() for g in one.values()]) for one in (exact, found))
    assert rough.dtype == torch.float32
    assert (whole - rough).norm() < 0.02 * whole.norm()
    for name in ("layers.0.uvqk", "layers.0.bias.time", "layers.0.bias.position"):
        if name in exact:
            assert (exact[name] - found[name]).norm() < 0.05 * exact[name].norm(), name


def test_bfloat16_learns(world, small):
    losses = fit("hstu", world, small.model_copy(update={"precision": "bfloat16"}), None).state
    assert losses.losses[-1] < 0.8 * losses.losses[0]


@pytest.mark.filterwarnings("ignore")
def test_compiled_layers_give_the_same_loss_and_gradients(ranked, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    world, params = ranked
    params = params.model_copy(update=CALM | {"layers": 1})  # each is compiled by itself
    model, batch, warm = lesson(world, params)
    loss, exact = loss_and_gradients(model, batch, warm, params)
    model.zero_grad()
    try:
        compile_layers(model)
    except BadParams as error:
        pytest.skip(str(error))
    again, found = loss_and_gradients(model, batch, warm, params)
    assert loss.item() == pytest.approx(again.item(), rel=1e-5)
    assert_near(exact, found, 1e-4)
    assert model.layers[0]._compiled_call_impl is not None


def test_a_missing_compiler_is_said_in_one_line(ranked, monkeypatch):
    world, params = ranked
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(BadParams, match="C\\+\\+ compiler") as error:
        fit("hstu", world, params.model_copy(update={"compile": True}), None)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["hstu", "sasrec"])
def test_a_gpu_learns_what_the_processor_learns(ranked, kind):
    world, params = ranked
    params = params.model_copy(update=CALM | {"device": "cpu"})
    model, batch, warm = lesson(world, params, kind)
    there, _, _ = lesson(world, params, kind)
    cuda = torch.device("cuda", 0)
    there = there.to(cuda)
    for one in (model, there):
        device = next(one.parameters()).device
        optimizer = loop.adamw(one, params.learning_rate, params.weight_decay)
        for _ in range(5):
            optimizer.zero_grad()
            batch_there = (moved(part, device) for part in batch)
            loss, _ = loss_and_gradients(one, batch_there, warm.to(device), params)
            optimizer.step()
        one.told = loss.item()
    assert model.told == pytest.approx(there.told, rel=1e-4)
    windows = last_windows(
        world.histories.first_U1[:-1], world.histories.until(0), world.histories.until(0), 8
    )
    here, far = (encode(one.eval(), world.histories, windows) for one in (model, there))
    np.testing.assert_allclose(here, far, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_begun_on_the_processor_is_finished_on_a_gpu(ranked, tmp_path, monkeypatch):
    world, params = ranked
    whole = fit("hstu", world, params.model_copy(update=CALM | {"device": "cpu"}), None)
    real, done = loop.Trainer._step, []

    def step(self, *args):
        done.append(self.device.type)
        if len(done) == 12:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(loop.Trainer, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        fit("hstu", world, params.model_copy(update=CALM | {"device": "cpu"}), tmp_path)
    resumed = fit("hstu", world, params.model_copy(update=CALM | {"device": "cuda"}), tmp_path)
    assert done[-1] == "cuda"
    assert resumed.state.losses == pytest.approx(whole.state.losses, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"compile": True}])
def test_a_gpu_learns_in_every_manner(ranked, changes):
    world, params = ranked
    place = fit("hstu", world, params.model_copy(update={"device": "cuda"} | changes), None).state
    assert place.losses[-1] < place.losses[0]
