"""What must lie on the disk before anybody relies on it, and what was written since."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

Mark = tuple[str, int, int, int]
"""Name, inode, size and time of the last change of a file, which nobody can set back."""


def sync_folder(folder: Path) -> None:
    """Force names to the disk: until then only the name of a new file is lost, never its bytes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def marks(paths: Iterable[Path]) -> list[Mark]:
    """Return what tells of each file whether it was written since.

    Raises
    ------
    OSError
        If one of them is gone.
    """
    told = ((path, path.lstat()) for path in sorted(paths))
    return [(str(path), one.st_ino, one.st_size, one.st_ctime_ns) for path, one in told]
