"""How a slate stands in the log, and what is shown where it cannot stand there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tessera.serve.context import DEGRADED
from tessera.serve.events import SLATE, Record
from tessera.serve.slate import Slate, best, greedy

_DIGITS = 6
"""Of a probability that is only measured: nothing is drawn by it."""


def record_of(slate: Slate, channel: str | None = None) -> Record:
    """Lay a slate out for the log: enough to draw it again and to write its exposures.

    `channel` is what whoever asked said of where it is shown.
    """
    drawn = slate.drawn
    return {
        "kind": SLATE,
        "request_id": slate.request_id,
        "user_id": slate.user_id,
        "moment": slate.moment,
        "channel": channel,
        "policy_id": slate.policy_id,
        "context_version": slate.context_version,
        "flags": list(slate.flags),
        "took_ms": {step: round(1000 * took, 3) for step, took in slate.took_s.items()},
        "candidate_ids": list(drawn.candidate_ids),
        "sources": list(drawn.source_C),
        "scores": drawn.score_C.astype(float).tolist(),
        "chosen": drawn.chosen_L.tolist(),
        "propensities": drawn.propensity_L.tolist(),
        "probabilities": drawn.probability_LC.tolist(),
        **_chances(slate),
    }


def _chances(slate: Slate) -> Record:
    """Return what the model expects of the items shown, in the order in which they stand."""
    if slate.chances is None:
        return {}
    told = {task: np.round(chance_L.astype(float), _DIGITS).tolist()
            for task, chance_L in slate.chances.items()}  # fmt: skip
    return {"chances": told}


def unexplored(slate: Slate, k: int) -> Slate:
    """Return the best candidates instead of the draw, marked so that nobody judges by them."""
    return replace(
        slate,
        drawn=best(slate.drawn, k),
        policy_id=greedy(slate.policy_id),
        reasons={},
        flags=flagged(slate.flags, DEGRADED, "unlogged"),
        chances=None,
    )


def flagged(flags: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Add flags that are not there yet."""
    return tuple(dict.fromkeys((*flags, *more)))
