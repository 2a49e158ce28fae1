"""Errors that say the remedy, so that nobody needs a traceback to know what to do next."""

from __future__ import annotations


class TesseraError(Exception):
    """Anything a person can mend; its message is one line that says what to do."""


class BadInput(TesseraError):
    """A source file is missing, truncated, or not what its contract says."""


class Unreadable(BadInput, ValueError):
    """A JSON file is torn or none."""


class LostRows(BadInput):
    """Most of a table went to quarantine, or a join found hardly anything: see what was set aside.

    `metrics` says what was counted until then.
    """

    metrics: dict[str, float]

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.metrics = {}


class BadParams(TesseraError):
    """A parameter is unknown, out of bounds, or of the wrong type."""


class StageFailed(TesseraError):
    """A library stopped a stage; nothing of that run is visible."""


class InvalidTable(TesseraError):
    """A written table failed an expectation of its suite; nothing was published."""


class GateClosed(TesseraError):
    """The verdict does not allow promotion."""


class BrokenBundle(TesseraError):
    """A bundle or verdict is not what was written, judged or sealed here."""


class BrokenSeal(TesseraError):
    """The key that seals are made and checked with is missing, open to others or another one."""


class BrokenStore(TesseraError):
    """MLflow's store cannot be read or written; nothing that counts lies there."""


class BrokenHistory(TesseraError):
    """The history of acts or the ledger of looks is not what was written there."""


class LinkedFile(BrokenBundle):
    """A link lies where the bytes themselves must lie, because they are hashed."""
