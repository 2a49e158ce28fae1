"""Tell Airflow what changed, for its view of Assets and for DAGs of one's own that wait for it.

Which profile a run is of is known once it runs, so that a task has an alias and each event adds the
Asset of its profile.  Nothing of ours is scheduled by one.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Asset, AssetAlias

PUBLISHED = AssetAlias("tessera_published")
"""Adds `tessera://PROFILE/published` where another version is current than before the task."""
WATCHED = AssetAlias("tessera_watched")
"""Adds `tessera://PROFILE/watched` where a day was measured."""
logger = logging.getLogger("tessera.tasks")


def telling_published() -> dict[str, Any]:
    """Return the arguments by which an operator tells of a version that it made current."""
    before: list[str | None] = []

    def look(context: Any) -> None:
        before[:] = [_current(context["task"].env)]

    def tell(context: Any, _result: Any = None) -> None:
        version = _current(context["task"].env)
        if version not in (None, *before):
            _add(context, PUBLISHED, "published", {"version": version})

    return {"outlets": [PUBLISHED], "pre_execute": look, "post_execute": tell}


def telling_watched() -> dict[str, Any]:
    """Return the arguments by which an operator tells of the day that it measured."""

    def tell(context: Any, _result: Any = None) -> None:
        _add(context, WATCHED, "watched", {"day": context["task"].env["TESSERA_DAY"]})

    return {"outlets": [WATCHED], "post_execute": tell}


def _current(env: dict[str, str]) -> str | None:
    """Return the version that is current; what is wrong with a registry the command itself says."""
    from pathlib import Path

    from tessera.platform.release.pointer import current_version
    from tessera.platform.workspace.paths import open_workspace

    try:
        return current_version(open_workspace(env["TESSERA_PROFILE"], Path(env["TESSERA_ROOT"])))
    except Exception as error:
        logger.warning("no Asset can be told of: %s", error)
        return None


def _add(context: Any, alias: AssetAlias, what: str, extra: dict[str, Any]) -> None:
    profile = context["task"].env["TESSERA_PROFILE"]
    context["outlet_events"][alias].add(Asset(uri=f"tessera://{profile}/{what}"), extra=extra)
