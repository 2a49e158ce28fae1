"""A progress bar for whatever has several steps; silent where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tessera.contracts.processes import is_helper


class Bar:
    """One line of progress; `advance` moves it, `note` changes the text behind it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1) -> None:
        """Move on by so many steps."""
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Show a short text, such as the loss, behind the bar."""
        self._progress.update(self._task, note=text)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Bar]:
    """Show progress towards `total` steps on standard error while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(file=sys.stderr)
    # One bar, not one of every process that torchrun started.
    silent = total < 2 or not console.is_terminal or is_helper()
    with Progress(*columns, console=console, disable=silent) as progress:
        yield Bar(progress, progress.add_task(what, total=total, note=""))
