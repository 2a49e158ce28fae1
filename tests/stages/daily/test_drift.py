"""Distances of distributions are effects: they do not grow because much was shown."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.stages.daily.drift import psi, wasserstein
from tessera.stages.daily.samples import Column, drawn
from tessera.stages.daily.told_apart import auc
from tests.stages.daily.conftest import frames


def kinds(rng, share, users=400, each=3):
    """Each investor likes one kind, and is shown it most of the time."""
    liked = rng.random(users) < share
    value = np.where(np.repeat(liked, each) ^ (rng.random(users * each) < 0.1), "a", "b")
    return Column(value.astype(object), np.repeat(np.arange(users), each))


def numbers(rng, mean, users=400, each=3):
    base = rng.normal(mean, 1.0, users)
    value = np.repeat(base, each) + rng.normal(0, 0.2, users * each)
    return Column(value, np.repeat(np.arange(users), each))


def test_days_alike_have_no_distance_and_a_known_shift_has_its_own():
    rng = np.random.default_rng(0)
    before = [kinds(rng, 0.3) for _ in range(10)]
    same, moved = psi(kinds(rng, 0.3), before), psi(kinds(rng, 0.7), before)
    p, q = 0.1 + 0.8 * 0.7, 0.1 + 0.8 * 0.3
    truth = (p - q) * np.log(p / q * (1 - q) / (1 - p))
    assert same.value < 0.02
    assert abs(moved.value - truth) < 3 * moved.stderr
    assert moved.low > 0.2


def test_on_average_sampling_alone_gives_nothing():
    """The raw index of 60 investors in eight kinds is 0.15; what is told is about 0."""
    rng = np.random.default_rng(1)
    told = []
    for _ in range(40):
        before = [
            Column(rng.integers(0, 8, 60).astype(str).astype(object), np.arange(60))
            for _ in range(8)
        ]
        now = Column(rng.integers(0, 8, 60).astype(str).astype(object), np.arange(60))
        told.append(psi(now, before).value)
    assert np.mean(told) < 0.06


def test_a_tiny_shift_stays_tiny_of_very_many():
    rng = np.random.default_rng(2)
    before = [kinds(rng, 0.300, 20_000, 1) for _ in range(6)]
    assert psi(kinds(rng, 0.315, 20_000, 1), before).high < 0.05


def test_an_investor_who_comes_often_is_one_investor():
    """The same rows of forty investors five times over are no surer."""
    rng = np.random.default_rng(3)
    before = [kinds(rng, 0.3, 40) for _ in range(8)]
    once = kinds(rng, 0.5, 40)
    often = Column(np.tile(once.value_M, 5), np.tile(once.user_M, 5))
    assert psi(often, before).stderr == pytest.approx(psi(once, before).stderr, rel=0.01)


def test_days_that_differ_by_themselves_make_a_distance_unsure():
    rng = np.random.default_rng(4)
    steady = [kinds(rng, 0.3) for _ in range(10)]
    wild = [kinds(rng, share) for share in np.tile([0.1, 0.5], 5)]
    now = kinds(rng, 0.5)
    assert psi(now, wild).stderr > 2 * psi(now, steady).stderr


def test_a_kind_that_was_never_seen_counts():
    rng = np.random.default_rng(5)
    now = Column(np.array(["new"] * 50, object), np.arange(50))
    assert psi(now, [kinds(rng, 0.3) for _ in range(6)]).value > 1


def test_a_distance_of_numbers_is_in_standard_deviations():
    rng = np.random.default_rng(6)
    before = [numbers(rng, 0.0) for _ in range(10)]
    same, moved = wasserstein(numbers(rng, 0.0), before), wasserstein(numbers(rng, 0.5), before)
    assert same.value < 0.08
    assert moved.value == pytest.approx(0.5 / np.hypot(1.0, 0.2), abs=3 * moved.stderr)


def test_what_never_varied_and_moves_is_as_far_as_can_be():
    constant = Column(np.full(50, 25.0), np.arange(50))
    assert wasserstein(constant, [constant] * 6).value == 0.0
    assert wasserstein(Column(np.full(50, 24.0), np.arange(50)), [constant] * 6).value == 100.0


def test_one_investor_who_differs_from_what_never_varied_is_not_sure():
    constant = Column(np.full(500, 25.0), np.arange(500))
    other = Column(np.where(np.arange(500) == 7, 24.0, 25.0), np.arange(500))
    found = wasserstein(other, [constant] * 6)
    assert found.value == pytest.approx(0.2)
    assert found.low == 0.0


def test_without_rows_there_is_no_distance():
    none = Column(np.array([], object), np.array([], np.int64))
    some = Column(np.array(["a"], object), np.array([0]))
    assert psi(none, [some]) is None
    assert psi(some, [none]) is None
    assert wasserstein(none, [some]) is None


def people(rng, shift, names):
    return [*names], rng.normal(shift, 1.0, (len(names), 4))


def test_investors_are_told_apart_only_if_they_differ():
    rng = np.random.default_rng(7)
    names = [f"u{n}" for n in range(300)]
    before = [people(rng, 0.0, names) for _ in range(6)]
    same, moved = auc(people(rng, 0.0, names), before), auc(people(rng, 1.0, names), before)
    assert abs(same.value - 0.5) < 3 * same.stderr
    assert moved.low > 0.8


def test_investors_who_are_the_same_on_both_sides_are_not_told_apart():
    """Each has features of their own; whoever learnt them by heart would be wrong at 0."""
    rng = np.random.default_rng(8)
    names = [f"u{n}" for n in range(300)]
    own = rng.normal(0, 1, (300, 4))
    found = auc((names, own), [(names, own)] * 3)
    assert abs(found.value - 0.5) < 0.1


def test_who_comes_often_on_every_day_is_not_told_from_who_came_before():
    """A tenth come daily and differ; of all who came once in two weeks they are a tenth."""
    rng = np.random.default_rng(10)
    often = rng.random(2000) < 0.1
    own = rng.normal(0, 1, (2000, 3)) + 2.0 * often[:, None]

    def day():
        there = np.flatnonzero(rng.random(2000) < np.where(often, 0.9, 0.1))
        return [f"u{n}" for n in there], own[there]

    before = [day() for _ in range(14)]
    found = auc(day(), before)
    assert abs(found.value - 0.5) < 0.05
    assert 0.01 < found.stderr < 0.05


def test_rows_of_one_investor_err_together():
    rng = np.random.default_rng(11)
    names = [f"u{n}" for n in range(100)]
    now, one = people(rng, 0.3, names), people(rng, 0.0, names)
    once, often = auc(now, [one]), auc(now, [one] * 7)
    assert often.stderr == pytest.approx(once.stderr, rel=0.3)


def test_of_too_few_nobody_is_told_apart():
    rng = np.random.default_rng(9)
    few = [f"u{n}" for n in range(20)]
    assert auc(people(rng, 0.0, few), [people(rng, 0.0, few)]) is None


def test_a_sample_has_whole_investors_and_not_by_the_order_of_rows():
    slates = [{"user": n % 12} for n in range(24)]
    positions = [{"slate": n, "item": n % 4} for n in range(24)]
    day = frames(slates, positions)
    some = drawn(day, 5)
    users = set(some.slates["user"])
    assert len(users) == 5
    assert len(some.slates) == 10
    assert set(some.positions["slate"]) == set(range(10))
    back = drawn(frames(slates[::-1], positions), 5)
    assert set(back.slates["user"]) == users
    assert drawn(day, 12) is day
