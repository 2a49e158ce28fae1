"""What every figure carries (commit, machine, day), and pieces of a long measurement that last.

A command that takes long asks for its pieces by `each`: what `Kept` holds already is not measured
again, so that a killed command goes on where it was.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tessera.contracts.progress import progress_bar
from tessera.platform.workspace import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KEPT = ROOT / "data" / "bench"
_PR_SET_PDEATHSIG = 1


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "python": platform.python_version(),
    }


def commit() -> str:
    """Revision of the code that was measured, marked if it was changed since."""
    revision = _git("rev-parse", "--short=12", "HEAD")
    changed = _git(
        "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs", ":!dvc.lock"
    )
    return (revision or "unknown") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def asked_seeds(says: str | None) -> list[int]:
    """Return the seeds of a command line that measures official files; it ends where none are."""
    parser = argparse.ArgumentParser(description=says)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given: list[int] = parser.parse_args().seeds
    if not os.environ.get("TESSERA_DATA"):
        parser.error("name the folder with the official files in TESSERA_DATA")
    return given


def write_result(name: str, figures: dict[str, Any]) -> Path:
    """Write figures with machine, commit and day into results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    full = {
        "figures": figures,
        "machine": machine(),
        "commit": commit(),
        "day": datetime.now(UTC).date().isoformat(),
    }
    path.write_text(json.dumps(full, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return path


class Kept:
    """Pieces of one command that outlive a kill, a line each in data/bench/<name>.jsonl.

    They count for the same settings and the same code only: others begin anew.  The code is every
    module of ours that the command has loaded, and the lock, so that a commit which touches none of
    them costs nothing.  A line that a kill tore is measured again.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], folder: Path = KEPT) -> None:
        self._path = folder / f"{name}.jsonl"
        self._key = _digest(json.dumps([name, settings], sort_keys=True).encode(), code().encode())
        self._pieces: dict[str, Any] = {}
        key, pieces = _whole_lines(self._path)
        if key == self._key:
            self._pieces = pieces
        lines = [self._key, *self._pieces.items()]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        files.write_bytes(text.encode(), self._path)

    def __contains__(self, piece: object) -> bool:
        return _name(piece) in self._pieces

    def __getitem__(self, piece: object) -> Any:
        return self._pieces[_name(piece)]

    def __setitem__(self, piece: object, found: Any) -> None:
        """Keep what JSON can hold, as it will come back."""
        line = json.dumps([_name(piece), found])
        with self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._pieces[_name(piece)] = json.loads(line)[1]


def _whole_lines(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Read key and pieces up to the first line that is not whole."""
    pieces: dict[str, Any] = {}
    key = None
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        try:
            told = json.loads(line if line.endswith("\n") else "")
        except ValueError:
            break
        if key is None:
            key = str(told)
        else:
            pieces[told[0]] = told[1]
    return key, pieces


def _name(piece: object) -> str:
    return json.dumps(piece)


def _digest(*texts: bytes) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text).digest())
    return digest.hexdigest()


def code(root: Path = ROOT) -> str:
    """Hash the modules below src/ and benchmarks/ that are loaded, and the lock."""
    loaded = {Path(file) for one in list(sys.modules.values())
              if (file := getattr(one, "__file__", None))}  # fmt: skip
    ours = {path for path in loaded for part in ("src", "benchmarks")
            if path.is_relative_to(root / part)}  # fmt: skip
    lock = root / "requirements.lock"
    return _digest(*(path.read_bytes() for path in [*sorted(ours), lock] if path.exists()))


def each(
    work: Callable[[Any], Any],
    pieces: Sequence[Any],
    what: str,
    kept: Kept | None = None,
    processes: int = 1,
) -> list[Any]:
    """Measure every piece that is not kept yet; return all of them in the order asked.

    Parameters
    ----------
    work : callable
        Measures one piece; of a module, so that a process can import it, and returns what JSON can
        hold.
    pieces : sequence
        What `work` is called with: numbers, strings and tuples of them.
    what : str
        Told beside the progress.
    kept : Kept, optional
        Where pieces outlive a kill.
    processes : int
        How many measure at once; one is this process itself.
    """
    held: Kept | dict[Any, Any] = {} if kept is None else kept
    missing = [one for one in pieces if one not in held]
    with _workers(processes) as over, progress_bar(what, len(pieces)) as bar:
        bar.advance(len(pieces) - len(missing))
        for piece, found in zip(missing, over(work, missing), strict=True):
            held[piece] = found
            bar.advance()
    return [held[one] for one in pieces]


def spans(number: int, size: int) -> list[tuple[int, int]]:
    """Cut 0 .. number - 1 into groups of so many: first of each, and first of the next."""
    return [(begin, min(begin + size, number)) for begin in range(0, number, size)]


def sum_of(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up counts of the same names."""
    return {name: sum(one[name] for one in counts) for name in counts[0]}


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Any]]:
    """Map over processes; in this one if there is one, so that a profiler sees it."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, initializer=_end_with_parent) as pool:
        yield pool.map


def _end_with_parent() -> None:
    """Let no worker outlive a command that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
