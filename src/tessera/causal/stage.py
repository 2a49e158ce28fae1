"""The door of `causal`."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa

from tessera.causal.confounders import stack
from tessera.causal.pairs import supported_pairs
from tessera.causal.panel import build_panel, trials
from tessera.causal.params import CausalParams
from tessera.causal.robust import estimate
from tessera.causal.shrinkage import shrink
from tessera.contracts.arrow import write_table
from tessera.contracts.split import load_split
from tessera.contracts.tables import EFFECTS


def run(
    *, events: ibis.Table, users: ibis.Table, split: Path, effects: Path, params: CausalParams
) -> dict[str, float]:
    """Estimate what acquiring one item does to acquiring another, from events before the cut."""
    panel = build_panel(events, users, load_split(split), params)
    pairs = supported_pairs(trials(panel, params), params.least_support, params.pairs)
    effect_N, stderr_N = np.zeros(0), np.zeros(0)
    if len(pairs.cause_N) > 0:
        rows = stack(trials(panel, params), params.leanings, params.folds)
        effect_N, stderr_N = shrink(*estimate(rows, pairs, params.folds, params.l2))
    columns = {
        "cause_id": panel.item_ids[pairs.cause_N].astype(str),
        "effect_id": panel.item_ids[pairs.effect_N].astype(str),
        "effect": effect_N,
        "stderr": stderr_N,
        "support": pairs.support_N,
    }
    write_table(pa.table(columns), EFFECTS, effects)
    return {
        "acquisitions": float(len(panel.item_A)),
        "pairs": float(len(effect_N)),
        "negative_share": float(np.mean(effect_N < 0)) if len(effect_N) else 0.0,
        "mean_abs_effect": float(np.abs(effect_N).mean()) if len(effect_N) else 0.0,
    }
