"""How well each column of each file fits each column of the contracts: by name, values, joins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tessera.contracts.columns import Column
from tessera.contracts.tables import TABLES
from tessera.stages.ingest import moments
from tessera.stages.ingest.columns import NULL_WORDS
from tessera.stages.ingest.how_written import SHOWN, fits
from tessera.stages.ingest.samples import Sample
from tessera.stages.ingest.vocabulary import FILES, WORDS, likeness

_UNIQUE = 0.98
_JOINS = 0.6
_KINDS = ("position", "action")
"""Contract columns whose values say more than their type."""


@dataclass(slots=True)
class ScoredFile:
    """One file, and how well each of its columns fits each column of the contracts."""

    sample: Sample
    values: dict[str, list[str]]
    """Column -> its values that are not missing, blanks stripped."""
    scores: dict[str, dict[str, tuple[float, str, str]]] = field(default_factory=dict)
    """Table -> contract column -> how well which column of the file fits, and why."""
    fitting: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Column of the file, kind of a contract column -> whether its values are of that kind."""
    either: set[str] = field(default_factory=set)
    """Columns that no word names and whose values are ids of users and of items alike."""

    @property
    def stem(self) -> str:
        """Name of the file without folder and ending."""
        first = self.sample.file if isinstance(self.sample.file, str) else self.sample.file[0]
        name = first.split("/")[-1].removesuffix(".gz")
        stem, _, ending = name.rpartition(".")
        return {"inter": "interactions", "item": "items", "user": "users"}.get(ending, stem)

    def known(self, table: str, column: str) -> bool:
        """Whether a column of the file was found for a contract column."""
        return column in self.scores[table]

    def fits(self, name: str, column: Column) -> bool:
        """Whether the values of a column may be those of a contract column."""
        kind = column.name if column.name in _KINDS else column.dtype
        kind = "id" if column.name.endswith("_id") else kind
        if (name, kind) not in self.fitting:
            self.fitting[name, kind] = fits(kind, self.values[name])
        return self.fitting[name, kind]

    def unique(self, column: str) -> bool:
        """Whether a column of the file has a value of its own in nearly every row."""
        values = self.values[column]
        return bool(values) and len(set(values)) >= _UNIQUE * len(values)


def scored(samples: Iterable[Sample]) -> list[ScoredFile]:
    """Score the columns of all files; ids are known by the files that describe items and users."""
    files = [ScoredFile(sample, _given(sample)) for sample in samples]
    keys = _keys(files)
    for file in files:
        file.scores = {table: _scores(file, table, keys) for table in WORDS}
        file.either = _either(file, keys)
    return files


def _given(sample: Sample) -> dict[str, list[str]]:
    return {
        name: [text for value in values if (text := value.strip()) and text not in NULL_WORDS]
        for name, values in sample.columns.items()
    }


def _keys(files: Iterable[ScoredFile]) -> dict[str, set[str]]:
    """Collect the values that identify items and users: unique columns of files so called."""
    found: dict[str, set[str]] = {}
    for file in files:
        for table, column in (("items", "item_id"), ("users", "user_id")):
            if likeness(file.stem, FILES[table]):
                key = _named_column(file, table, column) or next(
                    (name for name in file.values if file.unique(name)), None
                )
                if key and file.unique(key):
                    found.setdefault(column, set()).update(file.values[key])
    return found


def _named_column(file: ScoredFile, table: str, column: str) -> str | None:
    fits = {name: likeness(name, WORDS[table][column]) for name in file.values}
    best = max(fits, key=lambda name: fits[name], default=None)
    return best if best and fits[best] > 0 else None


def _scores(
    file: ScoredFile, table: str, keys: dict[str, set[str]]
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
    column: Column, name: str, words: str, file: ScoredFile, keys: dict[str, set[str]]
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


def _either(file: ScoredFile, keys: dict[str, set[str]]) -> set[str]:
    """Find the columns that numbers alone place, although both kinds of ids are such numbers."""
    return {
        name
        for name, values in file.values.items()
        if len(keys) > 1
        and all(_share(values, known) >= _JOINS for known in keys.values())
        and not any(likeness(name, WORDS["events"][column]) for column in keys)
    }


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
