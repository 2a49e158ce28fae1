"""Guess a mapping from samples, and say how sure each guess is and what else it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tessera.contracts.tables import ACTIONS as OUR_ACTIONS
from tessera.contracts.tables import TABLES, Column
from tessera.stages.ingest import moments
from tessera.stages.ingest.columns import NULL_WORDS
from tessera.stages.ingest.how_written import SHOWN, fits, how_written, may_be_times
from tessera.stages.ingest.samples import Sample
from tessera.stages.ingest.vocabulary import FILES, WORDS, likeness, plain

SURE, LIKELY, UNSURE = "sure", "likely", "unsure"
_UNIQUE = 0.98
_JOINS = 0.6
_OLD = re.compile(r"(^|[_\-. ])(old|bak|backup|copy|alt|tmp|temp|orig)([_\-. ]|$)", re.IGNORECASE)


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


@dataclass(slots=True)
class _File:
    """What the values of one file say."""

    sample: Sample
    values: dict[str, list[str]]
    """Column -> its values that are not missing, blanks stripped."""
    scores: dict[str, dict[str, tuple[float, str, str]]] = field(default_factory=dict)
    """Table -> contract column -> how well which column of the file fits, and why."""
    fitting: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Column of the file, kind of a contract column -> whether its values are of that kind."""
    either: set[str] = field(default_factory=set)
    """Columns that no word names and whose values are ids of users and of items alike."""

    def known(self, table: str, column: str) -> bool:
        return column in self.scores[table]

    def fits(self, name: str, column: Column) -> bool:
        """Whether the values of a column may be those of a contract column."""
        kind = column.name if column.name in _KINDS else column.dtype
        kind = "id" if column.name.endswith("_id") else kind
        if (name, kind) not in self.fitting:
            self.fitting[name, kind] = fits(kind, self.values[name])
        return self.fitting[name, kind]

    def unique(self, column: str) -> bool:
        values = self.values[column]
        return bool(values) and len(set(values)) >= _UNIQUE * len(values)


def infer(samples: list[Sample]) -> Profile:
    """Guess which file is which table and which column is which."""
    files = [_File(sample, _given(sample)) for sample in samples]
    keys = _keys(files)
    for file in files:
        file.scores = {table: _scores(file, table, keys) for table in WORDS}
        file.either = _either(file, keys)
    placed, notes = _placed(files)
    if "events" not in placed:
        notes = [*_nearly_events(files), *notes]
    tables = [_guess(table, file) for table, file in placed.items()]
    if "events" in placed and "items" not in placed:
        tables.append(_items_of(placed["events"]))
        notes.append("no file of items: they are what the events name, with no name of their own")
    order = list(WORDS)
    return Profile(sorted(tables, key=lambda guess: order.index(guess.table)), notes)


def _given(sample: Sample) -> dict[str, list[str]]:
    return {
        name: [text for value in values if (text := value.strip()) and text not in NULL_WORDS]
        for name, values in sample.columns.items()
    }


def _keys(files: Iterable[_File]) -> dict[str, set[str]]:
    """Collect the values that identify items and users: unique columns of files so called."""
    found: dict[str, set[str]] = {}
    for file in files:
        for table, column in (("items", "item_id"), ("users", "user_id")):
            if likeness(_stem(file.sample), FILES[table]):
                key = _named_column(file, table, column) or next(
                    (name for name in file.values if file.unique(name)), None
                )
                if key and file.unique(key):
                    found.setdefault(column, set()).update(file.values[key])
    return found


def _stem(sample: Sample) -> str:
    first = sample.file if isinstance(sample.file, str) else sample.file[0]
    name = first.split("/")[-1].removesuffix(".gz")
    stem, _, ending = name.rpartition(".")
    return {"inter": "interactions", "item": "items", "user": "users"}.get(ending, stem)


def _named_column(file: _File, table: str, column: str) -> str | None:
    fits = {name: likeness(name, WORDS[table][column]) for name in file.values}
    best = max(fits, key=lambda name: fits[name], default=None)
    return best if best and fits[best] > 0 else None


def _scores(
    file: _File, table: str, keys: dict[str, set[str]]
) -> dict[str, tuple[float, str, str]]:
    """Give each contract column the best column of the file that is still free."""
    contract = {column.name: column for column in TABLES[table].columns}
    pairs = []
    for column, words in WORDS[table].items():
        for name in file.values:
            score, why = _score(contract[column], name, words, file, keys)
            if score > 0:
                pairs.append((score, column, name, why))
    found: dict[str, tuple[float, str, str]] = {}
    taken: set[str] = set()
    for score, column, name, why in sorted(pairs, key=lambda pair: -pair[0]):
        if column not in found and name not in taken:
            found[column] = (score, name, why)
            taken.add(name)
    return found


def _score(
    column: Column, name: str, words: str, file: _File, keys: dict[str, set[str]]
) -> tuple[float, str]:
    score, why = likeness(name, words), "by its name"
    values, known = file.values[name], keys.get(column.name)
    unnamed = column.name == "event_ts" and (not name.isalpha() or _has_clock(values))
    if not (values and (score or known or unnamed) and file.fits(name, column)):
        return 0.0, ""
    if known:
        share = _share(values, known)
        if share >= _JOINS:
            many = 0.01 * min(1.0, len(set(values[:5_000])) / 1_000)
            return max(
                score, 0.5
            ) + 0.49 * share + many, f"{share:.0%} of its values are {column.name}s"
    if not score and unnamed and _is_recent(values):
        return 0.45, "by its values"
    return score, why


