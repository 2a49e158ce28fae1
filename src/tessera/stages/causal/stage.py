"""The entry point of `causal`."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa

from tessera.contracts.arrow import write_table
from tessera.contracts.split import load_split
from tessera.contracts.tables import EFFECTS, MOST_FALSE_SIGNS
from tessera.stages.causal.confounders import stack
from tessera.stages.causal.effects import PARTS, Effects
from tessera.stages.causal.effects import effects as estimated
from tessera.stages.causal.pairs import supported_pairs
from tessera.stages.causal.panel import build_panel, trials
from tessera.stages.causal.params import CausalParams

_NOTHING = Effects(*(np.zeros(0) for _ in Effects.__dataclass_fields__))


def run(
    *, events: ibis.Table, users: ibis.Table, split: Path, effects: Path, params: CausalParams
) -> dict[str, float]:
    """Estimate what acquiring one item does to acquiring another, from events before the cut."""
    panel = build_panel(events, users, load_split(split), params)
    pairs = supported_pairs(trials(panel, params), params.least_support, params.pairs)
    found = _NOTHING
    if len(pairs.cause_N) > 0:
        rows = stack(trials(panel, params), params.taste_components, PARTS)
        found = estimated(rows, pairs)
    columns = {
        "cause_id": panel.item_ids[pairs.cause_N].astype(str),
        "effect_id": panel.item_ids[pairs.effect_N].astype(str),
        "effect": found.effect_N,
        "stderr": found.stderr_N,
        "false_sign_rate": found.false_sign_N,
        "low": found.low_N,
        "high": found.high_N,
        "support": pairs.support_N,
    }
    write_table(pa.table(columns), EFFECTS, effects)
    return {"acquisitions": float(len(panel.item_A)), **_summary(found)}


def _summary(found: Effects) -> dict[str, float]:
    size = len(found.effect_N)
    return {
        "pairs": float(size),
        "pairs_told_as_causal": float(np.sum(found.false_sign_N <= MOST_FALSE_SIGNS)),
        "negative_share": float(np.mean(found.effect_N < 0)) if size else 0.0,
        "mean_abs_effect": float(np.abs(found.effect_N).mean()) if size else 0.0,
    }
