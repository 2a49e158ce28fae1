"""Laws of every sequence model: it learns, cannot see the future, repeats itself, survives disk."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pytest
import torch

from tessera.contracts.split import TEST, Split
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue, read_codes
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.questions import Lists, action_codes, ndcg, top_items
from tessera.model.sequences.reading import read_histories
from tessera.model.training.examples import BatchBuilder, Examples
from tessera.model.training.fit import fit
from tessera.model.training.objective import Lesson, batch_loss
from tessera.model.trunk.inference import encode, item_vectors
from tessera.model.trunk.saved import load_model, save_model

START = datetime(2024, 1, 1, tzinfo=UTC)
SPLIT = Split(START + timedelta(days=20), START + timedelta(days=24), START + timedelta(days=30))
NAMES = [f"i{item:02d}" for item in range(20)]
PARAMS = HstuParams(
    width=16, length=10, epochs=6, patience=6, batch=32, dropout=0.1, learning_rate=0.01,
    targets=("buy",), acquired=("buy",), filter_seen=False, top=10,
)  # fmt: skip

MODELS = {
    "hstu": {}, "sasrec": {}, "recency": {"recency_scales": 3},
    "weighed": {"item_input": "weighed"},
    "shrunk": {"item_input": "weighed", "own_share": "shrink"},
}  # fmt: skip
models = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


def planted(users=120, seed=11):
    """Draw buys along a fixed chain of items, a third of them at random instead."""
    rng = np.random.default_rng(seed)
    after = rng.permutation(20)
    rows = []
    for user in range(users):
        item = int(rng.integers(20))
        for day in range(28):
            at = START + timedelta(days=day, seconds=int(rng.integers(86_400)))
            rows.append((f"u{user:03d}", NAMES[item], at))
            item = int(rng.integers(20)) if rng.random() < 0.3 else int(after[item])
    rows.sort(key=lambda row: row[2])
    return pa.table(
        {
            "event_id": [f"e{number:05d}" for number in range(len(rows))],
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "action": ["buy"] * len(rows),
            "event_ts": pa.array([row[2] for row in rows], pa.timestamp("us", tz="UTC")),
        }
    )


def build(events):
    none = pa.nulls(20, pa.timestamp("us", tz="UTC"))
    catalogue = read_catalogue(
        ibis.memtable(pa.table({"item_id": NAMES, "valid_from": none, "valid_to": none}))
    )
    codes = ibis.memtable(pa.table({"item_id": NAMES, "code": [[k % 4, k] for k in range(20)]}))
    histories = read_histories(ibis.memtable(events), SPLIT, NAMES, tied_sets=True)
    return Dataset(SPLIT, catalogue, read_codes(codes, NAMES), histories)


def learn(kind, world, **changes):
    params = PARAMS.model_copy(update={**MODELS[kind], **changes})
    return fit("sasrec" if kind == "sasrec" else "hstu", world, params, None)


@pytest.fixture(scope="module")
def world():
    return build(planted())


@pytest.fixture(scope="module")
def trained(world):
    with threads(1):
        return {kind: learn(kind, world) for kind in MODELS}


def next_buys(world):
    """Return the first buy after the cut of each test user, and the question it answers."""
    question = world.ask(TEST, PARAMS)
    return question, world.histories.item_E[question.windows.stop_W]


def quality(model, world):
    question, next_Q = next_buys(world)
    state = encode(model, world.histories, question.windows)
    allowed = world.catalogue.alive_V(SPLIT.cut)
    lists = top_items(state, item_vectors(model), allowed, None, 10)
    return ndcg(lists, (np.arange(len(next_Q)), next_Q), 21)


@models
def test_it_beats_popularity_on_a_planted_structure(kind, trained, world):
    _, next_Q = next_buys(world)
    known = world.histories.item_E[world.histories.phase_E < TEST]
    popular = np.argsort(-np.bincount(known, minlength=21), kind="stable")[:10]
    same = Lists(np.tile(popular, (len(next_Q), 1)), np.ones((len(next_Q), 10), np.float32))
    popularity = ndcg(same, (np.arange(len(next_Q)), next_Q), 21)
    assert quality(trained[kind].model, world) > popularity + 0.25


@models
def test_the_loss_falls(kind, trained):
    losses = trained[kind].state.losses
    assert losses[-1] < 0.8 * losses[0]


@models
def test_gradients_reach_every_parameter(kind, trained, world):
    model = trained[kind].model
    examples = Examples(world.histories, world.histories.until(0), action_codes(("buy",)))
    windows = examples.windows(PARAMS.length, np.random.default_rng(0))
    batch, targets = BatchBuilder(examples, None).lesson(windows)
    model.zero_grad()
    batch_loss(model, [Lesson(0, batch, targets)], examples.warm_W(), PARAMS).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@models
def test_the_future_changes_no_weight(kind, trained):
    events = planted()
    late = np.asarray(events["event_ts"]) > np.datetime64(SPLIT.cut.replace(tzinfo=None))
    items = np.asarray(events["item_id"].to_pylist())
    items[late] = np.random.default_rng(1).permutation(items[late])
    shuffled = build(events.set_column(2, "item_id", pa.array(items)))
    again = learn(kind, shuffled).model.state_dict()
    for name, value in trained[kind].model.state_dict().items():
        assert torch.equal(value, again[name]), name


@models
def test_the_same_seed_gives_the_same_weights(kind, trained, world):
    again = learn(kind, world).model.state_dict()
    other = learn(kind, world, seed=1, epochs=1).model
    for name, value in trained[kind].model.state_dict().items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(other.start_D, again["start_D"])


@models
def test_a_model_read_from_disk_gives_the_same_lists(kind, trained, world, tmp_path):
    save_model(trained[kind].model, NAMES, tmp_path / "model")
    again, vocabulary = load_model(tmp_path / "model")
    assert vocabulary == NAMES
    assert quality(again, world) == quality(trained[kind].model, world)
    np.testing.assert_array_equal(item_vectors(again), item_vectors(trained[kind].model))


@models
def test_equal_runs_leave_equal_bytes(kind, trained, tmp_path):
    for folder in ("one", "two"):
        save_model(trained[kind].model, NAMES, tmp_path / folder)
    for file in ("model.safetensors", "config.json", "items.json", "cost.json"):
        one, two = (Path(tmp_path / folder / file).read_bytes() for folder in ("one", "two"))
        assert one == two
