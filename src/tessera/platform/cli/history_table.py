"""Show every act, newest first, with overrides marked for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tessera.contracts.errors import BrokenHistory
from tessera.platform.release.history import chain, history
from tessera.platform.release.journal import at_rest, state_fault, unfinished
from tessera.platform.workspace.paths import Workspace


def show_history(workspace: Workspace, verify: bool, console: Console | None = None) -> None:
    """Print the table, and what is wrong with the chain if anything is.

    Raises
    ------
    BrokenHistory
        If the chain is broken and `verify` asks for an exit code.
    """
    out = console or Console()
    with at_rest(workspace):
        entries, fault, newest = history(workspace), state_fault(workspace), chain(workspace).head()
        pending = unfinished(workspace)
    table = Table("", "when (UTC)", "who", "act", "version", "decision", "reason")
    for entry in reversed(entries):
        table.add_row(*_row(entry))
    out.print(table if entries else f"no act yet: run `tessera run --profile {workspace.profile}`")
    if pending:
        out.print("an act was interrupted: the next one completes it", markup=False)
    line = f"the history of profile {workspace.profile} is {fault}"
    if fault and verify:
        raise BrokenHistory(line)
    if fault:
        out.print(f"[bold red]{escape(line)}[/]", soft_wrap=True)
    elif verify:
        told = f"{len(entries)} entries, every hash matches; head {newest['sha256']}"
        out.print(told, soft_wrap=True, highlight=False)


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    who = str(entry.get("who", "?"))
    if entry.get("approver"):
        who += f", approved by {entry['approver']}"
    reason = escape(_reason(entry))
    if entry.get("override_reason"):
        reason = f"[bold red]OVERRIDE[/] {reason}"
    before, after = entry.get("from") or "-", entry.get("to") or "-"
    return (
        str(entry.get("n", "?")),
        str(entry.get("at", "?"))[:19].replace("T", " "),
        escape(who),
        escape(str(entry.get("act", "unreadable"))),
        escape(str(after) if before == after else f"{before} -> {after}"),
        escape(str(entry.get("decision") or "")),
        reason,
    )


def _reason(entry: Mapping[str, Any]) -> str:
    return str(entry.get("override_reason") or entry.get("reason") or "")
