"""The files of a source become drafts, by the reader that the params name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.draft import Drafts
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.source import Conventions, find_source


class Reader(Protocol):
    """What a module of `sources` has."""

    CONVENTIONS: Conventions
    """What stands where the params say nothing."""

    def drafts(self, folder: Path, engine: Engine, params: IngestParams) -> Drafts:
        """Read a folder: rows in columns of the contract, each with its file and row number.

        A line that is no row is a `Rejected` of its draft; a table that the source lacks is absent.
        """


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read a source folder.

    Raises
    ------
    BadInput
        If the folder or one of its files is missing or unreadable.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder: name the one that holds the source's files")
    return cast(Reader, find_source(params.source)).drafts(folder, engine, params)
