"""Slates teach the trunk to rank: what they may know, what they change, and that they help."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import EXPOSURES
from tessera.model.nn.ranking import TASKS
from tessera.model.sequences.exposure_log import matured
from tessera.model.sequences.slates import Slates
from tessera.model.trainer import loop
from tessera.model.training.fit import fit, pose

CLICK, BUY, DISMISS, HOLD = range(len(TASKS))


@pytest.fixture
def params(small):
    return small.model_copy(
        update={
            "window_days": 2.0,
            "hold_days": 3.0,
            "epochs": 4,
            "slate_share": 1.0,
        }
    )


@pytest.fixture
def world(slated, params, logged_world):
    return logged_world(slated, params)


def weights(world, params, scratch=None):
    return fit("hstu", world, params, scratch).model.state_dict()


def assert_same(one, two):
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.fixture
def run_stage(run_trunk, slated, params):
    def stage(out="out", tables=slated, **changes):
        return run_trunk(tables, params.model_copy(update=changes), out)

    return stage


def test_the_head_learns_what_follows_and_is_told_of_in_the_metrics(run_stage):
    folder, metrics = run_stage()
    assert metrics["rank_auc_click"] > 0.8
    assert metrics["rank_auc_click"] > metrics["rank_auc_click_popularity"] + 0.2
    assert metrics["rank_auc_served"] == pytest.approx(metrics["rank_auc_click"], abs=0.05)
    assert "rank_auc_click_cosine" in metrics
    assert "rank_auc_buy" not in metrics
    header = (folder / "training" / "hstu.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,validation_ndcg_at_10,validation_auc"


def test_the_param_chooses_whose_scores_are_served(run_stage):
    scores = {}
    for score in ("recall", "rank"):
        folder, _ = run_stage(score, score=score, epochs=1)
        rows = pq.read_table(folder / "scores.parquet")
        scores[score] = np.array(rows["candidate_scores"].to_pylist())
    assert np.abs(scores["recall"]).max() <= 1.0 + 1e-6
    assert not np.allclose(scores["recall"], scores["rank"])
    assert np.abs(scores["rank"]).max() <= 4.0
    assert 0.3 < scores["rank"].std() < 3.0


def test_the_chances_are_those_whose_log_odds_are_served(run_stage):
    folder, _ = run_stage(epochs=1, score="rank")
    rows = pq.read_table(folder / "scores.parquet")
    chance_C = np.concatenate(rows["candidate_chances"].to_pylist())
    score_C = np.concatenate(rows["candidate_scores"].to_pylist())
    inside = np.abs(score_C) < 4.0
    assert inside.mean() > 0.9
    slope, level = np.polyfit(score_C[inside], np.log(chance_C / (1 - chance_C))[inside], 1)
    assert slope > 0
    np.testing.assert_allclose(
        np.log(chance_C / (1 - chance_C))[inside], slope * score_C[inside] + level, atol=1e-3
    )
    again, _ = run_stage("again", epochs=1, rank_weight=0.0)
    rows = pq.read_table(again / "scores.parquet")
    assert rows["candidate_chances"].null_count == len(rows) > 0


def publish(folder, stage_files, *names):
    for name in names:
        shutil.copytree(folder / name, stage_files / "champion" / name)
    told = {"version": "v1", "kind": "model"}
    (stage_files / "champion" / "champion.json").write_text(json.dumps(told))


def test_a_champion_with_a_head_gets_the_scores_it_serves(run_stage, stage_files):
    folder, _ = run_stage(epochs=1)
    publish(folder, stage_files, "model", "facts")
    again, _ = run_stage("again", epochs=1, rank_weight=0.0)
    one, two = (pq.read_table(out / "scores.parquet") for out in (folder, again))
    assert two["champion_scores"].to_pylist() == one["candidate_scores"].to_pylist()
    assert two["candidate_scores"].to_pylist() != one["candidate_scores"].to_pylist()


def test_a_champion_answers_from_its_own_codes_and_edges_not_from_those_of_the_run(
    run_stage, stage_files, slated
):
    folder, _ = run_stage(epochs=1)
    publish(folder, stage_files, "model", "facts")
    codes, edges = slated.codes.to_pyarrow(), slated.edges.to_pyarrow()
    turned = codes.set_column(0, "item_id", codes["item_id"].take(np.arange(len(codes))[::-1]))
    other = {**vars(slated), "codes": ibis.memtable(turned), "edges": ibis.memtable(edges[:0])}
    again, _ = run_stage("again", SimpleNamespace(**other), epochs=1)
    one, two = (pq.read_table(out / "scores.parquet") for out in (folder, again))
    assert two["champion_scores"].to_pylist() == one["candidate_scores"].to_pylist()
    assert two["candidate_scores"].to_pylist() != one["candidate_scores"].to_pylist()


def test_a_champion_that_serves_with_the_cosine_needs_no_facts(run_stage, stage_files):
    """It has a ranking head, which taught the trunk, and its bundle carries no facts."""
    folder, _ = run_stage(epochs=1, score="recall")
    publish(folder, stage_files, "model")
    again, _ = run_stage("again", epochs=1)
    one, two = (pq.read_table(out / "scores.parquet") for out in (folder, again))
    scores = [np.concatenate(table[name].to_pylist())
              for table, name in ((two, "champion_scores"), (one, "candidate_scores"))]  # fmt: skip
    np.testing.assert_allclose(*scores, atol=1e-6)
    assert np.std(scores[0]) > 0.01, "or the test says nothing"


def test_a_champion_whose_facts_are_gone_or_of_other_items_is_refused(run_stage, stage_files):
    folder, _ = run_stage(epochs=1)
    publish(folder, stage_files, "model")
    with pytest.raises(BrokenBundle, match=r"facts .* cannot be read \(.*users.parquet"):
        run_stage("without", epochs=1)
    shutil.copytree(folder / "facts", stage_files / "champion" / "facts")
    items = stage_files / "champion" / "facts" / "items.parquet"
    pq.write_table(pq.read_table(items)[1:], items)
    with pytest.raises(BrokenBundle, match="they know other items than the model.; publish it"):
        run_stage("fewer", epochs=1)


def test_without_ranking_weight_or_slates_there_is_no_head(world, tables, params, logged_world):
    off = params.model_copy(update={"rank_weight": 0.0, "epochs": 1})
    assert fit("hstu", world, off, None).model.rank is None
    unlogged = logged_world(tables, params)
    assert fit("hstu", unlogged, params.model_copy(update={"epochs": 1}), None).model.rank is None


def test_a_run_killed_among_slates_resumes_to_the_same_weights(
    world, params, tmp_path, monkeypatch
):
    class Killed(Exception):
        pass

    whole = weights(world, params)
    real, done = loop.Trainer._step, []

    def step(self, *args):
        if len(done) == 5:
            raise Killed
        done.append(1)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", step)
        with pytest.raises(Killed):
            fit("hstu", world, params, tmp_path)
    assert (tmp_path / "search" / "hstu.safetensors").is_file()
    assert_same(whole, weights(world, params, tmp_path))


def test_other_labels_take_up_no_checkpoint(world, params, tmp_path):
    weights(world, params, tmp_path)
    slates = replace(world.log.slates, label_RMT=1 - world.log.slates.label_RMT)
    other = replace(world, log=replace(world.log, slates=slates))
    assert_same(weights(other, params), weights(other, params, tmp_path))


def test_the_future_changes_no_weight(world, slated, split, params, logged_world):
    one = weights(world, params)
    rng = np.random.default_rng(5)

    def shuffled(table, column):
        rows = table.to_pyarrow()
        late = np.array([at > split.cut for at in rows["event_ts"].to_pylist()])
        values = np.array(rows[column].to_pylist(), object)
        values[late] = rng.permutation(values[late])
        place = rows.schema.get_field_index(column)
        return ibis.memtable(rows.set_column(place, column, pa.array(values.tolist(), pa.string())))

    changed = {"events": shuffled(slated.events, "item_id"),
               "outcomes": shuffled(slated.outcomes, "item_id"),
               "exposures": shuffled(slated.exposures, "item_id")}  # fmt: skip
    other = logged_world(type(slated)(**{**vars(slated), **changed}), params)
    assert_same(one, weights(other, params))


def test_slates_whose_window_leaves_their_period_are_left_out(world, split, params):
    learn, check, later = matured(world.log.slates, split, params.window_days)
    moment = world.log.slates.moment_R / 1e6
    window = params.window_days * 86_400
    assert moment[learn].max() < split.validation_from.timestamp() - window
    assert split.validation_from.timestamp() <= moment[check].min()
    assert moment[check].max() <= split.cut.timestamp() - window
    assert split.cut.timestamp() < moment[later].min()
    assert (learn.astype(int) + check + later).max() == 1


# What one epoch shows.


def teacher_of(world, params, seed=0):
    examples = pose("hstu", world, params).examples(refit=False)
    rng = np.random.default_rng(seed)
    windows = examples.windows(params.length, rng)
    teacher = examples.drawn(params.slate_share, rng)
    return teacher.lesson(teacher.ask(windows)), examples


def test_every_slate_stands_beside_the_events_strictly_before_it(world, params):
    (batch, targets), examples = teacher_of(world, params)
    asked = targets.asked
    last = batch.second_BL[asked.sequence_N, asked.state_N.clamp(min=0)]
    assert ((last <= asked.second_N) | (asked.state_N < 0)).all()
    following = (asked.state_N + 1).clamp(max=batch.second_BL.shape[1] - 1)
    is_event = batch.item_BL[asked.sequence_N, following] > 0
    is_event &= following == asked.state_N + 1
    assert (batch.second_BL[asked.sequence_N, following] >= asked.second_N)[is_event].all()
    assert len(asked.item_NM) > 0.9 * len(examples.slates)


def test_a_state_before_a_slate_is_asked_for_at_the_time_of_the_slate(world, params):
    """Asked for at the next event, it would know when the click came."""
    (batch, targets), _ = teacher_of(world, params)
    asked = targets.asked
    after = asked.state_N >= 0
    request = batch.request_BL[asked.sequence_N[after], asked.state_N[after]]
    assert torch.equal(request, asked.second_N[after])


def test_when_the_next_event_comes_cannot_be_read_off_a_logit(world, params):
    model = fit("hstu", world, params.model_copy(update={"epochs": 1}), None).model
    (batch, targets), _ = teacher_of(world, params)
    asked = targets.asked
    row = int((asked.state_N == 3).nonzero()[0, 0])
    sequence = asked.sequence_N[row]
    later = batch.second_BL.clone()
    later[sequence, 4:] += 7_000
    moved = batch.request_BL.clone()
    moved[sequence, 4:] += 9_000

    def logit(of):
        with torch.no_grad():
            item_VD = model.items()
            return model.logits(of, asked, model.encode(of, item_VD), item_VD)[row]

    assert torch.equal(logit(replace(batch, second_BL=later, request_BL=moved)), logit(batch))
    early = batch.second_BL.clone()
    early[sequence, 2] -= 40 * 86_400
    assert not torch.equal(logit(replace(batch, second_BL=early)), logit(batch))


def test_one_slate_of_each_stretch_is_drawn_and_all_get_their_turn(world, params):
    slates = pose("hstu", world, params).examples(refit=False).slates
    doubled = slates.take(np.repeat(np.arange(len(slates)), 2))
    doubled = replace(doubled, moment_R=doubled.moment_R + np.arange(len(doubled)) % 2)
    first_U1, seen = world.histories.first_U1, set()
    for seed in range(6):
        row_R, key_R = doubled.drawn(first_U1, 1.0, np.random.default_rng(seed))
        assert len(np.unique(key_R)) == len(key_R) == len(slates)
        assert np.array_equal(key_R, doubled.keys(first_U1)[row_R])
        seen |= set(doubled.moment_R[row_R] % 2)
    assert seen == {0, 1}
    half, _ = slates.drawn(first_U1, 0.5, np.random.default_rng(0))
    assert 0.35 * len(slates) < len(half) < 0.65 * len(slates)


def test_slates_are_kept_by_history_and_only_of_whoever_is_known():
    first_U1, stop_U = np.array([0, 2, 3]), np.array([2, 2])  # w does nothing before the cut
    user_R = np.array([0, 1, 0, -1, 0])
    stop_R, none_R1 = np.array([2, 3, 0, 0, 1]), np.ones((5, 1), int)
    slates = Slates(user_R, np.arange(5), stop_R, none_R1, none_R1, *[none_R1[..., None]] * 3)
    kept = slates.by_history(first_U1, stop_U, np.ones(5, bool))
    assert kept.moment_R.tolist() == [2, 4, 0]
    assert slates.by_history(first_U1, stop_U, np.arange(5) > 0).moment_R.tolist() == [2, 4]


# Labels.


def label_of(world, request, item):
    row = world.log.request_ids.to_pylist().index(request)
    place = world.catalogue.vocabulary.index(item) + 1
    slot = world.log.slates.item_RM[row].tolist().index(place)
    slates = world.log.slates
    return slates.label_RMT[row, slot], slates.weight_RMT[row, slot]


@pytest.fixture
def told(slated, split, logged_world):
    """Log one slate three days after the start, a purchase from it, and perhaps its sale."""

    def world_of(params, *, sale=None, bought=True, without=None):
        first = slated.events.to_pyarrow().to_pylist()[0]
        start = first["event_ts"].replace(hour=0, minute=0, second=0)
        day = (split.cut - split.validation_from) / 3
        shown = [
            {"request_id": "r", "position": place, "user_id": first["user_id"], "item_id": item,
             "event_ts": start + 3 * day, "policy_id": "p", "propensity": 0.02 * place,
             "candidate_ids": ["i00", "i01"], "candidate_propensities": [0.5, 0.5],
             "context_version": "c"}
            for place, item in enumerate(("i00", "i01"), start=1)
        ]  # fmt: skip
        deal = {"request_id": "r", "item_id": "i00", "action": "buy", "value": 9.0}
        events = slated.events.to_pyarrow().to_pylist()
        events = [event for event in events if event["item_id"] != without]
        sales = [{**first, "event_id": "e99999", "action": "sell",
                  "item_id": "i11" if without is None else "i02",
                  "event_ts": start + day}]  # fmt: skip
        if sale is not None:
            sales.append(
                {**sales[0], "event_id": "f", "item_id": "i00", "event_ts": start + sale * day}
            )
        changes = {
            "events": ibis.memtable(pa.Table.from_pylist([*events, *sales])),
            "exposures": ibis.memtable(pa.Table.from_pylist(shown, schema(EXPOSURES))),
            "outcomes": ibis.memtable(
                pa.Table.from_pylist(
                    [{**deal, "event_ts": start + 3.5 * day}] if bought else [],
                    slated.outcomes.to_pyarrow().schema,
                )
            ),
        }
        return logged_world(type(slated)(**{**vars(slated), **changes}), params)

    return world_of


def test_a_purchase_sold_within_the_horizon_was_none_to_hold(told, params):
    for sale, held in ((5.0, 0.0), (6.5, 1.0), (2.0, 1.0), (None, 1.0)):
        label, weight = label_of(told(params, sale=sale), "r", "i00")
        assert label.tolist() == [0.0, 1.0, 0.0, held], sale
        assert weight.tolist() == [1.0] * 4
    label, weight = label_of(told(params), "r", "i01")
    assert label.tolist() == [0.0] * 4


def test_a_sale_counts_though_nobody_ever_trades_the_last_item(told, params):
    """Pairs are numbered by the catalogue: the largest item traded depends on what comes later."""
    for sale, held in ((5.0, 0.0), (6.5, 1.0), (None, 1.0)):
        world = told(params, sale=sale, without="i11")
        assert world.histories.item_E.max() + 1 < len(world.catalogue.from_V)
        assert label_of(world, "r", "i00")[0][HOLD] == held, sale


def test_the_last_lesson_is_not_told_when_its_investor_acts_next(world, params):
    """Nor which investors will: the first event after the examples is none of them."""
    task = pose("hstu", world, params)
    one_slate = task.shown.slates.take(np.zeros(1, int))
    examples = replace(task.examples(refit=False), slates=one_slate)
    histories, stop_U = examples.histories, examples.stop_U
    rng = np.random.default_rng(0)
    windows = examples.windows(params.length, rng)
    asked_W = examples.drawn(params.slate_share, rng).ask(windows).request_W
    last_W = windows.stop_W == stop_U[histories.user_E[windows.stop_W - 1]]
    own_W = histories.second(windows.stop_W - 1)
    assert (histories.next_second(windows.stop_W - 1) > own_W)[last_W].any(), "there is a next one"
    assert (asked_W == own_W)[last_W].sum() >= last_W.sum() - 1, "but for the one slate"


def test_a_horizon_that_ends_behind_the_period_is_not_known(told, params):
    far = params.model_copy(update={"hold_days": 30.0})
    world = told(far)
    assert label_of(world, "r", "i00")[1].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert label_of(world, "r", "i01")[1].tolist() == [1.0] * 4


def test_a_source_without_sales_leaves_holding_out(world):
    assert (world.log.slates.weight_RMT[..., HOLD] == 0.0).all()
    assert (world.log.slates.weight_RMT[..., CLICK][world.log.slates.item_RM > 0] == 1.0).all()


def test_rows_can_be_weighed_by_their_inverse_propensity(told, params):
    world = told(params.model_copy(update={"inverse_propensity": True}))
    assert label_of(world, "r", "i00")[1][CLICK] == 10.0
    plain = told(params)
    assert label_of(plain, "r", "i00")[1][CLICK] == 1.0


def test_ranking_beside_it_does_not_ruin_recall(world, params):
    joint = fit("hstu", world, params, None)
    alone = fit("hstu", world, params.model_copy(update={"rank_weight": 0.0}), None)
    assert joint.state.measures["auc"][-1] > 0.7
    assert "auc" not in alone.state.measures
    assert joint.state.best("ndcg") > 0.85 * alone.state.best("ndcg")
