"""What was measured of a day that was served: one folder a day, the same rows for everybody.

`series.parquet` has a row for each series and slice, `movers.parquet` the items whose share moved
most, `day.json` what was read and what was odd.  A folder is written aside and renamed whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput
from tessera.contracts.hashes import sha256

Side = Literal["above", "below"]
ALL = "all"
"""Slice of everybody."""
FEWEST = 10
"""Of fewer investors nothing is shown: a number about one person tells of that person."""
MEASURED, EMPTY = "measured", "empty"
FACTS = "day.json"
_NAME = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2))
_SERIES, _MOVERS = "series.parquet", "movers.parquet"
_SCHEMA = pa.schema(
    [
        pa.field("day", pa.date32(), False),
        pa.field("series", pa.string(), False),
        pa.field("slice", pa.string(), False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("rows", pa.int64(), False),
        pa.field("investors", pa.int64(), False),
        pa.field("threshold", pa.float64()),
        pa.field("side", pa.string()),
        pa.field("p_value", pa.float64()),
        pa.field("alarm", pa.bool_(), False),
        pa.field("hidden", pa.bool_(), False),
    ]
)
_MOVED = pa.schema(
    [
        pa.field("item_id", pa.string(), False),
        pa.field("before", pa.float64(), False),
        pa.field("now", pa.float64(), False),
    ]
)


@dataclass(frozen=True, slots=True)
class Point:
    """One series of one slice on one day."""

    series: str
    slice: str
    value: float | None
    low: float | None = None
    """Of an interval of 95 %; None where there is none."""
    high: float | None = None
    rows: int = 0
    """Slates or positions behind it."""
    investors: int = 0
    threshold: float | None = None
    side: Side | None = None
    """On which side of the threshold it is bad."""
    p_value: float | None = None
    """Of "not beyond the threshold"."""
    alarm: bool = False
    """Beyond the threshold, also after all series of the day share the chance of a false alarm."""
    hidden: bool = False
    """Of too few investors to be shown: it has no value and never alarms."""


@dataclass(frozen=True, slots=True)
class Mover:
    """An item whose share of what was shown moved."""

    item_id: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Day:
    """A day that was watched."""

    path: Path
    facts: Mapping[str, Any]

    @property
    def day(self) -> date:
        """Which day, in UTC."""
        return date.fromisoformat(str(self.facts["day"]))

    @property
    def status(self) -> str:
        """`measured`, or `empty` where nothing was served."""
        return str(self.facts["status"])

    @property
    def remarks(self) -> list[str]:
        """What was odd, in plain sentences."""
        return list(self.facts["remarks"])

    def series(self) -> pa.Table:
        """Read all series."""
        return pq.read_table(self.path / _SERIES, schema=_SCHEMA)

    def points(self) -> list[Point]:
        """Read all series, row by row."""
        rows = self.series().drop_columns(["day"]).to_pylist()
        return [Point(**row) for row in rows]

    def movers(self) -> list[Mover]:
        """Read the items whose share moved most, the furthest first."""
        rows = pq.read_table(self.path / _MOVERS, schema=_MOVED).to_pylist()
        return [Mover(**row) for row in rows]

    def check(self) -> None:
        """Compare each file with what was measured.

        Raises
        ------
        BadInput
            If one is missing or was changed.
        """
        for name, told in self.facts["files"].items():
            path = self.path / name
            if not path.is_file() or sha256(path) != told:
                raise BadInput(
                    f"{path} is not what was measured: run `tessera monitor --day {self.day}` again"
                )


def write_day(
    folder: Path,
    day: date,
    points: Iterable[Point],
    movers: Iterable[Mover],
    facts: Mapping[str, Any],
) -> None:
    """Write a day into a folder that is there; equal rows give equal bytes.

    Parameters
    ----------
    folder : Path
        Made aside: the caller renames it.
    day : date
        The day.
    points, movers : iterable
        In any order, each series and slice once; the furthest mover first.
    facts : mapping
        What `day.json` says beside the hashes of the files.
    """
    ordered = sorted(points, key=lambda one: (one.series, one.slice))
    rows = [{"day": day, **asdict(one)} for one in ordered]
    moved = [asdict(one) for one in movers]
    for name, found, schema in ((_SERIES, rows, _SCHEMA), (_MOVERS, moved, _MOVED)):
        pq.write_table(
            pa.Table.from_pylist(found, schema=schema), folder / name, compression="zstd"
        )
    files = {name: sha256(folder / name) for name in (_SERIES, _MOVERS)}
    told = {"day": day.isoformat(), **facts, "files": files}
    (folder / FACTS).write_text(json.dumps(told, indent=2) + "\n")


def read_day(folder: Path) -> Day:
    """Read what is said of a day.

    Raises
    ------
    BadInput
        If it is none.
    """
    try:
        facts = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} is no day that was watched: measure it again") from error
    return Day(folder, facts)


def days(watched: Path) -> list[Day]:
    """Read all days that lie in a folder, the oldest first."""
    found = sorted(watched.glob(f"{_NAME}/{FACTS}"))  # and no copy that lies beside one
    return [read_day(path.parent) for path in found]
