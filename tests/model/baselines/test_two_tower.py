"""The two towers: the loss by hand, what logQ undoes, what they learn, what they may not see."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tessera.contracts.arrow import schema
from tessera.contracts.split import TEST, VALIDATION
from tessera.contracts.tables import BASELINE_LISTS
from tessera.model.baselines.two_tower import before_targets, encode_users, fit_two_tower, published
from tessera.model.nn.in_batch import Chosen, in_batch_softmax, log_chance
from tessera.model.params import HstuParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.questions import action_codes, top_items
from tessera.model.sequences.windows import last_windows
from tessera.model.training.examples import Examples


@pytest.fixture
def unit(rng):
    def draw(rows):
        drawn = torch.from_numpy(rng.normal(size=(rows, 4))).float()
        return torch.nn.functional.normalize(drawn, dim=-1)

    return draw


def test_the_loss_is_the_formula_worked_out_target_by_target(unit):
    state, item = unit(5), unit(7)
    target, user, extra = [1, 2, 1, 3, 2], [0, 0, 1, 2, 2], [4, 1, 6]
    log_q = torch.linspace(-3.0, -1.0, 7)
    chosen = Chosen(torch.tensor(target), torch.tensor(user), torch.tensor(extra))
    expected = []
    for n in range(5):
        mine = {target[m] for m in range(5) if user[m] == user[n]}
        rivals = [one for one in target + extra if one not in mine]
        logit = [float(state[n] @ item[one]) / 0.5 - float(log_q[one]) for one in rivals]
        own = float(state[n] @ item[target[n]]) / 0.5 - float(log_q[target[n]])
        expected.append(np.log(np.exp([own, *logit]).sum()) - own)
    loss = in_batch_softmax(state, item, chosen, log_q, 0.5)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_log_q_is_the_share_of_columns_that_an_item_has():
    chance = log_chance(np.array([1, 1, 1, 2]), np.array([1, 2, 3]), 5, extra=512).exp().numpy()
    assert chance.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        chance[1:4] * 1536, [768 + 512 / 3, 256 + 512 / 3, 512 / 3], rtol=1e-5
    )


def as_world(item_UL, split, items):
    """Lay equally long histories out; the last two events are for validation and test."""
    users, length = item_UL.shape
    phase = np.zeros(length, np.int64)
    phase[-2:] = VALIDATION, TEST
    histories = Histories(
        user_id_U=[f"u{user}" for user in range(users)],
        first_U1=np.arange(users + 1) * length,
        user_E=np.repeat(np.arange(users), length),
        item_E=item_UL.ravel(),
        action_E=np.full(item_UL.size, int(action_codes(("buy",))[0])),
        moment_E=np.tile(np.arange(length) * 86_400_000_000, users),
        phase_E=np.tile(phase, users),
        group_E=np.tile(np.arange(length), users),
    )
    bounds = np.iinfo(np.int64)
    catalogue = SimpleNamespace(
        vocabulary=[f"i{item}" for item in range(1, items)],
        candidates_V=lambda *_: np.arange(items) > 0,
        from_V=np.full(items, bounds.min),
    )
    codes = torch.empty(items, 0, dtype=torch.long)
    return Dataset(split, catalogue, codes, histories)


PARAMS = HstuParams(
    width=16, length=8, learning_rate=0.02, temperature=0.2, dropout=0.0, id_dropout=0.0,
    filter_seen=False, negatives=16,
)  # fmt: skip


def states(model, world):
    first = world.histories.first_U1
    return encode_users(
        model, world.histories, last_windows(first[:-1], first[1:] - 1, first[:-1], 8)
    )


HEAD = 20
"""Of 100 items by popularity, the first so many have seven in ten of all events."""


def test_without_log_q_popular_items_are_punished_for_being_negatives(split, rng):
    chance = 1.0 / np.arange(1, 101)
    item_UL = 1 + rng.choice(100, (1500, 8), p=chance / chance.sum())
    world = as_world(item_UL, split, 101)
    popularity = np.log(np.bincount(item_UL.ravel(), minlength=101)[1:])
    last_U = item_UL[:, -1]
    found, tail_recall = {}, {}
    for corrected in (True, False):
        model, _ = fit_two_tower(world, PARAMS, corrected=corrected)
        score = states(model, world) @ published(model)[0][1:].T
        found[corrected] = np.corrcoef(score.mean(axis=0), popularity)[0, 1]
        lists = top_items(states(model, world), *published(model), None, 10)
        hit_U = (lists.item_UK == last_U[:, None]).any(axis=1)
        tail_recall[corrected] = hit_U[last_U > HEAD].mean()
    # Nobody has a taste: with log Q a score is log p(i), without it the log of p(i) / p(i).
    assert found[True] > 0.8
    assert found[True] > found[False] + 0.2
    # What is rarely wanted is listed for nobody by log p(i), and by chance by what is flat.
    assert tail_recall[True] < 0.02
    assert tail_recall[False] > tail_recall[True] + 0.03


def test_it_learns_a_planted_taste(split, rng):
    taste = rng.integers(4, size=400)
    item_UL = 1 + 10 * taste[:, None] + rng.integers(10, size=(400, 8))
    world = as_world(item_UL, split, 41)
    model, state = fit_two_tower(world, PARAMS)
    lists = top_items(states(model, world), *published(model), None, 10)
    assert ((lists.item_UK - 1) // 10 == taste[:, None]).mean() > 0.95
    assert state.losses[-1] < state.losses[0]


def test_a_target_is_foretold_from_strictly_earlier_events_alone(world):
    histories = world.histories
    examples = Examples(histories, histories.until(VALIDATION), action_codes(("click",)))
    event, windows = before_targets(examples, length=5)
    assert (windows.stop_W <= event).all()
    assert (windows.stop_W - windows.start_W <= 5).all()
    assert (windows.start_W >= histories.first_U1[histories.user_E[event]]).all()
    some = windows.stop_W > windows.start_W
    before, at = windows.stop_W[some] - 1, event[some]
    assert (histories.user_E[before] == histories.user_E[at]).all()
    assert (histories.moment_E[before] < histories.moment_E[at]).all()


def weights(world, small):
    return fit_two_tower(world, small)[0].state_dict()


def same(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())


def test_what_happens_after_the_cut_changes_no_weight(world, small, rng):
    histories = world.histories
    later = histories.phase_E == TEST
    item_E = histories.item_E.copy()
    item_E[later] = rng.permutation(item_E[later])
    moved = replace(world, histories=replace(histories, item_E=item_E))
    assert same(weights(world, small), weights(moved, small))
    item_E[~later] = rng.permutation(item_E[~later])
    moved = replace(world, histories=replace(histories, item_E=item_E))
    assert not same(weights(world, small), weights(moved, small))


def test_refit_learns_from_the_validation_period_too(world, small):
    histories = world.histories
    known = Examples(histories, histories.until(VALIDATION), action_codes(("click",))).warm_W()
    missing = replace(world, histories=replace(histories, item_E=histories.item_E.copy()))
    train_only = (missing.histories.phase_E < VALIDATION) & (histories.item_E == 3)
    missing.histories.item_E[train_only] = 4
    assert 3 in known
    for refit in (False, True):
        model, state = fit_two_tower(missing, small.model_copy(update={"refit": refit}))
        assert model.warm_V[3] == refit
        assert state.best("ndcg") > 0


def test_an_item_without_examples_is_its_codes(world, small):
    model, _ = fit_two_tower(world, small)
    model.warm_V[3] = False
    item_VD, placed_V = published(model)
    words = sum(table[model.codes_VC[3, k]] for k, table in enumerate(model.codewords))
    wanted = torch.nn.functional.normalize(words, dim=-1).detach().numpy()
    np.testing.assert_allclose(item_VD[3], wanted, atol=1e-6)
    assert placed_V[3]


def test_the_stage_lists_it_beside_sasrec(run_baselines, tables, split, small, world):
    params = small.model_copy(update={"epochs": 1, "two_tower": True})
    folder, metrics = run_baselines(tables, params)
    lists = pq.read_table(folder / "baseline_lists.parquet").to_pylist()
    assert list(dict.fromkeys(row["model"] for row in lists)) == ["sasrec", "two_tower"]
    users = {name: {row["user_id"] for row in lists if row["model"] == name}
             for name in ("sasrec", "two_tower")}  # fmt: skip
    asked = world.ask(TEST, small)
    assert users["two_tower"] == users["sasrec"]
    assert len(users["two_tower"]) == len(asked.user_Q)
    assert metrics["two_tower_epochs"] == metrics["sasrec_epochs"] == 1.0
    assert {path.name for path in (folder / "baseline_training").iterdir()} == {
        "sasrec.csv", "two_tower.csv",
    }  # fmt: skip


def test_none_asked_for_is_a_table_without_rows(run_baselines, tables, small):
    folder, metrics = run_baselines(tables, small.model_copy(update={"sasrec": False}))
    rows = pq.read_table(folder / "baseline_lists.parquet")
    assert rows.schema.equals(schema(BASELINE_LISTS))
    assert not len(rows)
    assert not metrics
