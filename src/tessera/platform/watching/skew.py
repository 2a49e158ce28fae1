"""Whether what was served is what its bundle gives: some slates of a day, drawn again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import TesseraError
from tessera.contracts.series import ALL
from tessera.platform.release.trials import CANDIDATE, challenger
from tessera.platform.watching.reading import replayable
from tessera.platform.workspace.params import serve_params
from tessera.platform.workspace.paths import Workspace
from tessera.serve.erased import Erased
from tessera.serve.events import SLATE
from tessera.stages.daily.levels import Levels
from tessera.stages.daily.units import Level

if TYPE_CHECKING:  # torch takes seconds
    from tessera.serve.engine import Engine

Open = Callable[[str], "Engine | None"]
_FAR = 1e6
"""Stands for a difference of scores that nobody can tell."""


def engines(workspace: Workspace) -> Open:
    """Return what opens the bundle of a version as it was before anything was served.

    It gives None for a candidate that was trained again, and never published.
    """
    return partial(_opened, workspace)


def _opened(workspace: Workspace, version: str) -> Engine | None:
    from tessera.serve.engine import Engine

    try:
        found = challenger(workspace, version)
    except TesseraError:
        if version.startswith(CANDIDATE):
            return None
        raise
    found.check()
    engine = Engine.open(found.path, serve_params(workspace), found.version)
    if engine.scorer.erased is not None:
        engine.scorer.erased.adopt(Erased(workspace.served))
    return engine


def known_engines(workspace: Workspace) -> Open:
    """Return the same, but None also for a version that nobody here published."""

    def opened(version: str) -> Engine | None:
        return _opened(workspace, version) if is_known(workspace, version) else None

    return opened


def is_known(workspace: Workspace, version: str) -> bool:
    """Tell whether a version was published here, or is the candidate."""
    try:
        challenger(workspace, version)
    except TesseraError:
        return False
    return True


class Sample:
    """The slates of a day with the least hashes."""

    def __init__(self, most: int) -> None:
        """Keep none yet."""
        self._most, self._by_hash = most, dict[bytes, str]()

    def take(self, request_id: str) -> None:
        """Take in a slate."""
        mark = hashlib.blake2b(request_id.encode(errors="surrogatepass"), digest_size=8).digest()
        self._by_hash[mark] = request_id
        if len(self._by_hash) > 2 * self._most:
            self._cut()

    def _cut(self) -> None:
        self._by_hash = dict(sorted(self._by_hash.items())[: self._most])

    @property
    def names(self) -> set[str]:
        """Return them."""
        self._cut()
        return set(self._by_hash.values())


def skew(folder: Path, day: int, sample: set[str], open_engine: Open) -> Levels:
    """Return the largest difference of a score and of a propensity over some slates.

    Of a log that several processes wrote, the order in which events became known is lost, and
    scores tell nothing; of slates before which events were forgotten neither.  There is no level
    where nothing could be played again.
    """
    from tessera.serve.replay import replay

    if not sample:
        return {}
    records = list(replayable(folder, sample, (day + 1) * DAY_US))
    found = replay(records, open_engine)
    if not found.slates:
        return {}
    investors = len({one["user_id"] for one in records if one["kind"] == SLATE})
    gap = min(found.propensity, 1.0)
    levels = {("skew.propensity", ALL): Level(gap, None, found.slates, investors)}
    scored = found.slates - found.unscored - found.unordered
    if scored > 0 and not found.is_shared:
        levels["skew.score", ALL] = Level(min(found.score, _FAR), None, scored, investors)
    return levels
