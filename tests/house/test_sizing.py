"""What is said of loads that nobody can send follows from a queue that theory knows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.report.sizing import first_to_end
from benchmarks.sizing import ends, grown
from benchmarks.sizing_queue import Cell, highest, simulate

NEVER = float("inf")


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_requests_wait_as_long_as_theory_says(busy):
    """One worker, always 10 ms: Pollaczek and Khinchine."""
    seen = simulate(Cell(1, busy / 0.01, deadline_s=NEVER), np.full(1, 0.01), 900.0,
                    np.random.default_rng(1))  # fmt: skip
    expected = 0.01 + busy / (2 * (1 - busy)) * 0.01
    assert np.mean(seen.waited) == pytest.approx(expected, rel=0.03)
    assert seen.told(1, 900.0)["busy"] == pytest.approx(busy, rel=0.02)


def test_who_goes_to_the_shortest_queue_waits_less_than_who_goes_to_any():
    took = np.full(1, 0.01)
    means = [
        np.mean(simulate(Cell(8, 560.0, route, deadline_s=NEVER), took, 60.0,
                         np.random.default_rng(2)).waited)
        for route in ("any", "fewest")
    ]  # fmt: skip
    assert means[1] < 0.75 * means[0]


def test_who_would_wait_too_long_is_turned_away_and_everybody_is_counted():
    rng = np.random.default_rng(3)
    seen = simulate(Cell(1, 200.0, deadline_s=0.25), np.full(1, 0.01), 100.0, rng)
    told = seen.told(1, 100.0)
    assert told["shed"] == pytest.approx(0.5, abs=0.03)
    assert max(seen.waited) <= 0.125 + 0.01 + 0.01
    assert told["asked"] == len(seen.waited) + seen.shed + seen.lost
    assert told["lost"] == 0


def test_a_death_loses_what_was_inside_and_nothing_else_and_the_rest_carries_on():
    rng = np.random.default_rng(4)
    cell = Cell(4, 200.0, "fewest", dies_at_s=10.0, back_at_s=20.0, die=2)
    seen = simulate(cell, np.full(1, 0.01), 30.0, rng)
    assert 0 < seen.lost <= 2 * (0.125 / 0.01 + 1)
    alone = simulate(Cell(4, 200.0, "fewest", dies_at_s=10.0, back_at_s=20.0, die=4),
                     np.full(1, 0.01), 30.0, np.random.default_rng(4))  # fmt: skip
    came = np.array(alone.came_at)
    assert not ((came > 10.0) & (came < 20.0)).any(), "nobody was there"
    assert ((came > 20.0) & (came < 30.0)).sum() > 1500, "all are back"


def test_the_highest_rate_is_found_within_two_per_cent():
    assert highest(lambda rate: rate < 37.0, 1.0, 1000.0) == pytest.approx(37.0, rel=0.02)
    assert highest(lambda rate: False, 1.0, 1000.0) == 0.0


def test_stages_grow_by_their_last_exponent_and_the_first_to_end_stands_first():
    scale = {
        "1x": {"events": 100, "a": {"seconds": 1.0, "heap_mb": 1.0}},
        "4x": {"events": 1000, "a": {"seconds": 36.0, "heap_mb": 1024.0}},
        "growth": {"1x to 4x": {"a": {"seconds": 9.0, "heap_mb": 9.0}},
                   "4x to 16x": {"a": {"seconds": 1.0, "heap_mb": 0.5}}},
    }  # fmt: skip
    assert grown(scale, 100_000)["a"] == {"hours": 1.0, "heap_gb": 10.0}
    found = ends(scale)["a"]
    assert found["memory"] == pytest.approx(1000 * 16**2)
    assert found["day"] == pytest.approx(1000 * 86400 / 36)
    assert first_to_end({"ends": {"a": found}}) == [("a", "16 GB", found["memory"])]
