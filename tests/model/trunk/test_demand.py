"""Demand and profit beside the trunk: items nobody had yet are ranked by what is expected."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.catalogue import microsecond
from tessera.model.training.fit import fit
from tessera.model.training.vector_mix import learn_closed_form
from tessera.model.trunk.closed_form import ClosedForm
from tessera.model.trunk.demand import Demand, Trend
from tessera.model.trunk.profit import Profit
from tessera.shared.features.demand import Acquired, Sale, expected_gains, mean_gains
from tessera.shared.features.prices import PriceHistory

BUY = ACTIONS.index("buy")
EVER = np.iinfo(np.int64).min
NOW = 100 * DAY_US


@pytest.fixture
def sale():
    """Items 1 to 3 were always on sale; 4 was new lately, and 5, of its class, is to come."""
    since = np.array([EVER, EVER, EVER, EVER, 95 * DAY_US, 105 * DAY_US])
    return Sale(since, np.array([0, 0, 0, 0, 1, 1]))


@pytest.fixture
def acquired():
    """Some have what is new; the others have the old items, one of them long ago."""
    rows = [(0, 4, 96), (1, 4, 97), (6, 4, 97), (7, 4, 98), (8, 4, 99),
            (2, 1, 98), (3, 2, 98), (4, 2, 99), (5, 3, 20)]  # fmt: skip
    user_E, item_E, day_E = np.array(rows, np.int64).T
    return Acquired.of(user_E, item_E, day_E * DAY_US)


@pytest.fixture
def closed_form(acquired, sale):
    made = ClosedForm(items=6, item_weights_width=0, classes=2, profits=False)
    made.like(np.array([BUY]))
    gain_V = expected_gains(acquired, sale, NOW, 10.0)
    made.parts["demand"].learn(acquired, sale, gain_V)
    made.parts["trend"].learn(gain_V, mean_gains(acquired, 6, NOW, 10.0))
    return made


def scores(closed_form, histories, trunk_VD, placed_V):
    item_BL = torch.tensor(histories)
    unit_BD = functional.normalize(torch.ones(len(histories), trunk_VD.shape[1]), dim=1)
    asking = closed_form.investor(unit_BD, item_BL, torch.full_like(item_BL, BUY))
    return (asking @ closed_form.item(trunk_VD, placed_V).T).numpy()


def test_what_is_to_come_is_ranked_first_by_those_who_like_its_class(closed_form):
    placed_V = torch.tensor([False, True, True, True, True, False])
    trunk_VD = functional.normalize(torch.ones(6, 3), dim=1)
    closed_form.let(demand=0.5)
    fond, other = scores(closed_form, [[4], [1]], trunk_VD, placed_V)
    assert fond[5] > max(fond[1:4]), "its class is new and wanted"
    assert fond[5] - fond[3] > other[5] - other[3], "those who had its class lean to it more"
    assert other[2] > other[1] > other[3], "what was acquired lately counts, not what once was"


def test_an_item_the_trunk_cannot_place_stands_where_its_class_does(closed_form):
    placed_V = torch.tensor([False, True, True, True, True, False])
    trunk_VD = torch.eye(6)
    demand = closed_form.parts["demand"]
    stood_VD = demand.stand_in(trunk_VD, placed_V)
    torch.testing.assert_close(stood_VD[5], trunk_VD[4])
    torch.testing.assert_close(stood_VD[1:5], trunk_VD[1:5])
    torch.testing.assert_close(stood_VD[0], trunk_VD[1:4].mean(0))


def test_without_a_mix_the_vectors_are_the_trunks(closed_form):
    trunk_VD = functional.normalize(torch.randn(6, 3), dim=1)
    placed_V = torch.ones(6, dtype=torch.bool)
    assert closed_form.item(trunk_VD, placed_V) is trunk_VD
    assert not closed_form.places_all
    closed_form.let(demand=0.5)
    assert closed_form.places_all
    lengths_V = closed_form.item(trunk_VD, placed_V).norm(dim=1)
    torch.testing.assert_close(lengths_V, torch.ones(6))


def test_trend_lifts_what_is_gaining_and_lowers_what_is_fading(closed_form):
    trunk_VD = functional.normalize(torch.ones(6, 3), dim=1)
    placed_V = torch.tensor([False, True, True, True, True, False])
    closed_form.let(trend=0.1)
    assert closed_form.places_all
    one, other = scores(closed_form, [[4], [1]], trunk_VD, placed_V)
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert one[5] > one[4] > one[2] > one[1] > one[3]


def test_trend_turns_a_softmax_of_mean_gains_into_one_of_expected_gains():
    """Where the mean item, up to which both are held, is small beside them."""
    mean_V, gain_V = np.array([0.0, 50.0, 200.0, 1000.0]), np.array([0.0, 400.0, 100.0, 1000.0])
    trend = Trend(2004)
    padded = np.append(mean_V, np.full(2000, 1e-3)), np.append(gain_V, np.full(2000, 1e-3))
    trend.learn(padded[1], padded[0])
    corrected_V = mean_V[1:] * np.exp(trend.worth_V.numpy()[1:4])
    np.testing.assert_allclose(corrected_V, gain_V[1:], rtol=0.02)


def test_the_average_investor_leans_nowhere(acquired, sale):
    demand = Demand(6, 2)
    demand.learn(acquired, sale, expected_gains(acquired, sale, NOW, 10.0))
    nobody_1V = torch.zeros(1, 6)
    torch.testing.assert_close(demand.investor(nobody_1V), torch.ones(1, 2))


@pytest.fixture
def closes():
    """Item 1 gains a tenth a month, 2 loses it, 3 has a jump after day 100, 4 one close."""
    rows = [(1, 10, 1.0), (1, 70, np.exp(0.2)), (2, 10, 1.0), (2, 70, np.exp(-0.2)),
            (3, 10, 1.0), (3, 70, 1.0), (3, 100, 9.0), (4, 60, 5.0)]  # fmt: skip
    item_P, day_P, close_P = zip(*rows, strict=True)
    return PriceHistory(np.array(item_P), np.array(day_P), np.array(close_P))


def test_what_rose_before_the_day_is_worth_more_and_the_unknown_nothing(closes):
    profit = Profit(6)
    profit.learn(closes, np.zeros(6, np.int64), 100)
    worth = profit.worth_V.numpy()
    assert worth[1] == pytest.approx(-worth[2])
    assert worth[1] > 0.1
    np.testing.assert_allclose(worth[[0, 3, 4, 5]], 0.0, atol=1e-7)
    earlier = PriceHistory(closes.item_P[:6], closes.day_P[:6], closes.close_P[:6])
    again = Profit(6)
    again.learn(earlier, np.zeros(6, np.int64), 100)
    torch.testing.assert_close(profit.worth_V, again.worth_V)


def test_profit_counts_as_much_as_it_is_let(closes):
    made = ClosedForm(items=6, item_weights_width=0, classes=0, profits=True)
    made.like(np.array([BUY]))
    made.parts["profit"].learn(closes, np.zeros(6, np.int64), 100)
    assert list(made.choices()) == [{}], "no validation decides it"
    trunk_VD = functional.normalize(torch.randn(6, 4), dim=1)
    placed_V = torch.ones(6, dtype=torch.bool)
    plain = scores(made, [[1]], trunk_VD, placed_V)[0]
    made.let(profit=3.0)
    assert np.argmax(scores(made, [[1]], trunk_VD, placed_V)[0]) == 1
    assert not np.array_equal(plain, scores(made, [[1]], trunk_VD, placed_V)[0])


def test_a_sample_of_those_who_ask_is_judged_as_they_are_among_all(world, small):
    check = world.ask(VALIDATION, small)
    few = check.sample(7)
    assert len(few.windows) == 7
    rng = np.random.default_rng(0)
    item_VD = rng.normal(size=(len(world.codes_VC), 4)).astype(np.float32)
    state_QD = rng.normal(size=(len(check.windows), 4)).astype(np.float32)
    placed_V = np.ones(len(item_VD), bool)
    rows = np.linspace(0, len(check.windows) - 1, 7).astype(int)
    alone = []
    for row in rows:
        lonely_QD = np.zeros_like(state_QD)
        lonely_QD[row] = state_QD[row]
        is_own = check.relevant[0] == row
        assert is_own.any()
        own = tuple(column[is_own] for column in check.relevant)
        alone.append(replace(check, relevant=own).ndcg(lonely_QD, item_VD, placed_V))
    assert few.ndcg(state_QD[rows], item_VD, placed_V) == pytest.approx(np.mean(alone))
    assert check.sample(10**6) is check


@pytest.mark.parametrize("at_cut", [False, True])
def test_closed_forms_do_not_know_what_came_later(world, small, closes, at_cut):
    params = small.model_copy(
        update={"epochs": 1, "refit": False, "demand_days": 3.0, "item_weights_width": 8,
                "profit_weight": 1.0}
    )  # fmt: skip
    today = microsecond(world.split.cut if at_cut else world.split.validation_from) // DAY_US
    # The jump of item 3 is made on the day itself.
    closes = replace(closes, day_P=closes.day_P + today - 100)
    world = replace(world, closes=closes)
    model = fit("hstu", world, params, None).model
    learn_closed_form(model.closed_form, world.past(params, at_cut=at_cut), params)
    told = {name: value.clone() for name, value in model.closed_form.state_dict().items()}
    assert {name.split(".")[1] for name in told if name.startswith("parts")} == {
        "item_weights", "demand", "trend", "profit"
    }  # fmt: skip

    def learnt_from(changed_E):
        item_E = world.histories.item_E.copy()
        item_E[changed_E] = 1 + item_E[changed_E] % 12
        histories = replace(world.histories, item_E=item_E)
        past = replace(world, histories=histories).past(params, at_cut=at_cut)
        learn_closed_form(model.closed_form, past, params)
        return model.closed_form.state_dict()

    is_later_E = (
        np.arange(len(world.histories.item_E))
        >= world.histories.learnt_until(refit=at_cut)[world.histories.user_E]
    )
    later = learnt_from(is_later_E)
    assert all(torch.equal(value, later[name]) for name, value in told.items())
    earlier = learnt_from(~is_later_E)
    assert not torch.equal(told["parts.demand.gain_V"], earlier["parts.demand.gain_V"])

    assert told["parts.profit.worth_V"].any()
    other_P = np.where(closes.day_P < today, closes.close_P, 0.01)
    jumped = replace(world, closes=replace(closes, close_P=other_P))
    learn_closed_form(model.closed_form, jumped.past(params, at_cut=at_cut), params)
    jumped_V = model.closed_form.state_dict()["parts.profit.worth_V"]
    assert torch.equal(jumped_V, told["parts.profit.worth_V"])


def test_trend_is_held_against_what_the_trunk_has_learnt_from(world, small):
    params = small.model_copy(update={"epochs": 1, "demand_days": 3.0})
    told = {}
    for refit in (False, True):
        asked = params.model_copy(update={"refit": refit})
        model = fit("hstu", world, asked, None).model
        told[refit] = model.closed_form.parts
    torch.testing.assert_close(told[True]["demand"].gain_V, told[False]["demand"].gain_V)
    worth = (told[refit]["trend"].worth_V for refit in (True, False))
    assert not torch.allclose(*worth, atol=1e-3)
