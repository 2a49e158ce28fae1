"""Which file is which table, by the columns that were found in it and by its name."""

from __future__ import annotations

import re

from tessera.stages.ingest.scored_files import ScoredFile
from tessera.stages.ingest.vocabulary import FILES, likeness

_OLD = re.compile(r"(^|[_\-. ])(old|bak|backup|copy|alt|tmp|temp|orig)([_\-. ]|$)", re.IGNORECASE)
_NEEDS = {
    "exposures": ("request_id", "item_id", "propensity"),
    "events": ("user_id", "item_id", "event_ts"),
    "outcomes": ("request_id", "item_id", "action", "event_ts"),
    "prices": ("item_id", "price_ts", "close_eur"),
    "links": ("item_id", "relation", "target_id"),
    "queries": ("user_id", "event_ts", "text"),
    "items": ("item_id",),
    "users": ("user_id",),
}
"""Table -> the columns without which a file is not that table; the first that fits counts."""
_ASKED = {"user_id": "who", "item_id": "what", "event_ts": "when"}


def placed(files: list[ScoredFile]) -> tuple[dict[str, ScoredFile], list[str]]:
    """Say which file is which table; what stays over is named."""
    wanted: dict[str, list[ScoredFile]] = {}
    notes = []
    for file in files:
        if table := _table_of(file):
            wanted.setdefault(table, []).append(file)
        else:
            notes.append(f"{file.sample.label}: fits no table")
    best_of = {}
    for table, rivals in wanted.items():
        best = max(rivals, key=lambda file: _rank(file, table))
        best_of[table] = best
        notes += [
            f"{file.sample.label}: looks like {table} too, left out beside {best.sample.label}; "
            "list both in `file` if they are parts"
            for file in rivals
            if file is not best
        ]
    return best_of, notes


def nearly_events(files: list[ScoredFile]) -> list[str]:
    """Name the file that lacks one column alone to be events, and the column."""
    notes = []
    for file in files:
        found = [column for column in _ASKED if file.known("events", column)]
        if len(found) == len(_ASKED) - 1:
            said = ", ".join(f"{_ASKED[one]} ({file.scores['events'][one][1]})" for one in found)
            (lost,) = set(_ASKED) - set(found)
            notes.append(f"{file.sample.label}: says {said}, and no column {_ASKED[lost]} ({lost})")
    return notes


def _rank(file: ScoredFile, table: str) -> tuple[bool, bool, float, int]:
    """Prefer what is not old, holds each key once, is called so, and is long."""
    key = file.scores[table].get(f"{table[:-1]}_id")
    unique = key is not None and file.unique(key[1])
    called = likeness(file.stem, FILES[table])
    return not _OLD.search(file.sample.label), unique, called, file.sample.rows


def _table_of(file: ScoredFile) -> str | None:
    """Decide by the columns that only one table has; the name of the file decides ties."""
    stem = file.stem
    told: str | None = max(FILES, key=lambda table: likeness(stem, FILES[table]))
    told = told if told and likeness(stem, FILES[told]) else None
    fitting = [table for table, needed in _NEEDS.items() if _has(file, table, needed)]
    if told in fitting:
        return told
    if fitting:
        return fitting[0]
    return told if told in ("items", "users") and len(file.values) > 1 else None


def _has(file: ScoredFile, table: str, needed: tuple[str, ...]) -> bool:
    if not all(file.known(table, column) for column in needed):
        return False
    if table == "items":
        return file.unique(file.scores["items"]["item_id"][1]) or file.known("items", "name")
    return True
