"""Order in time, and what is known when."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tessera.stages.causal.panel import build_panel, period_edges, trials
from tessera.stages.causal.params import CausalParams


@pytest.fixture
def make(tables):
    def build(user, item, day, *, action="buy", ordinal=False, units=None, **params):
        events = tables.lazy(tables.events(user, item, day, action, units))
        users = tables.lazy(tables.users(["a", "b"], [1, None], [2, 3]))
        split = replace(tables.split(), ordinal=ordinal)
        settings = CausalParams(**params)
        panel = build_panel(events, users, split, settings)
        return panel, list(trials(panel, settings))

    return build


def ordered_pairs(panel, found):
    total = sum((one.held_UI.T @ one.gained_UI).toarray() for one in found)
    return {
        (panel.item_ids[i], panel.item_ids[j]): int(total[i, j]) for i, j in np.argwhere(total > 0)
    }


def test_only_what_lies_strictly_before_is_a_cause(make):
    panel, found = make(["a"] * 3, ["x", "y", "z"], [1, 1, 2], periods=10)
    assert ordered_pairs(panel, found) == {("x", "z"): 1, ("y", "z"): 1}


def test_only_the_first_acquisition_counts(make):
    panel, found = make(["a"] * 4, ["x", "y", "x", "y"], [1, 2, 3, 4], periods=20)
    assert ordered_pairs(panel, found) == {("x", "y"): 1}


def test_nothing_after_the_cut_is_seen(make):
    panel, _ = make(["a", "a", "b"], ["x", "y", "x"], [1, 361, 400])
    assert panel.item_ids.tolist() == ["x"]
    assert panel.n_users == 1


def test_sources_without_acquisitions_count_every_positive_action(make):
    panel, _ = make(["a", "a"], ["x", "y"], [1, 2], action="rate", units=4.0, least_rating=4)
    assert len(panel.item_A) == 2
    panel, _ = make(["a", "a"], ["x", "y"], [1, 2], action="rate", units=3.0, least_rating=4)
    assert len(panel.item_A) == 0
    panel, _ = make(["a", "a"], ["x", "y"], [1, 2], action="dismiss")
    assert len(panel.item_A) == 0


def test_the_version_of_an_investor_is_the_one_known_at_the_start(make, tables):
    events = tables.events(["a", "b"] * 3, ["x", "x", "y", "y", "z", "z"], [1, 1, 9, 9, 20, 20])
    users = tables.users(["a", "b", "a"], [1, 1, 4], [2, 2, 2])
    late = [
        t + timedelta(days=15 * (k == 2)) for k, t in enumerate(users["valid_from"].to_pylist())
    ]
    users = users.set_column(1, "valid_from", [late]).cast(users.schema)
    settings = CausalParams(periods=10)
    panel = build_panel(tables.lazy(events), tables.lazy(users), tables.split(), settings)
    early, later = list(trials(panel, settings))[:2]
    assert early.trait_UD[0].tolist() == early.trait_UD[1].tolist()
    assert later.trait_UD[0].tolist() == later.trait_UD[1].tolist()  # known from day 15 only
    users = users.set_column(1, "valid_from", [[late[0]] * 3]).cast(users.schema)
    panel = build_panel(tables.lazy(events), tables.lazy(users), tables.split(), settings)
    first = next(iter(trials(panel, settings)))
    assert first.trait_UD[0, :2].tolist() == [0.0, 1.0]  # risk class 4 of 1 and 4
    assert first.trait_UD[1, :2].tolist() == [1.0, 0.0]


def test_nobody_is_observed_before_the_first_event(make):
    _, found = make(["a", "b", "a"], ["x", "x", "y"], [1, 5, 9], periods=10)
    assert found[0].observed_U.tolist() == [True, False]


def test_positions_end_observation_at_the_last_event(make):
    _, found = make(["a", "a", "a", "b"], ["x", "y", "z", "x"], [1, 2, 3, 1], periods=10)
    assert found[0].observed_U.tolist() == [True, True]
    _, found = make(
        ["a", "a", "a", "b"], ["x", "y", "z", "x"], [1, 2, 3, 1], periods=10, ordinal=True
    )
    assert found[0].observed_U.tolist() == [True, False]


def test_activity_and_tenure_are_those_before_the_period(make):
    user, item = ["a"] * 5 + ["b"], ["v", "w", "x", "y", "z", "v"]
    panel, found = make(user, item, [1, 2, 3, 9, 12, 3], periods=10)
    edges = period_edges(panel.ts_A, 10)
    third = found[[*edges].index(panel.ts_A[4])]  # starts on day 9
    assert np.expm1(third.trait_UD[:, -2]).round(9).tolist() == [4.0, 1.0]
    assert np.expm1(third.trait_UD[:, -1]).round(9).tolist() == [8.0, 6.0]


def test_period_edges_are_distinct_and_cover_all():
    edges = period_edges(np.array([5, 5, 5, 5, 6, 9]), 4)
    assert edges.tolist() == [5, 6, 9] or edges.tolist() == [5, 9]
    assert period_edges(np.zeros(0, np.int64), 4).tolist() == []
