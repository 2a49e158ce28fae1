"""What the ranking tables say, for a verdict that has nothing of its own to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FIGURES = ("hr_10", "ndcg_10", "recall_10")
_CANDIDATE = "hstu"


def ranked(ranking: Path) -> dict[str, Any] | None:
    """Take the few figures of `ranking` that a page repeats; None where there are none.

    Returns
    -------
    dict
        `users`; `models`: name -> figures; `lead`: of the candidate in nDCG@10 over
        `best_baseline`, with its interval, or None.
    """
    found: dict[str, Any] = json.loads(ranking.read_text())
    if not found.get("models"):
        return None
    over = found["intervals"]["ndcg_10_minus_best_baseline"]
    return {
        "users": found["users"],
        "models": {
            name: {figure: one[figure] for figure in _FIGURES}
            for name, one in found["models"].items()
        },
        "best_baseline": over["best_baseline"],
        "lead": over["models"].get(_CANDIDATE),
    }
