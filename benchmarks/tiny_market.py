"""A clone of this repository whose market is that of the tests: it runs in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import ROOT
from tessera.platform.pipeline.forkserver import one_thread

_BIN = Path(sys.executable).parent
_TINY = """
import sys
from pathlib import Path
import yaml
from tessera.platform.cli.render import render_all
from tessera.platform.release.acts import move_floors
from tessera.platform.release.overrides import Override
from tessera.platform.workspace.paths import open_workspace
root = Path.cwd()
tiny = yaml.safe_load((root / "tests" / "e2e" / "tiny.yaml").read_text())
(root / "profiles" / "market.yaml").write_text(yaml.safe_dump(tiny))
render_all(root)
looser = [f"{name}={tiny['ope'][name]}" for name in ("min_ess", "permutations")]
move_floors(open_workspace("market"), looser, Override("a market of seconds", "a benchmark"))
"""


def environment(root: Path) -> dict[str, str]:
    """Return what a command in the clone is told: its own sources, one thread."""
    path = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
    sources = f"{root / 'src'}{os.pathsep}{root}"
    mine = {"PATH": path, "PYTHONPATH": sources, "TESSERA_ROOT": str(root)}
    return {**os.environ, **one_thread(), **mine, "DVC_NO_ANALYTICS": "1"}


def clone(root: Path) -> None:
    """Clone what is committed here, and commit the tiny market there."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    subprocess.run([sys.executable, "-c", _TINY], cwd=root, env=environment(root), check=True)
    author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    words = ["git", *author, "commit", "-q", "-a", "-m", "a market of seconds"]
    subprocess.run(words, cwd=root, check=True)
