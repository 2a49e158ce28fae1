"""Days of a few slates, said by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera.stages.daily.frames import (
    EVENT_COLUMNS,
    POSITION_COLUMNS,
    SLATE_COLUMNS,
    Frames,
    table,
)
from tessera.stages.daily.spec import load_spec

KINDS = ["bond", "fund", "stock"]


def frames(slates=(), positions=(), events=(), users=12, **more):
    """Lay rows out, each a dict of what matters of it."""

    def columns(kinds, rows, usual):
        nothing = {name: "" if kind is object else kind(0) for name, kind in kinds.items()}
        full = [nothing | usual | row for row in rows]
        found = {name: [row[name] for row in full if name in row] for name in kinds}
        return table(kinds, {n: v for n, v in found.items() if len(v) == len(full)}, len(full))

    slate = {"policy": "v1", "arm": "champion", "segment": "", "known": True, "places": 2,
             "model_age": np.nan, "price_age": np.nan, "weight": np.nan, "sourced": True,
             "score_mean": 0.0, "score_spread": 1.0, "score_top": 1.0}  # fmt: skip
    position = {"propensity": 0.5, "even": 0.5, "category": -1, "issuer": -1, "holders": np.nan,
                "percentile": np.nan, "chance_click": np.nan, "chance_buy": np.nan,
                "chance_dismiss": np.nan}  # fmt: skip
    event = {"action": "buy", "channel": "", "category": -1, "holders": np.nan, "value": 0.0}
    told = {"taste_UK": np.full((users, len(KINDS)), np.nan), "merit_J": np.zeros(0),
            "bins_B4": np.zeros((1, 4)), "moves": np.zeros(0), "listed": 4}  # fmt: skip
    return Frames(
        columns(SLATE_COLUMNS, slates, slate),
        columns(POSITION_COLUMNS, positions, position),
        columns(EVENT_COLUMNS, events, event),
        [f"u{one}" for one in range(users)], [f"i{one}" for one in range(4)], KINDS,
        ["A", "B"], **told | more,
    )  # fmt: skip


@pytest.fixture
def spec():
    root = Path(__file__).resolve().parents[3]
    return load_spec(root / "monitoring" / "served.yaml")
