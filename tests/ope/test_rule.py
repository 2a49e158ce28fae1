"""What the benchmarks ask of the gate's bounds is what the gate asks."""

from __future__ import annotations

from benchmarks.ope_drift import WORLDS, draw, draw_clusters
from benchmarks.ope_rule import promotes, sequence_above
from tessera.ope.conditions import lower_bounds


def test_a_bound_above_nothing_needs_no_bisection(rng):
    said = []
    for drawn in (draw_clusters(60, rng), draw_clusters(60, rng), draw(WORLDS["step"], rng)):
        for level in (0.5, 0.03, 1e-4):
            found = lower_bounds(drawn.scored, level)
            assert sequence_above(drawn.scored, level) == (found.sequence > 0)
            assert promotes(drawn.scored, level) == found.hold(0.0)
            said.append((found.sequence > 0, found.hold(0.0)))
    assert {one[0] for one in said} == {True, False}
