"""What another bundle must stand before it answers anybody; else the one before stays.

That its files are what was published was checked when the pointer was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]

from tessera.contracts.errors import BrokenBundle, TesseraError
from tessera.serve.engine import Engine

_GROWN, _LEAST = 3, 64 << 20
"""Memory of an opened bundle by its size on the disk, and of the smallest: 60 to 75 MiB of 10 on
the market, 3.8 GiB at most of 1.5 with a million items; rounded up."""
_NAMED = 3
"""Items that a refusal names."""


class TooLittleMemory(TesseraError):
    """A bundle that this machine has no room for now; it may have later."""


def require_room(bundle: Path) -> None:
    """Refuse a bundle that would not fit beside what is there.

    Raises
    ------
    TooLittleMemory
        If it would take more than is available.
    """
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    taken, free = _LEAST + size * _GROWN, psutil.virtual_memory().available
    if taken > free:
        raise TooLittleMemory(
            f"{bundle.name} takes about {_mb(taken)} of memory and {_mb(free)} are free: "
            "free some, or serve by fewer workers"
        )


def require_fit(engine: Engine, acted: Iterable[str], least_share: float) -> None:
    """Refuse an opened bundle that would answer nonsense, then warm it up.

    Parameters
    ----------
    engine : Engine
        The bundle.
    acted : iterable of str
        Items that investors acted on, by the bundle before and since.
    least_share : float
        Share of them that it must list.

    Raises
    ------
    BrokenBundle
        If numbers of it, or a score of the warm-up, are not finite, or it is of another catalogue.
    """
    for name, found in engine.numbers():
        if not np.isfinite(found).all():
            raise BrokenBundle(f"{engine.version}: its {name} are not finite: train it again")
    _require_catalogue(engine, set(acted), least_share)
    engine.warm_up()


def _require_catalogue(engine: Engine, acted: set[str], least_share: float) -> None:
    missing = sorted(acted - engine.item_row.keys())
    if len(acted) - len(missing) < least_share * len(acted):
        raise BrokenBundle(
            f"{engine.version} lists {len(acted) - len(missing)} of {len(acted)} items that were "
            f"acted on, not {', '.join(missing[:_NAMED])}: it is of another catalogue, publish one "
            "of this one or lower serve.acted_share"
        )


def _mb(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"
