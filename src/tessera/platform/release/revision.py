"""Which code a run or an act stood on, as git tells it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_UNTRACKED = (
    "status",
    "--porcelain",
    "--untracked-files=all",
    "--",
    *("params.yaml", "profiles", "src", "monitoring", "great_expectations"),
)
"""Asks git for whatever a run reads and no commit holds."""


def git_revision(root: Path) -> str:
    """Return the revision of the repository, with a mark if it holds uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = _git(root, *command[1:]) or "unknown"
    # `git describe` does not see files that were never added: a profile may be one.
    is_new = not found.endswith("-dirty") and _git(root, *_UNTRACKED)
    return f"{found}-dirty" if is_new else found


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()
