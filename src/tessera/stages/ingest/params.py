"""What a person may turn in `ingest`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, Field, field_validator, model_validator

from tessera.contracts.params import STRICT
from tessera.shared.policies.suitability import Unknown
from tessera.stages.ingest.columns import (
    EVENLY,
    ColumnMapping,
    check_numbers,
    check_table,
    check_zone,
    meant,
    word,
    words,
)
from tessera.stages.ingest.shape import Each, pattern
from tessera.stages.ingest.source import conventions

Source = Literal["market", "far_trans", "movielens", "amazon", "table", "served"]
TableName = Literal[
    "events", "items", "users", "prices", "exposures", "outcomes", "links", "queries"
]


class TableMapping(BaseModel):
    """Where one table of the source `table` comes from."""

    model_config = STRICT

    file: str | list[str] = Field(min_length=1)
    """Text (also packed) or Parquet inside the source folder: a name, a pattern such as
    `part-*.csv`, a folder, or a list of them; all rows of all files are one table."""
    columns: dict[str, ColumnMapping] = Field(min_length=1)
    """Contract column -> column of the file, or `{from: column, ...}` with how it is written.
    Without `event_id` events are numbered by row, and queries without `query_id`; so are
    `request_id`s of exposures and outcomes of one file."""
    constants: dict[str, str] = Field(default_factory=dict)
    """Contract column -> the same text in every row, such as `action: buy`."""
    delimiter: str = Field(",", min_length=1, max_length=8, pattern=r"^[^\r\n]+$")
    """Between two values of a text file; several characters only without quotes."""
    quoted: bool = True
    """Whether quotes hold delimiters and line ends; if not, they are letters like others."""
    quote: str = Field('"', pattern="^[!-~]$")
    """What stands around a quoted value; doubled it is a letter of it."""
    escape: str | None = Field(None, pattern="^[!-~]$")
    """Makes the next character a letter like others; `\\N` alone is a missing value then."""
    encoding: str = "utf-8"
    """Encoding of a text file; a byte order mark in the file wins."""
    comment: str | None = Field(None, min_length=1)
    """Lines of a text file that begin so are left out."""
    skip_lines: int = Field(0, ge=0, le=1_000)
    """Lines of a text file before its header; blank ones are passed in any case."""
    header: int = Field(1, ge=0, le=5)
    """Lines of the header of a text file, joined by a space; 0 = none: columns are called 1, 2,
    ... by their place."""

    only: dict[str, str] = Field(default_factory=dict)
    """Column of the file -> pattern that its whole value must fit (`1`, `view|click`, `.+` = not
    empty); other rows are counted as left out."""
    each: Each | None = None
    """A column of the file that holds several values, each of which is a row."""
    joined: dict[str, Annotated[list[str], Field(min_length=2)]] = Field(default_factory=dict)
    """A name of your own -> columns of the file whose values it holds, a hyphen between them: a key
    of several columns."""
    evenly: Literal["all"] | Annotated[int, Field(ge=2, le=10_000)] | None = None
    """Exposures only: each was drawn from all `items` with equal chances, and these are its
    candidates; a number = that many of them, the item shown among them, at equal chances too."""
    distinct: bool = False
    """Whether the file has several rows a key, of which the first one counts: items from trades."""
    nulls: tuple[str, ...] | None = None
    """Of every column that says no other: what means missing."""
    decimal: str | None = None
    """Of every number that says no other: before its decimals."""
    thousands: str | None = None
    """Of every number that says no other: between its thousands."""
    zone: str | None = None
    """Of every time that says no other: where its clock stood."""

    @field_validator("header", mode="before")
    @classmethod
    def _header_or_none(cls, value: object) -> object:
        return int(value) if isinstance(value, bool) else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError as error:
            raise ValueError(f"no encoding {value!r}: say utf-8, cp1252, utf-16 or so") from error
        return value

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        marks = [self.delimiter, *([self.quote] if self.quoted else []), self.escape or ""]
        if len({*marks}) < len(marks):
            raise ValueError("delimiter, quote and escape must differ")
        if self.quoted and len(self.delimiter.encode()) > 1:
            raise ValueError(f"delimiter {self.delimiter!r} of several bytes needs quoted: false")
        return self

    @field_validator("only", mode="before")
    @classmethod
    def _texts_of_values(cls, value: object) -> object:
        return cls._texts(value)

    @field_validator("only")
    @classmethod
    def _patterns(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            pattern(text)
        return value

    @field_validator("nulls", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return words(value)

    @field_validator("constants", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: word(text) for name, text in value.items()}

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        check_numbers(self.decimal, self.thousands)
        check_zone(self.zone)
        return self

    @property
    def theirs(self) -> dict[str, str]:
        """Contract column -> column of the file."""
        return {name: column.from_ for name, column in self.columns.items()}


def _given(mapping: TableMapping) -> set[str]:
    return {*mapping.columns, *mapping.constants}


class IngestParams(BaseModel):
    """Section `ingest` of params.yaml."""

    model_config = STRICT

    source: Source = "market"
    """What wrote the raw files; `served` is what `of` names, and behind it what was served."""
    of: Source = "market"
    """Source `served` only: what wrote the files that the log goes on from."""
    cut: datetime | None = None
    """Last moment to learn from, UTC; the run's request wins; null = the source's default: market
    and table 70 % of the time span, far_trans 2021-07-01, movielens 90 % of the ratings."""
    validation_days: int | None = Field(None, ge=1, le=3_650)
    """Length of the validation period before the cut; null = the source's default: far_trans 181
    (a half-year, like its test period), movielens the 10 % of ratings before the cut, others 28 or
    a fifth of a shorter past."""
    test_days: int | None = Field(None, ge=1, le=3_650)
    """Length of the test period after the cut; null = until the last event, or for far_trans until
    the end of the half-year (a cut on its last day is its end: until the end of the next)."""
    protocol: Literal["time", "leave_last_out"] | None = None
    """`leave_last_out` only to compare with published tables; null = time, but for amazon, which
    has no times, leave_last_out."""
    folds: int = Field(3, ge=3, le=20)
    """Further cuts for rolling time cross-validation."""
    engine: Literal["duckdb", "pyspark"] = "duckdb"
    """Engine that runs the same Ibis expressions; pyspark needs the extra `spark` and Java."""
    memory_limit: str = Field("1500MB", pattern=r"^[1-9][0-9]*(MB|GB)$")
    """Above this DuckDB spills into a folder beside the outputs."""
    threads: int = Field(2, ge=1, le=256)
    """Threads of the engine; the result does not depend on it."""
    mapping: dict[TableName, TableMapping] = Field(default_factory=dict)
    """Source `table` only: which file and columns each table comes from."""
    max_quarantined: float = Field(0.05, ge=0.0, le=1.0)
    """Largest share of the rows of a table that may go to quarantine; a run that loses more
    stops."""
    max_quarantined_by: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default_factory=dict
    )
    """Another share for one table or for one of its reasons, by how the reason begins, such as
    `users: risk_class`."""
    min_coverage: float = Field(0.5, ge=0.0, le=1.0)
    """Least share of the investors of the events that must be in users, of outcomes that must be in
    exposures, and of candidates that must be in items; a run that finds fewer stops."""
    unknown_user_risk: int = Field(1, ge=1, le=4)
    """Risk class that an investor without one counts as, wherever something must suit."""
    unknown_item_risk: int | None = Field(None, ge=1, le=4)
    """Risk class that an item without one counts as; null = the source's default: 4, the highest,
    but 1 for movielens and amazon, as films and goods bear no risk."""
    earliest: datetime | None = None
    """Events, exposures, outcomes and closes before it are wrong dates, UTC; null = 1970."""
    latest: datetime | None = None
    """Those from it on are wrong dates, UTC; null = the second midnight after the run was asked
    for, so that a day of clocks and zones is allowed; the simulated market knows no such day."""

    @field_validator("cut", "earliest", "latest", mode="before")
    @classmethod
    def _date_is_a_moment(cls, value: object) -> object:
        return f"{value}T00:00:00" if isinstance(value, str) and len(value) == 10 else value

    @field_validator("mapping", mode="before")
    @classmethod
    def _known_tables(cls, value: object) -> object:
        for name in value if isinstance(value, dict) else ():
            if name not in get_args(TableName):
                raise ValueError(f"unknown table {name!r}{meant(str(name), get_args(TableName))}")
        return value

    @model_validator(mode="after")
    def _keeps_the_contracts(self) -> Self:
        for name, mapping in self.mapping.items():
            known = EVENLY if mapping.evenly else ()
            check_table(name, mapping.columns, mapping.constants, known)
            if mapping.evenly and name != "exposures":
                raise ValueError(f"mapping.{name}.evenly: only exposures are drawn")
        self._check_numbered()
        return self

    @field_validator("max_quarantined_by")
    @classmethod
    def _of_known_tables(cls, shares: dict[str, float]) -> dict[str, float]:
        for key in shares:
            if key.split(":")[0] not in get_args(TableName):
                raise ValueError(f"{key!r} begins with no table: {', '.join(get_args(TableName))}")
        return shares

    def _check_numbered(self) -> None:
        """Refuse outcomes whose rows cannot be those of the exposures."""
        pair = [self.mapping[one] for one in ("exposures", "outcomes") if one in self.mapping]
        lacking = [one for one in pair if "request_id" not in _given(one)]
        one_file = len(lacking) == 2 and lacking[0].file == lacking[1].file
        if "outcomes" in self.mapping and lacking and not one_file:
            raise ValueError(
                "mapping.outcomes: name request_id, of exposures and outcomes; only in one file, "
                "where each row is a request, both may lack it"
            )

    @model_validator(mode="after")
    def _fits_the_source(self) -> Self:
        self._check_of()
        source = conventions(self.base)
        if self.protocol == "time" and not source.timed:
            raise ValueError(
                f"{self.source} has no times: set ingest.protocol to leave_last_out or null"
            )
        if missing := set(source.mapped) - set(self.mapping):
            needed = ", ".join(sorted(missing))
            raise ValueError(f"ingest.mapping needs {needed} for source {self.source}")
        return self

    def _check_of(self) -> None:
        of = conventions(self.of)
        if conventions(self.source).goes_on and (of.goes_on or not of.timed):
            raise ValueError(
                f"a served log cannot go on from {self.of}: name a source with times as ingest.of"
            )

    @property
    def base(self) -> str:
        """What wrote the files: the source, or what a served log goes on from."""
        return self.of if conventions(self.source).goes_on else self.source

    @property
    def unknown(self) -> Unknown:
        """What an unknown risk class counts as."""
        item = self.unknown_item_risk or conventions(self.base).unknown_item_risk
        return Unknown(self.unknown_user_risk, item)
