"""What is known of the codes that a candidate would be served with, for the guardrails.

Legend: N items, L codewords of a code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tessera.shared.codes.health import collision_rate


@dataclass(frozen=True, slots=True)
class CodeHealth:
    """Each between 0 and 1; None where it was not measured."""

    collisions: float | None
    """Share of items without a code of their own, suffix left out."""
    use: float | None
    """Least share of its usable codewords that a level uses."""
    told_apart: float | None
    """What is left of the codewords of the first level, or of whole codes if that is less, because
    noise swaps those that lie near each other."""
    survival: float | None
    """Share of items that keep their code when they are encoded once more."""


def read_code_health(codes: pa.Table, sid_health: Path) -> CodeHealth:
    """Count collisions in the codes that will be served; read the rest from what `sid` measured."""
    told: Mapping[str, Any] = json.loads(sid_health.read_text())
    levels = told.get("levels") or [{}]
    uses = [level.get("used_share") for level in levels]
    parts = [told.get("geometry"), levels[0].get("geometry")]
    flips = told.get("flip_rate")
    code_NL = np.array(codes["code"].to_pylist(), dtype=np.int64)
    return CodeHealth(
        collisions=collision_rate(code_NL[:, :-1]) if len(codes) > 1 else None,
        use=None if None in uses else min(uses),
        told_apart=None if None in parts else min(parts),
        survival=None if flips is None else 1.0 - flips,
    )
