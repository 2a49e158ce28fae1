"""What closed forms may count: tried on what would be published, and no more than can be told."""

import numpy as np
import pytest

from tessera.contracts.split import VALIDATION
from tessera.model.training import vector_mix
from tessera.model.training.fit import fit, pose
from tessera.model.training.vector_mix import steady
from tessera.model.trunk.inference import encode, item_vectors, placed


def test_a_mix_is_worth_what_the_lists_of_its_published_vectors_are(world, small, monkeypatch):
    monkeypatch.setattr(vector_mix, "_AT_ONCE", 7)
    params = small.model_copy(update={"epochs": 1, "demand_days": 3.0, "item_weights_width": 8})
    model = fit("hstu", world, params, None).model
    asked, task = world.ask(VALIDATION, params), pose("hstu", world, params)
    value_MU = task.mix_values(model)
    task.learn_closed_form(model, at_cut=False)
    choices = list(model.closed_form.choices())
    assert value_MU.shape == (len(choices), len(np.unique(asked.relevant[0])))
    for number in range(0, len(choices), 7):
        model.closed_form.let(**choices[number])
        asking_QD = encode(model, world.histories, asked.windows)
        published = asked.ndcg(asking_QD, item_vectors(model), placed(model))
        assert value_MU[number].mean() == pytest.approx(published, abs=1e-6), choices[number]


CHOICES = [
    {"item_weights": weights, "demand": demand, "trend": trend}
    for weights in (0.0, 0.5)
    for demand in (0.0, 0.5)
    for trend in (0.0, 0.1)
]


def values(rng, people=400, spread=0.05, **means):
    """Values of each choice: means by name of part, noise by person and choice."""
    mean_M = [sum(means[name] for name, mix in one.items() if mix) for one in CHOICES]
    return np.array(mean_M)[:, None] + spread * rng.normal(size=(len(CHOICES), people))


def test_what_helps_beyond_chance_counts(rng):
    chosen = steady(CHOICES, [values(rng, item_weights=0.1, demand=0.1, trend=0.1)])
    assert all(CHOICES[chosen].values())


def test_a_trend_that_cannot_be_told_from_none_counts_nothing():
    rng = np.random.default_rng(0)
    draws = [values(rng, item_weights=0.1, demand=0.1, trend=0.0005) for _ in range(40)]
    best = [CHOICES[int(one.mean(axis=1).argmax())]["trend"] for one in draws]
    chosen = [CHOICES[steady(CHOICES, [one])] for one in draws]
    assert np.mean([mix > 0 for mix in best]) > 0.4, "the best mean takes it half of the time"
    assert np.mean([mix["trend"] > 0 for mix in chosen]) < 0.25
    assert all(mix["demand"] and mix["item_weights"] for mix in chosen)


def test_several_periods_are_one_vote_each(rng):
    for_it = values(rng, people=900, spread=0.01, item_weights=0.1, demand=0.1, trend=0.02)
    against = values(rng, people=90, spread=0.01, item_weights=0.1, demand=0.1, trend=-0.04)
    assert CHOICES[steady(CHOICES, [for_it])]["trend"] > 0
    assert CHOICES[steady(CHOICES, [for_it, against])]["trend"] == 0.0
