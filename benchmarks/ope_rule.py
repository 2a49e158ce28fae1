"""Whether the gate's bounds promote, asked without finding where they lie.

A bound above 0 is found by bisection; whether it is, by the wealth at 0 alone, which is what makes
thousands of logs affordable.

Shapes: N requests.
"""

from __future__ import annotations

import math

from tessera.offpolicy.sequences import log_wealth
from tessera.stages.ope.conditions import Scored, conditions, sequence_level


def sequence_above(scored: Scored, level: float) -> bool:
    """Whether the sequence bounds the mean lift over the requests seen above 0."""
    wealth = log_wealth(scored.wagers, 0.0)
    return wealth > -math.log(sequence_level(level))


def promotes(scored: Scored, level: float) -> bool:
    """Whether all lower bounds lie above 0, as `LowerBounds.hold` says."""
    return all(check.ok for check in conditions(scored, level, 0.0)) and sequence_above(
        scored, level
    )
