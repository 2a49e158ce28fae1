"""`tessera infer`: print a guessed mapping, and write it as a profile to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tessera.contracts.errors import BadInput, BadParams
from tessera.platform.workspace.files import move_into_place
from tessera.platform.workspace.params import check_section
from tessera.stages.ingest.infer import SURE, Choice, Guess, Profile, infer
from tessera.stages.ingest.samples import read_folder
from tessera.stages.ingest.source import conventions, known_sources


def suggest(folder: Path) -> Profile:
    """Guess the mapping of a folder.

    Raises
    ------
    BadInput
        If nothing in it looks like events.
    """
    samples, left_out = read_folder(folder)
    found = infer(samples)
    notes = [*left_out, *found.notes]
    if not any(guess.table == "events" for guess in found.tables):
        seen = "; ".join(notes) or "no table in it"
        raise BadInput(
            f"{folder}: nothing looks like events (who, what, when): {seen}; "
            "write a mapping by hand (docs/sources.md)"
        )
    notes += [
        f"these look like the official files of profile {name}, which needs no mapping"
        for name in _official(folder)
    ]
    return Profile(found.tables, notes)


def _official(folder: Path) -> Iterator[str]:
    """Name the profiles whose source knows these files by itself."""
    for name in known_sources():
        patterns = conventions(name).official
        if patterns and all(any(folder.glob(pattern)) for pattern in patterns):
            yield name.replace("_", "-")


def show(found: Profile) -> None:
    """Print what was chosen, how sure and why: a block for each table, for 80 columns."""
    out = Console()
    for guess in found.tables:
        heads = "column", "from", "how", "sure", "why, or what else"
        table = Table(*heads, title=escape(f"{guess.table}: {guess.sample.label}"), box=SIMPLE_HEAD)
        table.title_justify = "left"
        for names in (0, 1, 3):  # a person looks for these words in the file and in the docs
            table.columns[names].no_wrap = True
        table.columns[2].overflow = "fold"
        for choice in guess.choices:
            more = f"{choice.why}; {choice.otherwise}" if choice.otherwise else choice.why
            how = _flow(choice.how) if choice.how and choice.theirs is not None else ""
            theirs = f"= {choice.how['constant']}" if choice.theirs is None else choice.theirs
            table.add_row(*map(escape, (choice.column, theirs, how, choice.sure, more)))
        out.print(table)
    for note in _notes(found):
        out.print(escape(note), soft_wrap=True)


def _notes(found: Profile) -> Iterator[str]:
    for guess in found.tables:
        yield from (f"{guess.table}: {note}" for note in guess.notes)
    yield from found.notes


def write(found: Profile, folder: Path, path: Path) -> None:
    """Write the guess as a profile; what is unsure bears a comment.

    Raises
    ------
    BadParams
        If the profile is there already, or cannot have this name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", path.stem):
        raise BadParams(f"a profile is named by small letters, digits and -, not {path.stem!r}")
    if path.exists():
        raise BadParams(f"{path.name} exists: remove it or choose another --profile")
    text = render(found, folder)
    check_section("ingest", yaml.safe_load(text)["ingest"])
    aside = path.with_name(f".{path.name}.making")
    aside.write_text(text)
    move_into_place(aside, path)


def render(found: Profile, folder: Path) -> str:
    """Return the YAML of a profile."""
    lines = [
        f"# Guessed from the files in {folder.name}; look at the lines that say likely or unsure."
    ]
    lines += [f"# {note}" for note in _notes(found)]
    lines += ["ingest:", "  source: table", "  mapping:"]
    for guess in found.tables:
        lines += [f"    {guess.table}:", *(f"      {line}" for line in _table(guess))]
    return "\n".join(lines) + "\n"


def _table(guess: Guess) -> Iterator[str]:
    yield f"file: {_flow(guess.sample.file)}"
    yield from (f"{name}: {_flow(value)}" for name, value in guess.options.items())
    yield "columns:"
    yield from (f"  {line}" for choice in guess.choices if choice.theirs for line in _line(choice))
    if constants := [choice for choice in guess.choices if not choice.theirs]:
        yield "constants:"
        yield from (f"  {line}" for choice in constants for line in _line(choice))


def _line(choice: Choice) -> Iterator[str]:
    value: Any = choice.how["constant"] if choice.theirs is None else choice.theirs
    if choice.theirs is not None and choice.how:
        value = {"from": choice.theirs} | choice.how
    comment = ""
    if choice.sure != SURE:
        comment = (
            f"  # {choice.sure} ({choice.why}){': ' * bool(choice.otherwise)}{choice.otherwise}"
        )
    yield f"{choice.column}: {_flow(value)}{comment}"


def _flow(value: Any) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
