"""What later days need of a day, kept beside the days so that its log is read once.

It only saves time: what is kept came from the same rows, and is measured again when any of them
changed, when somebody was erased since, or when the specification is another one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrays import Float64s
from tessera.contracts.hashes import sha256
from tessera.platform.watching.reading import may_hold, open_spans, within
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.serve.erased import Erased
from tessera.serve.hours import RECORDS, sealed_hours
from tessera.stages.daily.day import Summary
from tessera.stages.daily.frames import Frames
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.samples import Column
from tessera.stages.daily.units import Level

FOLDER = ".kept"
"""Where it lies, in the folder of the days."""
_FORMAT = 7
_ROWS, ALONE = "-rows", "-alone"
_TABLES = ("slates", "positions", "events", "minutes")
_ARRAYS = ("taste_UK", "merit_J", "bins_B4", "moves")
_FACTS = ("user_ids", "item_ids", "categories", "issuers", "listed", "orphans")
_ERASED = "erased"
"""Holds the mark of the list of the erased under which all of it was kept."""
_KINDS, _NUMBERS, _PEOPLE = "kinds.parquet", "numbers.parquet", "people.parquet"


class Kept:
    """The summaries of a profile's days, as the log is now."""

    def __init__(self, workspace: Workspace, spec: Path) -> None:
        """Look at the log once."""
        served, users = workspace.served, workspace.artifact("users")
        self._root = workspace.watched / FOLDER
        self._hours = sealed_hours(served)
        self._open = open_spans(served)
        mark = Erased(served).mark
        self._forget_erased(mark)
        self._rest = [
            _FORMAT,
            sha256(spec),
            mark,
            sha256(users) if users.is_file() else "",
        ]

    def _forget_erased(self, mark: str) -> None:
        """Let go of everything when somebody was erased since: their rows are among it."""
        known = self._root / _ERASED
        if mark == (known.read_text() if known.exists() else ""):
            return
        files.remove(self._root)
        files.write_bytes(mark.encode(), known)

    def key(self, days: Sequence[int]) -> str:
        """Return what a day's summary hangs on: the hours that may hold some days, and the rest."""
        hours = sorted(
            [hour.path.name, hour.files[RECORDS]["sha256"]]
            for hour in self._hours
            if may_hold(hour, days)
        )
        still_open = [
            [name, whole] for name, whole, ends in self._open if within(ends[0], ends[1], days)
        ]
        told = json.dumps([*self._rest, hours, still_open])
        return digest_of(told.encode()).hexdigest()

    def get(self, day: int, key: str, what: str = "") -> Summary | None:
        """Return what was kept of a day, if it still holds; `ALONE` is without outcomes."""
        folder = self._root / f"{day}{what}"
        try:
            facts = json.loads((folder / "facts.json").read_text())
        except (OSError, ValueError):
            return None
        if facts["key"] != key:
            return None
        return Summary(
            _levels(facts["shown"]),
            _levels(facts["answered"]),
            _columns(folder / _KINDS, facts["columns"][0]),
            _columns(folder / _NUMBERS, facts["columns"][1]),
            _people(folder / _PEOPLE),
            facts["shares"],
            facts["slates"],
            facts["investors"],
            facts["versions"],
        )

    def put(self, day: int, key: str, summary: Summary, what: str = "") -> None:
        """Keep a day."""
        final = self._root / f"{day}{what}"
        aside = final.with_name(f".{final.name}.new")
        files.remove(aside)
        aside.mkdir(parents=True, mode=0o700)
        _write_columns(summary.kinds, aside / _KINDS)
        _write_columns(summary.numbers, aside / _NUMBERS)
        _write_people(summary.people, aside / _PEOPLE)
        facts = {
            "key": key,
            "columns": [list(summary.kinds), list(summary.numbers)],
            "shown": _rows(summary.shown),
            "answered": _rows(summary.answered),
            "shares": summary.shares,
            "slates": summary.slates,
            "investors": summary.investors,
            "versions": summary.versions,
        }
        (aside / "facts.json").write_text(json.dumps(facts))
        files.move_into_place(aside, final)

    def frames(self, day: int, key: str) -> Frames | None:
        """Return the rows of a day that was measured, if they still hold."""
        folder = self._root / f"{day}{_ROWS}"
        try:
            facts = json.loads((folder / "facts.json").read_text())
        except (OSError, ValueError):
            return None
        if facts.pop("key") != key:
            return None
        found: dict[str, Any] = {
            **facts,
            **{one: pq.read_table(folder / f"{one}.parquet").to_pandas() for one in _TABLES},
            **{one: np.array(facts[one], np.float64) for one in _ARRAYS},
        }
        shape = len(facts["user_ids"]), len(facts["categories"])
        found["taste_UK"] = found["taste_UK"].reshape(shape)
        return Frames(**found)

    def put_frames(self, day: int, key: str, rows: Frames) -> None:
        """Keep the rows of a day: what comes of its slates is told later."""
        final = self._root / f"{day}{_ROWS}"
        aside = final.with_name(f".{final.name}.new")
        files.remove(aside)
        aside.mkdir(parents=True, mode=0o700)
        for name in _TABLES:
            frame = pa.Table.from_pandas(getattr(rows, name), preserve_index=False)
            pq.write_table(frame, aside / f"{name}.parquet", compression="zstd")
        facts = {name: getattr(rows, name) for name in _FACTS}
        facts |= {name: getattr(rows, name).tolist() for name in _ARRAYS}
        (aside / "facts.json").write_text(json.dumps({"key": key, **facts}))
        files.move_into_place(aside, final)

    def drop(self, before: int, answered: int) -> None:
        """Let go of days that are no reference any more, and of the rows of those answered."""
        for path in self._root.glob("[0-9]*"):
            day, _, what = path.name.partition("-")
            if int(day) < (answered if what else before):
                shutil.rmtree(path)


def _rows(levels: Levels) -> list[list[object]]:
    return [[*key, asdict(level)] for key, level in levels.items()]


def _levels(rows: list[list[object]]) -> Levels:
    return {(str(series), str(of)): Level(**dict(told)) for series, of, told in rows}  # type: ignore[call-overload]


def _write_columns(columns: Mapping[str, Column], path: Path) -> None:
    """Write columns of equal type below each other."""
    names = [np.repeat(at, len(one.user_M)) for at, one in enumerate(columns.values())]
    rows = {
        "column": np.concatenate(names),
        "user": np.concatenate([one.user_M for one in columns.values()]),
        "value": np.concatenate([one.value_M for one in columns.values()]),
    }
    pq.write_table(pa.table(rows), path, compression="zstd")


def _columns(path: Path, names: Sequence[str]) -> dict[str, Column]:
    rows = pq.read_table(path)
    of_M, user_M = rows["column"].to_numpy(), rows["user"].to_numpy()
    value_M = rows["value"].to_numpy()
    return {name: Column(value_M[of_M == at], user_M[of_M == at]) for at, name in enumerate(names)}


def _write_people(people: tuple[list[str], Float64s], path: Path) -> None:
    names, value_VF = people
    columns = {f"f{at}": value_VF[:, at] for at in range(value_VF.shape[1])}
    pq.write_table(pa.table({"name": pa.array(names, pa.string()), **columns}), path)


def _people(path: Path) -> tuple[list[str], Float64s]:
    rows = pq.read_table(path)
    columns = [rows[name].to_numpy() for name in rows.column_names if name != "name"]
    return rows["name"].to_pylist(), np.stack(columns, axis=1)
