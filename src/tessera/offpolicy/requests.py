"""Logged slates as arrays.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from tessera.contracts.arrays import Float64s, Ints

NOBODY = -1
"""Index of an empty position, a padded candidate or an unknown item."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Slates in time order."""

    request_ids: pa.Array
    event_us_N: Ints
    """Microseconds since 1970, UTC."""
    user_N: Ints
    """Index into `user_ids`."""
    user_ids: pa.Array
    risk_N: Ints
    """Risk class of the user as known at the request, else UNKNOWN."""
    capacity_N: Ints
    candidate_NC: Ints
    """Index into the items, NOBODY where padded or unknown."""
    chosen_NL: Ints
    """Candidate at each position, NOBODY where the slate is shorter."""
    served_NLC: Float64s
    """P(candidate | items above) of the serving policy."""
    propensity_NL: Float64s
    """The same for the item shown, as it was logged; 1 where empty."""
    reward_NL: Float64s
    """1 if the item shown was clicked or bought inside the window."""
    dismissed_NL: Float64s
    """1 if it was dismissed inside the window."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows, duplicates, and rows whose item is not among the candidates; see `with_outcomes`."""
    policy_ids: pa.Array | None = None
    """Policy that served each request; None where nobody logged it."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Requests left out because the log of their slate is incomplete, by reason."""

    @property
    def dropped_share(self) -> float:
        """Share of the logged requests that were left out."""
        left_out = sum(self.dropped.values())
        return left_out / max(left_out + len(self), 1)

    def __len__(self) -> int:
        return len(self.event_us_N)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores laid out like the candidates of the log."""

    candidate_NC: Float64s
    """0 where padded or not scored."""
    champion_NC: Float64s | None
    """None if all requests lack it: the logging policy is the champion then."""
    chance_NC: Float64s | None
    """Probability by the candidate of a click or a purchase at the top; None if all lack it."""
    missing: int
    """Requests that were not scored, not for the candidates that were logged, or not in full."""
