"""Guess a mapping from samples, and say how sure each guess is and what else it may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tessera.contracts.columns import Column
from tessera.contracts.tables import ACTIONS as OUR_ACTIONS
from tessera.contracts.tables import TABLES
from tessera.stages.ingest.how_written import SHOWN, how_written, may_be_times
from tessera.stages.ingest.placing import nearly_events, placed
from tessera.stages.ingest.samples import Sample
from tessera.stages.ingest.scored_files import ScoredFile, scored
from tessera.stages.ingest.vocabulary import WORDS, likeness, plain

SURE, LIKELY, UNSURE = "sure", "likely", "unsure"


@dataclass(frozen=True, slots=True)
class Choice:
    """One column of the mapping."""

    column: str
    theirs: str | None
    """None: a constant."""
    how: dict[str, Any]
    sure: str
    why: str
    otherwise: str = ""
    """What else it may be."""


@dataclass(slots=True)
class Guess:
    """The mapping of one table."""

    table: str
    sample: Sample
    choices: list[Choice]
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What is unsure about the table as a whole."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What was guessed of a folder."""

    tables: list[Guess]
    notes: list[str]


def infer(samples: list[Sample]) -> Profile:
    """Guess which file is which table and which column is which."""
    files = scored(samples)
    tables_of, notes = placed(files)
    if "events" not in tables_of:
        notes = [*nearly_events(files), *notes]
    tables = [_guess(table, file) for table, file in tables_of.items()]
    if "events" in tables_of and "items" not in tables_of:
        tables.append(_items_of(tables_of["events"]))
        notes.append("no file of items: they are what the events name, with no name of their own")
    order = list(WORDS)
    return Profile(sorted(tables, key=lambda guess: order.index(guess.table)), notes)


def _guess(table: str, file: ScoredFile) -> Guess:
    contract = {column.name: column for column in TABLES[table].columns}
    found = dict(file.scores[table])
    if table in ("items", "users"):
        _require_key(table, file, found)
    choices = [
        _choice(table, contract[column], (score, name, why), file)
        for column, (score, name, why) in found.items()
    ]
    guess = Guess(table, file.sample, choices, dict(file.sample.options), list(file.sample.unsure))
    _complete(guess)
    if table == "items" and not file.unique(found["item_id"][1]):
        guess.options["distinct"] = True
        guess.notes.append("distinct: the file has several rows an item; the first one counts")
    place = list(contract)
    guess.choices.sort(key=lambda choice: place.index(choice.column))
    return guess


def _require_key(table: str, file: ScoredFile, found: dict[str, tuple[float, str, str]]) -> None:
    column = f"{table[:-1]}_id"
    if column not in found:
        first = next((name for name in file.values if file.unique(name)), next(iter(file.values)))
        for other in [name for name, (_, theirs, _) in found.items() if theirs == first]:
            del found[other]
        found[column] = (0.3, first, "the first column whose values are all different")
    free = [name for name in file.values if name not in {theirs for _, theirs, _ in found.values()}]
    if table == "items" and "name" not in found and free:
        longest = max(free, key=lambda name: sum(map(len, file.values[name][:SHOWN])))
        if not may_be_times(file.values[longest][:SHOWN] or ["1"]):
            found["name"] = (0.3, longest, "the longest text")


def _choice(table: str, column: Column, found: tuple[float, str, str], file: ScoredFile) -> Choice:
    score, name, why = found
    sure = SURE if score > 0.9 else LIKELY if score >= 0.5 else UNSURE
    values = list(dict.fromkeys(file.values[name]))[:SHOWN]
    how, doubt = how_written(column, values, file.sample.types.get(name, "text"))
    words = WORDS[table][column.name]
    rivals = [
        other
        for other, theirs in file.values.items()
        if other != name and likeness(other, words) > 0.9 and theirs and file.fits(other, column)
    ]
    if column.name == "amount_eur" and plain(name) in _OF_ONE:
        doubt = "; ".join(filter(None, [doubt, "the price of one, or of all"]))
    doubt = "; ".join(filter(None, [doubt, _swapped(table, column.name, name, file)]))
    if rivals:
        doubt = "; ".join(filter(None, [doubt, f"or column {', '.join(rivals)}"]))
    return Choice(column.name, name, how, UNSURE if doubt else sure, why, doubt)


_OF_ONE = ("price", "unit_price", "unitprice", "preis", "stueckpreis", "precio", "prezzo", "kurs")
"""Names of what may be one piece's price and not what a row is worth."""


def _swapped(table: str, column: str, name: str, file: ScoredFile) -> str:
    """Say if a column of ids may as well be that of the others."""
    other = {"user_id": "item_id", "item_id": "user_id"}.get(column, "")
    if name not in file.either or not file.known(table, other):
        return ""
    theirs = file.scores[table][other][1]
    return f"or column {theirs}: users and items have the same ids" if theirs in file.either else ""


def _complete(guess: Guess) -> None:
    """Add constants for what must not be missing and no column says."""
    there = {choice.column for choice in guess.choices}
    constants = dict(_CONSTANTS.get(guess.table, {}))
    if guess.table == "events" and any(
        choice.column == "units" and likeness(choice.theirs or "", _RATINGS)
        for choice in guess.choices
    ):
        constants["action"] = "rate"
    for column, text in constants.items():
        if column not in there:
            why = "no column says it"
            guess.choices.append(
                Choice(column, None, {"constant": text}, UNSURE, why, _OTHERS.get(column, ""))
            )


_RATINGS = "rating stars overall score valutazione bewertung valoracion"
_CONSTANTS = {
    "events": {"action": "buy"},
    "exposures": {"policy_id": "logged", "context_version": "0"},
    "outcomes": {"value": "0"},
}
_OTHERS = {"action": f"or {', '.join(OUR_ACTIONS)}"}


def _items_of(file: ScoredFile) -> Guess:
    """Take the items from the events, where no file describes them."""
    _, theirs, _ = file.scores["events"]["item_id"]
    used = {name for _, name, _ in file.scores["events"].values()}
    score = {
        name: likeness(name, WORDS["items"]["name"]) for name in file.values if name not in used
    }
    names = [name for name, fit in score.items() if fit > 0.9]
    why = "what the events name"
    choices = [Choice("item_id", theirs, {}, UNSURE, why)]
    choices += [Choice("name", name, {}, UNSURE, "by its name") for name in names[:1]]
    options = dict(file.sample.options) | {"distinct": True}
    return Guess("items", file.sample, choices, options)
