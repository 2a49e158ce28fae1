"""What the summary of a run says in red: lists that cannot be, leads that are none, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

_MODEL, _FIGURE = "hstu", "ndcg_10"
_KEPT = 0.5
"""Least share of a lead that must remain without items born after the cut."""
_ALARMS = 3


def cautions(workspace: Workspace, ranking: Mapping[str, Any]) -> list[str]:
    """Say one line each what a person should know before believing the tables."""
    return [*_unsuited(ranking), *_born_later(ranking), *_alarms(workspace)]


def _unsuited(ranking: Mapping[str, Any]) -> Iterator[str]:
    """Say whom nothing may be shown."""
    found = ranking.get("suited") or {}
    without, users = found.get("nothing_suits", 0), ranking["users"]
    if without:
        whom = "anybody" if without == users else f"{without:,} of {users:,} test investors"
        yield (
            f"nothing on sale suits {whom}, whatever the ranking says: unknown items count as risk "
            f"class {found['unknown_item']}, unknown investors as {found['unknown_user']}; map "
            "risk_class, or set ingest.unknown_item_risk"
        )


def _born_later(ranking: Mapping[str, Any]) -> Iterator[str]:
    """Say where the lead over the best baseline comes from items that nobody could have had."""
    before = ranking["slices"].get("born_before_cut") or {}
    lead, rival = _lead(ranking["models"])
    if not before.get("models") or lead <= 0:
        return
    rest, over = _lead(before["models"])
    if rest < _KEPT * lead:
        yield (
            f"{_MODEL} leads {rival} by {lead:.4f} nDCG@10, but only by {rest:.4f} ({over}) on "
            "items that were on sale at the cut: the rest comes from items born later, which "
            "a catalogue may not know in time (data.future_items)"
        )


def _lead(models: Mapping[str, Mapping[str, float]]) -> tuple[float, str]:
    """Lead of the candidate over the best model that is not ours, and its name."""
    rivals = {name: one[_FIGURE] for name, one in models.items() if not name.startswith(_MODEL)}
    if _MODEL not in models or not rivals:
        return 0.0, ""
    best = max(rivals, key=lambda name: rivals[name])
    return models[_MODEL][_FIGURE] - rivals[best], best


def _alarms(workspace: Workspace) -> Iterator[str]:
    """Repeat what the watch found."""
    path = workspace.artifact("watch") / "summary.json"
    alarms = files.read_json(path)["alarms"] if path.exists() else []
    yield from (f"watch: {alarm}" for alarm in alarms[:_ALARMS])
    if len(alarms) > _ALARMS:
        yield f"watch: {len(alarms) - _ALARMS} more alarms, see watch/index.html"
