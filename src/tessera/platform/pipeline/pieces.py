"""What a stage leaves for workers elsewhere beside its artifacts: one small file, whole or absent.

A *piece* holds what dvc.lock says of a stage (the hash of all that it read and wrote) and the texts
that the runner keeps of it: its record, and the result of validation of each table.  dvc.lock is
the sum of all pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tessera.contracts.errors import BadInput
from tessera.platform.pipeline.dvc_files import is_entry
from tessera.platform.workspace.store import Store


@dataclass(frozen=True, slots=True)
class Piece:
    """One stage, as its worker left it."""

    stage: str
    entry: dict[str, Any]
    """Its entry of dvc.lock."""
    texts: dict[str, str] = field(default_factory=dict)
    """Small files by their path from the root of the repository."""
    workspace: str = ""
    """Where it ran."""

    @property
    def outs(self) -> list[str]:
        """Paths of what it wrote, metrics among them, from the root of the repository."""
        return [str(one["path"]) for one in self.entry.get("outs", [])]


def write_piece(piece: Piece, store: Store) -> None:
    """Write the piece of a stage, in place of an older one."""
    text = json.dumps(asdict(piece), indent=2, default=str) + "\n"
    store.put(_name(piece.stage), text.encode())


def read_piece(store: Store, stage: str) -> Piece | None:
    """Read the piece of a stage; None if no worker left one.

    Raises
    ------
    BadInput
        If it is none.
    """
    stored = store.get(_name(stage))
    if stored is None:
        return None
    try:
        found = Piece(**json.loads(stored.content))
    except (TypeError, ValueError) as error:
        raise _no_piece(store, stage) from error
    if found.stage != stage or not is_entry(found.entry) or not isinstance(found.texts, dict):
        raise _no_piece(store, stage)
    return found


def _no_piece(store: Store, stage: str) -> BadInput:
    where = store.below(_name(stage)).address
    return BadInput(f"{where} is no piece of a stage: remove it and clear that task")


def difference(pieces: Iterable[Piece]) -> str | None:
    """Return where stages did not see the same: a path has one hash and a param one value in all.

    That is how another commit of a worker, a params.yaml that somebody edited there and a result of
    another run are found.  Of three rows,

    ======  ======================  ====
    stage   path                    hash
    ======  ======================  ====
    ingest  data/m/events.parquet   a1
    causal  data/m/events.parquet   a1
    causal  src/tessera/contracts   b7
    ======  ======================  ====

    a fourth, `graph, src/tessera/contracts, b8`, is a difference: the line names the path, both
    stages and where they ran.
    """
    told: dict[tuple[str, ...], tuple[Any, Piece]] = {}
    for piece in pieces:
        for name, value in _facts(piece.entry):
            said, first = told.setdefault(name, (value, piece))
            if said != value:
                return (
                    f"{' '.join(name)} was another for {first.stage} (in {first.workspace}) than "
                    f"for {piece.stage} (in {piece.workspace})"
                )
    return None


def _facts(entry: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], Any]]:
    for one in [*entry.get("deps", []), *entry.get("outs", [])]:
        yield (str(one["path"]),), one.get("md5")
    for file, params in entry.get("params", {}).items():
        for name, value in params.items():
            yield (file, name), value


def _name(stage: str) -> str:
    return f"{stage}.json"
