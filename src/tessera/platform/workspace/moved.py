"""Params that stand elsewhere now: whoever says an old one is told the new place in one line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from tessera.contracts.errors import BadParams
from tessera.contracts.params import DATA, ROOT, read_of_data, seeds_of

RENAMED: Mapping[str, str] = MappingProxyType({
    "synth.attribution_days": "data.window_days",
    "causal.actions": "data.acquired",
    "graph.actions": "data.acquired",
})  # fmt: skip
"""Old name -> where the same is said now, beyond those that kept their last word."""
FIXED: Mapping[str, str] = MappingProxyType({
    "synth.block_days": "5", "synth.start": "2024-01-01", "synth.click_rate": "0.1",
    "synth.examination": "0.85", "synth.edge_strength": "1.2", "synth.edges_per_item": "2",
    "synth.edge_half_life_days": "120", "synth.late_share": "0.02", "synth.spread": "0.5",
    "causal.folds": "5", "causal.l2": "100", "graph.damping": "0.85",
    "evaluate.als_iterations": "15", "evaluate.new_user_events": "5",
})  # fmt: skip
"""Params that nobody turned -> the value that they always have."""


def refuse_moved(
    raw: Mapping[str, Mapping[str, Any]], types: Mapping[str, type[BaseModel]]
) -> None:
    """Refuse a param at its old place.

    Raises
    ------
    BadParams
        Naming the new place.
    """
    for section, said in raw.items():
        for param in said:
            if told := _told(f"{section}.{param}", types[section], param):
                raise BadParams(f"params: {section}.{param} {told}")


def _told(name: str, kind: type[BaseModel], param: str) -> str | None:
    """Say what became of a param; None if it stands where it belongs."""
    place = f"{DATA}.{param}" if param in read_of_data(kind) else RENAMED.get(name)
    if place:
        return f"is said once for all stages now: write {place} instead"
    if param in seeds_of(kind):
        return f"follows from the root of all seeds now: write {ROOT} at the top instead"
    return f"is always {FIXED[name]} now: leave it out" if name in FIXED else None
