"""Whether days measured as they came, and again later as a backfill would, are the same bytes.

Usage: python -m benchmarks.watch_backfill [--days 30] [--slates 300]

A drawn service is measured at the end of each day, when nothing of a later day is in the log; hours
are sealed on the way.  One day nobody comes, on one another version begins to answer, and on one a
bot buys.  Then what was measured is thrown away, with all that was kept for the days behind, and
the days are measured again with the whole log: once in their order, once from the last to the
first, and each once more over what is there.  Each file of a day is compared by its hash.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, write_result
from benchmarks.watch_world import World, happened
from tessera.contracts.hashes import sha256
from tessera.contracts.progress import progress_bar
from tessera.platform.watching.day import SPEC, watch_day
from tessera.platform.workspace.paths import Workspace
from tessera.serve.closed import seal_closed
from tessera.serve.log import line

_FIRST = date(2025, 3, 1)
_NUMBER = (_FIRST - date(1970, 1, 1)).days
_HOUR_NS = 3_600_000_000_000
_SEED = 0
_NOBODY, _BOT, _PUBLISHED = 12, 16, 20
"""Days of these."""

Hashes = dict[str, str]


def build(root: Path) -> tuple[Workspace, World]:
    """Write the specification, two bundles and the investors."""
    (root / SPEC).parent.mkdir(parents=True)
    shutil.copy(ROOT / SPEC, root / SPEC)
    workspace, world = Workspace(root, "market"), World.of(_SEED, users=600, items=120)
    for version in ("v1", "v2"):
        world.write_bundle(workspace.bundles / version)
    world.write_users(workspace.artifact("users"))
    return workspace, world


def serve(workspace: Workspace, world: World, day: int, slates: int) -> None:
    """Write a day into the log, each in an hour of its own; every other one is sealed."""
    fault = "bot" if day == _BOT else "other model" if day >= _PUBLISHED else None
    records = [] if day == _NOBODY else list(
        happened(world, _SEED, _NUMBER + day, slates, fault)
    )  # fmt: skip
    workspace.served.mkdir(parents=True, exist_ok=True)
    path = workspace.served / f"{(day + 1) * _HOUR_NS:020d}-1.log"
    path.write_bytes(b"".join(map(line, records)))
    if day % 2:
        seal_closed(workspace.served)


def measured(workspace: Workspace, day: int) -> Hashes:
    """Measure a day; return the hash of each file of it."""
    path = watch_day(workspace, _FIRST + timedelta(days=day)).path
    return {file.name: sha256(file) for file in sorted(path.iterdir())}


def again(workspace: Workspace, days: Iterable[int]) -> dict[int, Hashes]:
    """Measure days in this order, beginning with nothing."""
    shutil.rmtree(workspace.watched)
    return {day: measured(workspace, day) for day in days}


def differing(one: dict[int, Hashes], other: dict[int, Hashes]) -> list[str]:
    """Name each day that is not the same in both."""
    return [str(_FIRST + timedelta(days=day)) for day in one if one[day] != other.get(day)]


def compared(root: Path, days: int, slates: int) -> dict[str, Any]:
    """Measure the days as they came, and then in each other way."""
    workspace, world = build(root)
    daily = {}
    with progress_bar("days", days) as bar:
        for day in range(days):
            serve(workspace, world, day, slates)
            daily[day] = measured(workspace, day)
            bar.advance()
    ways = {
        "measured once more": lambda: {day: measured(workspace, day) for day in daily},
        "in their order, from nothing": lambda: again(workspace, daily),
        "from the last to the first": lambda: again(workspace, reversed(daily)),
    }
    return {
        "days": days,
        "slates": slates,
        "files": sum(map(len, daily.values())),
        "other_bytes": {name: differing(daily, way()) for name, way in ways.items()},
    }


def main() -> None:
    """Measure, compare and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--slates", type=int, default=300)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_result("watch_backfill", compared(Path(folder), asked.days, asked.slates))


if __name__ == "__main__":
    main()
