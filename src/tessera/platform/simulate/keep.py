"""What a day leaves on the disk, so that a simulation that was killed goes on behind the last one.

A day is written aside and renamed whole.  It holds the town, what is still to be told, the figures
and the truth of the sample; the served log as it was at its end lies beside, so that the half of a
day that a kill leaves behind it is taken back and played again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float32s, Ints
from tessera.platform.simulate.place import Place
from tessera.platform.simulate.visits import Day, Player, Sample, Waiting
from tessera.platform.workspace import files
from tessera.serve.hours import SEALED, paths, still
from tessera.stages.synth.behaviour import Market
from tessera.stages.synth.town import Town

Log = dict[str, Any]
"""What a log is made of: bytes of its segments, names of its sealed hours."""
_NOTHING: Log = {"segments": {}, "sealed": []}
_LOG = "log.json"
_COPY = "served"
"""Copy of the served log beside the days."""
_TOWN, _TRUTH, _FIGURES, _COMING = "town.npz", "truth.npz", "figures.json", "coming.jsonl"


def days_done(place: Place) -> int:
    """Return how many days were played."""
    return len(list(_days(place).glob("[0-9]*")))


def save(place: Place, player: Player, day: Day) -> None:
    """Keep a day that was played; the service has logged all of it, and is asked nothing now."""
    with still(place.workspace.served):  # nothing is sealed meanwhile
        log = copy_log(place.workspace.served, place.played / _COPY)
    name = f"{day.figures['day']:03d}"
    aside = _days(place) / f".{name}"
    files.remove(aside)
    aside.mkdir(parents=True)
    town = player.town
    waiting = np.array(sorted(town.waiting), np.int64).reshape(-1, 3)
    np.savez(aside / _TOWN, boost=town.boost_UI, day=np.array(town.day), waiting=waiting)
    _write_sample(day.sample, aside / _TRUTH)
    lines = "".join(json.dumps(one) + "\n" for one in sorted(player.coming))
    (aside / _COMING).write_text(lines)
    files.write_json(log, aside / _LOG)
    files.write_json(day.figures, aside / _FIGURES)
    files.move_into_place(aside, _days(place) / name)


def load(place: Place, market: Market) -> tuple[Town, list[Waiting]]:
    """Return town and events as the last day left them, and take back what was logged since."""
    folder = _days(place) / f"{days_done(place) - 1:03d}"
    log = files.read_json(folder / _LOG)
    restore_log(place.played / _COPY, place.workspace.served, log)
    with np.load(folder / _TOWN) as told:
        waiting = [(int(a), int(b), int(c)) for a, b, c in told["waiting"]]
        town = Town(market, told["boost"], int(told["day"]), waiting)
    lines = (folder / _COMING).read_text().splitlines()
    coming = [(int(one[0]), str(one[1]), dict(one[2])) for one in map(json.loads, lines)]
    return town, coming  # sorted, so each is a heap


def forget_log(place: Place) -> None:
    """Take back all that was logged, before the first day was over."""
    restore_log(place.played / _COPY, place.workspace.served, _NOTHING)


def figures(place: Place) -> list[dict[str, Any]]:
    """Return what is known of each day."""
    return [files.read_json(path / _FIGURES) for path in sorted(_days(place).glob("[0-9]*"))]


def samples(place: Place) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the sampled visits of each day: `request_id`, `user_S`, `at_us_S`, `click_SI`, ..."""
    for path in sorted(_days(place).glob("[0-9]*")):
        with np.load(path / _TRUTH) as told:
            yield int(path.name), {name: told[name] for name in told.files}


def _write_sample(sample: Sample, path: Path) -> None:
    users: Ints = np.array(sample.user, np.int64)
    click: Float32s = np.array(sample.click_SI, np.float32)
    np.savez(
        path,
        request_id=np.array(sample.request_id),
        user_S=users,
        at_us_S=np.array(sample.at_us, np.int64),
        click_SI=click,
        shown_SI=np.array(sample.shown_SI, np.float32),
    )


def copy_log(served: Path, copy: Path) -> Log:
    """Bring a copy of a log up to date, and say what the log is made of.

    Sealed hours are linked, of segments the end is added.  Nothing is removed: what is said of
    former states stays true of the copy.
    """
    (copy / SEALED).mkdir(parents=True, exist_ok=True)
    for hour in _sealed(served):
        if not (copy / SEALED / hour.name).exists():
            aside = copy / SEALED / f".{hour.name}"
            files.remove(aside)
            shutil.copytree(hour, aside, copy_function=os.link)
            aside.rename(copy / SEALED / hour.name)
    for path in paths(served):
        _add_end(path, copy / path.name)
    return {
        "segments": {path.name: path.stat().st_size for path in paths(served)},
        "sealed": [hour.name for hour in _sealed(served)],
    }


def restore_log(copy: Path, served: Path, log: Log) -> None:
    """Make a log and its copy what the log was; both may have grown since."""
    served.mkdir(parents=True, exist_ok=True)
    for folder in (copy, served):
        for path in paths(folder):
            if folder == served or path.name not in log["segments"]:
                path.unlink()
        for hour in _sealed(folder):
            if hour.name not in log["sealed"]:
                files.remove(hour)
    for name, size in log["segments"].items():
        os.truncate(copy / name, size)
        shutil.copyfile(copy / name, served / name)


def _sealed(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / SEALED).glob("[!.]*") if path.is_dir())


def _add_end(path: Path, copy: Path) -> None:
    known = copy.stat().st_size if copy.exists() else 0
    with path.open("rb") as source, copy.open("ab") as target:
        source.seek(known)
        shutil.copyfileobj(source, target)


def _days(place: Place) -> Path:
    return place.played / "days"
