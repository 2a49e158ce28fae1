"""The command that says what a semantic ID means, of one item or of all codes as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from tessera.contracts.errors import BadParams
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.cli.plain import plain
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

if TYPE_CHECKING:
    from tessera.platform.semantic_ids.item import CodedItem, Level


def sid(
    item: Annotated[str | None, typer.Argument(help="An item's id, as published.")] = None,
    profile: Profile = DEFAULT_PROFILE,
    page: Annotated[
        Path | None, typer.Option(help="Write a page about all codes of the last run.")
    ] = None,
) -> None:
    """Say what the semantic ID of an item means and who shares it; or write a page about all."""
    if item is None and page is None:
        raise BadParams("say of which item, or where to write the page: --page semantic_ids.html")
    workspace = open_workspace(profile)
    if page is not None:
        from tessera.platform.semantic_ids.page import write_page

        typer.echo(write_page(workspace, page))
    if item is not None:
        from tessera.platform.release.pointer import current_bundle
        from tessera.platform.semantic_ids.item import look_up

        bundle = current_bundle(workspace)
        _show(look_up(bundle, item), bundle.name)


def _show(found: CodedItem, version: str) -> None:
    title = plain(f"{version}: {found.item_id} {found.name}, code {found.sid}")
    table = Table("level", "codeword", "means", "items", "shared with", title=title)
    for number, level in enumerate(found.levels, start=1):
        shown = (str(number), str(level.codeword), _means(level), str(level.items), _shared(level))
        table.add_row(*map(plain, shown))
    Console().print(table)
    if not found.told:
        typer.echo(f"{version} was packed without words: run and publish again to have them")
    if any(set(level.words) - set(level.true) for level in found.levels):
        typer.echo("in brackets: what is true of most items of the code, and not of this one")


def _means(level: Level) -> str:
    if level.items == 1:
        return "the item alone"
    said = (word if word in level.true else f"({word})" for word in level.words)
    return ", ".join(said) or "no word sets it apart"


def _shared(level: Level) -> str:
    if not level.siblings:
        return "nobody else" if level.items == 1 else "as below"
    return "; ".join(level.siblings)
