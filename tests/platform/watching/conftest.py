"""A small registry whose log a drawn world wrote: no service, and no bundle that was trained."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

import pytest

from benchmarks.watch_world import World, happened
from tessera.platform.workspace.paths import Workspace
from tessera.serve.closed import seal_closed
from tessera.serve.log import line

FIRST = date(2025, 3, 1)
NUMBER = (FIRST - date(1970, 1, 1)).days
HOUR_NS = 3_600_000_000_000


class Served:
    """A workspace, and what is written into its log."""

    def __init__(self, root, repository):
        (root / "monitoring").mkdir(parents=True)
        shutil.copy(repository / "monitoring" / "served.yaml", root / "monitoring")
        self.workspace = Workspace(root, "market")
        self.world = World.of(0, users=120, items=60)
        self.world.write_bundle(self.workspace.bundles / "v1")
        self.world.write_users(self.workspace.artifact("users"))
        self.segments = 0

    def day(self, number):
        return FIRST + timedelta(days=number)

    def records(self, number, slates=60, **more):
        return list(happened(self.world, 0, NUMBER + number, slates, **more))

    def write(self, records, torn=b""):
        """Write a segment, each of an hour of its own."""
        folder = self.workspace.served
        folder.mkdir(parents=True, exist_ok=True)
        self.segments += 1
        path = folder / f"{self.segments * HOUR_NS:020d}-1.log"
        path.write_bytes(b"".join(map(line, records)) + torn)
        return path

    def seal(self):
        return seal_closed(self.workspace.served)

    def spec(self, **changed):
        """Change lines of the specification."""
        path = self.workspace.root / "monitoring" / "served.yaml"
        lines = path.read_text().splitlines()
        for name, value in changed.items():
            lines = [f"{name}: {value}" if one.startswith(f"{name}:") else one for one in lines]
        path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def served(tmp_path, repository):
    return Served(tmp_path, repository)
