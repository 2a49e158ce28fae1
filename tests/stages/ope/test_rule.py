"""What the benchmarks ask of the gate's bounds is what the gate asks."""

from __future__ import annotations

import numpy as np

from benchmarks.ope_drift import Drift, draw, draw_clusters
from benchmarks.ope_rule import promotes, sequence_above
from tessera.offpolicy.sequences import log_wealth
from tessera.stages.ope.conditions import SEQUENCE_SHARE, lower_bounds


def test_a_bound_above_nothing_needs_no_bisection(rng):
    lasting, few = (
        draw(Drift(lambda time_N: 0.15 + 0 * time_N), rng).scored,
        draw_clusters(60, rng).scored,
    )
    edge = np.exp(-log_wealth(lasting.wagers, 0.0)) / SEQUENCE_SHARE
    said = []
    for scored, level in ((lasting, edge * 0.9), (lasting, edge * 1.1), (few, 0.5), (few, 1e-4)):
        found = lower_bounds(scored, level)
        assert sequence_above(scored, level) == (found.sequence > 0)
        assert promotes(scored, level) == found.hold(0.0)
        said.append(found.sequence > 0)
    assert said[:2] == [False, True], "one at either side of the edge"
