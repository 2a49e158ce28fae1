"""What is known of one day that was served, laid out as columns.

Shapes: N slates, R positions that were filled, E events, U investors, K categories, J issuers,
B bins of propensities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tessera.contracts.arrays import Float64s

CHANCE = "chance_"
"""How the name of a column begins that says how likely an outcome was to the model."""
ANSWERS = {"click": "clicked", "buy": "bought", "dismiss": "dismissed"}
"""Outcomes of which the model says how likely they are, with the column that says what came."""
SLATE_COLUMNS = {
    "request_id": object,
    "moment": np.int64,  # microseconds since 1970
    "user": np.int64,  # number of the investor, 0 to U - 1
    "policy": object,  # version that answered
    "arm": object,  # champion or canary
    "channel": object,  # through which it was asked for, "" if nobody says
    "segment": object,  # customer type, "" if nobody says
    "risk_class": np.int64,  # 0 if nobody says
    "known": np.bool_,  # had acted before
    "cold": np.bool_,
    "filled": np.bool_,
    "degraded": np.bool_,
    "unlogged": np.bool_,
    "greedy": np.bool_,  # nothing was drawn
    "unknown_policy": np.bool_,  # nobody here has the bundle that answered
    "sourced": np.bool_,  # says what found each candidate
    "candidates": np.int64,
    "places": np.int64,  # positions asked for
    "hour": np.int64,  # of the day, in UTC
    "model_age": np.float64,  # days since the cut
    "price_age": np.float64,  # days since the newest close
    "weight": np.float64,  # A/A replay: 1 where the policy gives what was logged
    "score_mean": np.float64,
    "score_spread": np.float64,  # standard deviation over the candidates
    "score_top": np.float64,
}
"""Each column of the slates; those of `took_ms.` come on top."""
POSITION_COLUMNS = {
    "slate": np.int64,  # row of the slate
    "item": np.int64,  # number of the item
    "place": np.int64,  # 0 is the top
    "propensity": np.float64,
    "even": np.float64,  # probability if it had been drawn evenly
    "rank": np.int64,  # by score among the candidates, 0 is the best; -1 if no score is known
    "score": np.float64,
    **dict.fromkeys((CHANCE + one for one in ANSWERS), np.float64),  # not a number if nobody says
    "uniform": np.bool_,  # drawn evenly into the candidates
    "category": np.int64,  # -1 if nobody says
    "issuer": np.int64,  # -1 if nobody says
    "holders": np.float64,  # share of the investors who hold the item; not a number if nobody says
    "percentile": np.float64,  # share of the items that more investors hold
    "tail": np.bool_,  # outside the head with most of the acquisitions
    "unsuitable": np.bool_,
    "clicked": np.bool_,
    "bought": np.bool_,
    "dismissed": np.bool_,
    "complained": np.bool_,
}
EVENT_COLUMNS = {
    "user": np.int64,
    "item": np.int64,
    "action": object,
    "channel": object,  # "" if nobody says
    "category": np.int64,
    "holders": np.float64,
    "value": np.float64,  # EUR
    "asked": np.bool_,  # names a slate
}
MINUTE_COLUMNS: dict[str, type] = {
    "asked": np.float64,  # requests of a minute of one process, with those turned away
    "errors": np.float64,  # of them failed
    "shed": np.float64,  # of them were turned away
    "logged": np.float64,  # slates that waited for the disk
    "log_ms": np.float64,  # milliseconds in all
}
TOOK = "took_ms."
"""How the name of a column begins that says how long a step took."""


@dataclass(frozen=True, slots=True)
class Frames:
    """One day."""

    slates: pd.DataFrame
    positions: pd.DataFrame
    events: pd.DataFrame
    user_ids: list[str]
    """Names of the investors, the same on every day."""
    item_ids: list[str]
    categories: list[str]
    issuers: list[str]
    taste_UK: Float64s
    """Share of each category in what an investor holds; no numbers where that is nothing."""
    merit_J: Float64s
    """Share of each issuer in what everybody has acquired."""
    bins_B4: Float64s
    """Of the logged propensities of all candidates: count, sum, sum of p (1 - p), and how many were
    drawn, by bin of the propensity."""
    moves: Float64s
    """Log returns to the closes of the day."""
    listed: int
    """Items on sale."""
    orphans: int = 0
    """Events that name a slate which the log does not hold."""
    minutes: pd.DataFrame = field(default_factory=lambda: table(MINUTE_COLUMNS, {}, 0))

    @property
    def is_empty(self) -> bool:
        """Nothing was shown, nothing happened and nothing was asked."""
        return not (len(self.slates) or len(self.events) or len(self.minutes))


def table(columns: dict[str, type], found: dict[str, object], rows: int) -> pd.DataFrame:
    """Lay out columns with their types; what is not found is left at nothing."""
    made: dict[str, Any] = {
        name: np.asarray(found[name], kind) if name in found else np.zeros(rows, kind)
        for name, kind in columns.items()
    }
    return pd.DataFrame(made)
