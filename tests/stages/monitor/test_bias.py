"""Popularity bias is measured as one would by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.stages.monitor.bias import figures, measure
from tessera.stages.monitor.spec import Bound, Drift, Watch

HOLDERS = np.array([8, 1, 1, 0])
USERS = 10


def watch(**bounds) -> Watch:
    return Watch(
        reference_days=30,
        current_days=30,
        list_length=2,
        head_percent=25,
        tail_head_share=0.8,
        interactions=("buy",),
        drift=Drift(),
        popularity_bias=bounds,
    )


def test_the_figures_of_a_small_catalogue():
    found = measure(np.array([[0, 1], [0, -1]]), HOLDERS, USERS, watch())
    assert found["average_popularity"] == pytest.approx((0.8 + 0.1 + 0.8) / 3)
    assert found["top_share"] == pytest.approx(2 / 3)
    assert found["tail_share"] == pytest.approx(1 / 3)
    assert found["coverage"] == 0.5


def test_interactions_stand_beside_the_lists():
    by_name = {one.name: one for one in figures(np.array([[3, 2]]), HOLDERS, USERS, watch())}
    assert by_name["top_share"].interactions == pytest.approx(0.8)
    assert by_name["top_share"].lists == 0.0
    assert by_name["coverage"].interactions == 0.75


@pytest.mark.parametrize(
    ("bound", "alarm"),
    [
        (Bound(above=0.9), True),
        (Bound(above=1.0), False),
        (Bound(amplified=1.2), True),
        (Bound(amplified=1.3), False),
        (Bound(below=1.1), True),
        (Bound(), False),
    ],
)
def test_a_bound_alarms_only_beyond_it(bound, alarm):
    only_the_top = np.zeros((5, 1), dtype=np.int64)
    found = figures(only_the_top, HOLDERS, USERS, watch(top_share=bound))
    assert {one.name: one.alarm for one in found}["top_share"] == alarm


def test_no_lists_are_no_alarm():
    nothing = np.empty((0, 2), dtype=np.int64)
    found = figures(nothing, HOLDERS, USERS, watch(coverage=Bound(below=0.5)))
    assert not any(one.alarm for one in found)
