"""The world of benchmarks/acceptance.py is fair, and its comparisons say what they claim.

Legend: U users, E events, R requests, M positions.
"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import acceptance
from tessera.model.nn.ranking import CLICK


@pytest.fixture
def small(monkeypatch):
    """Few users and short training: seconds, where nothing is learnt but everything runs."""
    brief = acceptance._PARAMS.model_copy(update={"epochs": 2, "width": 8})
    for name, value in {"_KNOWN": 60, "_HELD_OUT": 40, "_PARAMS": brief}.items():
        monkeypatch.setattr(acceptance, name, value)
    return acceptance.plant(7)


def is_held_out(user):
    return user >= acceptance._KNOWN


def weights(world, **changes):
    return acceptance.learn(world, **changes).state_dict()


def test_nothing_is_learnt_from_held_out_users(small):
    histories = small.histories
    assert not is_held_out(small.learn.user_R).any()
    assert is_held_out(small.check.user_R).all()
    is_hidden_E = is_held_out(histories.user_E)
    others = replace(
        histories,
        item_E=np.where(is_hidden_E, 1, histories.item_E),
        action_E=np.where(is_hidden_E, acceptance._LIKE, histories.action_E),
    )
    one, other = weights(small), weights(replace(small, histories=others))
    assert all(one[name].equal(other[name]) for name in one)


def test_known_histories_and_slates_are_both_learnt_from(small):
    histories, learn = small.histories, small.learn
    shuffled = replace(histories, item_E=np.roll(histories.item_E, 1))
    flipped = replace(learn, label_RMT=1 - learn.label_RMT)
    for world in (replace(small, histories=shuffled), replace(small, learn=flipped)):
        one, other = weights(small), weights(world)
        assert any(not one[name].equal(other[name]) for name in one)


def test_a_history_ends_before_its_slate_and_holds_none_of_the_answers(small):
    histories, check = small.histories, small.check
    last_R = check.stop_R - 1
    assert (histories.user_E[last_R] == check.user_R).all()
    assert (histories.moment_E[last_R] < check.moment_R).all()
    has_later_R = check.stop_R < histories.first_U1[check.user_R + 1]
    later_R = check.stop_R[has_later_R]
    assert (histories.moment_E[later_R] > check.moment_R[has_later_R]).all()
    assert (histories.item_E[later_R] == small.next_R[has_later_R]).all()


def test_taste_answers_slates_but_for_the_noise(small):
    click_RM = small.check.label_RMT[..., CLICK] > 0.5
    assert np.mean(click_RM != small.liked_RM) == pytest.approx(acceptance._NOISE, abs=0.03)
    rng = np.random.default_rng(0)
    knows = acceptance.auc_by_user(small.liked_RM.astype(float), small.check)
    guesses = acceptance.auc_by_user(rng.random(small.liked_RM.shape), small.check)
    assert np.nanmean(knows) > 0.9
    assert np.nanmean(guesses) == pytest.approx(0.5, abs=0.05)
    assert len(knows) == acceptance._HELD_OUT


def test_the_ring_stays_in_its_class_and_visits_all_of_it():
    after_V = acceptance._chain(np.random.default_rng(0))
    kind = (np.arange(1, acceptance._ITEMS + 1) - 1) % acceptance._CLASSES
    assert (kind == kind[after_V[1:] - 1]).all()
    item, seen = 1, set()
    while item not in seen:
        seen.add(item)
        item = int(after_V[item])
    assert len(seen) == acceptance._ITEMS // acceptance._CLASSES


def test_every_comparison_is_of_trainings_with_that_score(small, monkeypatch):
    monkeypatch.setattr(acceptance, "plant", lambda _seed: small)
    lists = {name: set(acceptance.measure(0, name)) for name in ("recall_alone", "ranking_alone")}
    assert lists == {"recall_alone": {"recall_50"}, "ranking_alone": {"auc"}}
    for score, sign in acceptance._COMPARED.values():
        assert sum(sign.values()) == 0
        for name in sign:
            changes = acceptance._TRAININGS[name][1]
            lost = "rank_weight" if score == "auc" else "recall_weight"
            assert lost not in changes, f"{name} has no {score}"


def test_a_difference_is_paired_by_user():
    level_U = np.array([0.2, 0.9, np.nan, 0.6])
    scores = {
        (seed, name): {"auc": level_U + lift}
        for seed in (0, 1)
        for name, lift in (("one", 0.1 * (seed + 1)), ("other", 0.0))
    }
    found = acceptance.compare(scores, [0, 1], "auc", {"one": 1, "other": -1})
    assert found["by_seed"] == [0.1, 0.2]
    assert (found["mean"], found["error_users"], found["error_seeds"]) == (0.15, 0.0, 0.05)
    single = acceptance.compare(scores, [0], "auc", {"one": 1, "other": -1})
    assert single["error_seeds"] is None