def _share(values: list[str], known: set[str]) -> float:
    different = set(values[:5_000])
    return len(different & known) / len(different) if len(different) > 1 else 0.0


def _either(file: _File, keys: dict[str, set[str]]) -> set[str]:
    """Find the columns that numbers alone place, although both kinds of ids are such numbers."""
    return {
        name
        for name, values in file.values.items()
        if len(keys) > 1
        and all(_share(values, known) >= _JOINS for known in keys.values())
        and not any(likeness(name, WORDS["events"][column]) for column in keys)
    }


def _swapped(table: str, column: str, name: str, file: _File) -> str:
    """Say if a column of ids may as well be that of the others."""
    other = {"user_id": "item_id", "item_id": "user_id"}.get(column, "")
    if name not in file.either or not file.known(table, other):
        return ""
    theirs = file.scores[table][other][1]
    return f"or column {theirs}: users and items have the same ids" if theirs in file.either else ""


def _is_recent(values: list[str]) -> bool:
    head = values[:SHOWN]
    return all(map(moments.is_iso, head)) or bool(moments.units_of(head)) or any(
        "%Y" in one for one in moments.formats_of(head) if one != "%Y%m%d"
    )  # fmt: skip


def _has_clock(values: list[str]) -> bool:
    """Tell whether values are dates with a time of the day: no birthday has one."""
    head = values[:SHOWN]
    iso = all(moments.is_iso(value) and len(value) > len("2021-01-01") for value in head)
    return (bool(head) and iso) or any(map(moments.has_clock, moments.formats_of(head)))


_KINDS = ("position", "action")
"""Contract columns whose values say more than their type."""


def _placed(files: list[_File]) -> tuple[dict[str, _File], list[str]]:
    """Say which file is which table; what stays over is named."""
    wanted: dict[str, list[_File]] = {}
    notes = []
    for file in files:
        if table := _table_of(file):
            wanted.setdefault(table, []).append(file)
        else:
            notes.append(f"{file.sample.label}: fits no table")
    placed = {}
    for table, rivals in wanted.items():
        best = max(rivals, key=lambda file: _rank(file, table))
        placed[table] = best
        notes += [
            f"{file.sample.label}: looks like {table} too, left out beside {best.sample.label}; "
            "list both in `file` if they are parts"
            for file in rivals
            if file is not best
        ]
    return placed, notes


def _rank(file: _File, table: str) -> tuple[bool, bool, float, int]:
    """Prefer what is not old, holds each key once, is called so, and is long."""
    key = file.scores[table].get(f"{table[:-1]}_id")
    unique = key is not None and file.unique(key[1])
    called = likeness(_stem(file.sample), FILES[table])
    return not _OLD.search(file.sample.label), unique, called, file.sample.rows


def _table_of(file: _File) -> str | None:
    """Decide by the columns that only one table has; the name of the file decides ties."""
    stem = _stem(file.sample)
    told: str | None = max(FILES, key=lambda table: likeness(stem, FILES[table]))
    told = told if told and likeness(stem, FILES[told]) else None
    fitting = [table for table, needed in _NEEDS.items() if _has(file, table, needed)]
    if told in fitting:
        return told
    if fitting:
        return fitting[0]
    return told if told in ("items", "users") and len(file.values) > 1 else None


_NEEDS = {
    "exposures": ("request_id", "item_id", "propensity"),
    "events": ("user_id", "item_id", "event_ts"),
    "outcomes": ("request_id", "item_id", "action", "event_ts"),
    "prices": ("item_id", "price_ts", "close_eur"),
    "items": ("item_id",),
    "users": ("user_id",),
}


_ASKED = {"user_id": "who", "item_id": "what", "event_ts": "when"}


def _nearly_events(files: list[_File]) -> list[str]:
    """Name the file that lacks one column alone to be events, and the column."""
    notes = []
    for file in files:
        found = [column for column in _ASKED if file.known("events", column)]
        if len(found) == len(_ASKED) - 1:
            said = ", ".join(f"{_ASKED[one]} ({file.scores['events'][one][1]})" for one in found)
            (lost,) = set(_ASKED) - set(found)
            notes.append(f"{file.sample.label}: says {said}, and no column {_ASKED[lost]} ({lost})")
    return notes


def _has(file: _File, table: str, needed: tuple[str, ...]) -> bool:
    if not all(file.known(table, column) for column in needed):
        return False
    if table == "items":
        return file.unique(file.scores["items"]["item_id"][1]) or file.known("items", "name")
    return True


def _guess(table: str, file: _File) -> Guess:
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


def _require_key(table: str, file: _File, found: dict[str, tuple[float, str, str]]) -> None:
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


def _choice(table: str, column: Column, found: tuple[float, str, str], file: _File) -> Choice:
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


def _items_of(file: _File) -> Guess:
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
