"""The door of `causal`."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa

from tessera.causal.effects import Sums, add_trial, estimate, shrink, supported_pairs
from tessera.causal.panel import build_panel, trials
from tessera.causal.params import CausalParams
from tessera.contracts.arrow import write_table
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.contracts.tables import EFFECTS


def run(
    *, events: ibis.Table, users: ibis.Table, split: Path, effects: Path, params: CausalParams
) -> dict[str, float]:
    """Estimate what acquiring one item does to acquiring another, from events before the cut."""
    panel = build_panel(events, users, load_split(split), params)
    pairs = supported_pairs(trials(panel, params), params.least_support, params.pairs)
    sums = Sums(*(np.zeros(len(pairs.cause_N)) for _ in range(3)))
    strata = 0
    with progress_bar("effects by period", params.periods) as bar:
        for trial in trials(panel, params):
            add_trial(sums, trial, pairs)
            strata += int(trial.stratum_U.max(initial=-1)) + 1
            bar.advance()
    effect_N, stderr_N = shrink(*estimate(sums))
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
        "strata": float(strata),
        "negative_share": float(np.mean(effect_N < 0)) if len(effect_N) else 0.0,
        "mean_abs_effect": float(np.abs(effect_N).mean()) if len(effect_N) else 0.0,
    }
