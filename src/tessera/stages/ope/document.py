"""How a verdict is laid out: its keys, its rows, its rounding, and what is followed of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.contracts.verdict import FORMAT
from tessera.offpolicy.estimators import effective_size
from tessera.offpolicy.replay import Replay
from tessera.offpolicy.requests import Requests
from tessera.stages.ope.verdict import DECISIONS, Check

Document = dict[str, Any]

KEYS = (
    "profile",
    "decision",
    "reason",
    "candidate",
    "champion",
    "policy",
    "champion_policy",
    "cut",
    "primary",
    "batch",
    "estimates",
    "sequence",
    "conditions",
    "periods",
    "prechecks",
    "guardrails",
    "weights",
    "controls",
    "slices",
    "n_requests",
    "n_users",
    "champion_served",
    "requests_dropped",
    "counts",
    "ranking",
    "inputs",
    "look",
    "judged",
    "loosened",
    "params",
)
"""Keys of verdict.json after `version`."""
_PATH_POINTS = 40
_SIGNIFICANT = 10


def document(found: Document) -> Document:
    """Lay a verdict out in its order; what was not found is null, so no reader misses a key."""
    return {"version": FORMAT, **{key: _rounded(found.get(key)) for key in KEYS}}


def metrics(written: Document) -> dict[str, float]:
    """Flatten what is worth following from run to run."""
    flat = {f"is_{name.lower()}": float(written["decision"] == name) for name in DECISIONS}
    if written["primary"] is not None:
        flat |= {name: written["primary"][name] for name in ("lift", "lower", "upper")}
        weights = written["weights"]
        flat |= {
            "ess": weights["ess"],
            "mean_weight": weights["mean"],
            "max_weight": weights["max"],
        }
        flat["requests"] = float(written["n_requests"])
    return flat


def dropped(log: Requests) -> Document:
    """Count the requests that were left out, and why."""
    return {
        "requests": sum(log.dropped.values()),
        "share": log.dropped_share,
        "reasons": log.dropped,
    }


def check_row(check: Check) -> Document:
    """Lay out one check."""
    return {
        "name": check.name,
        "value": float(check.value),
        "threshold": float(check.threshold),
        "says": check.says,
        "ok": None if check.ok is None else bool(check.ok),
        "may_lack": check.may_lack,
    }


def weight_facts(policy: Replay) -> Document:
    """Tell how the weights of whole requests are spread."""
    weight_N = policy.weight_NL[:, -1]
    edges = [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, np.inf]
    return {
        "mean": float(weight_N.mean()),
        "max": float(weight_N.max()),
        "ess": effective_size(weight_N),
        "ess_share": effective_size(weight_N) / len(weight_N),
        "histogram": {
            "upper_edges": [*edges[1:-1], None],
            "requests": np.histogram(weight_N, edges)[0].tolist(),
        },
    }


def looks_at(requests: int) -> Ints:
    """Return after how many requests the bounds are drawn in the picture."""
    return np.unique(np.linspace(1, requests, _PATH_POINTS).astype(np.int64))


def _rounded(value: Any) -> Any:
    """Keep ten significant digits, the same on any number of threads; JSON knows no infinity."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT}g}") if math.isfinite(value) else None
    return value
