"""How a value travels: which functions are handed it, in how many files, and how often one returns.

A function counts if it is handed the value or something that carries it: a field, a container, a
bound method or a closure out of which the value can be reached.  A method is not handed its own
object again: that was when the object was made.  *Files* are those of these functions.  *Returns*
are functions in a file that one of them had been in before: whoever follows the value comes back to
a file so often, and it is the number of functions less that of files.

Two values of a market of seconds: `events` in the stage `hstu` (the table, and what is made of it:
a query on it or the histories in arrays), and the workspace in publishing.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

import ibis
import yaml
from ibis.expr.operations import DatabaseTable

from benchmarks.common import ROOT
from tessera.model.sequences.histories import Histories
from tessera.platform.pipeline.runner import call, run_stage
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import registry
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import stages
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import Workspace

SOURCE = ROOT / "src" / "tessera"
PAGE = ROOT / "docs" / "pipeline.md"
_BEGIN, _END = "<!-- travel -->", "<!-- /travel -->"
_NAMES = {"events": "`events` in the stage `hstu`", "workspace": "the workspace in publishing"}
_NEEDED = ("params.yaml", "profiles", "great_expectations", "monitoring", "requirements.lock")
_TINY = ROOT / "tests" / "e2e" / "tiny.yaml"
_DEPTH = 6
"""Steps from an argument to the value: a params object or a model is not looked through further."""


@dataclass(slots=True)
class Walk:
    """The functions that were handed a value, in the order of their first call."""

    is_value: Callable[[Any], bool]
    source: Path = SOURCE
    """Folder of the code that counts."""
    seen: dict[CodeType, None] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Return the counts, and the functions of each file."""
        inside: dict[str, list[str]] = {}
        for code in self.seen:
            inside.setdefault(self._file(code), []).append(code.co_qualname)
        entered, files = len(self.seen), len(inside)
        counts = {"functions": entered, "files": files, "returns": entered - files}
        return {**counts, "where": inside}

    def enter(self, frame: FrameType, event: str, _argument: object) -> None:
        """Look at the arguments of a call: what `sys.setprofile` calls."""
        code = frame.f_code
        if event != "call" or code in self.seen or not self._counts(code):
            return
        given = code.co_argcount + code.co_kwonlyargcount
        given += bool(code.co_flags & 4) + bool(code.co_flags & 8)  # *args and **kwargs
        names = [name for name in code.co_varnames[:given] if name not in ("self", "cls")]
        if any(self._carries(frame.f_locals.get(name)) for name in names):
            self.seen[code] = None

    def _counts(self, code: CodeType) -> bool:
        return code.co_filename.startswith(str(self.source)) and not code.co_name.startswith("<")

    def _file(self, code: CodeType) -> str:
        return Path(code.co_filename).relative_to(self.source).as_posix()

    def _carries(self, one: Any, depth: int = _DEPTH) -> bool:
        if self.is_value(one):
            return True
        return depth > 0 and any(self._carries(part, depth - 1) for part in _parts(one))


def _parts(one: Any) -> Iterator[Any]:
    """Yield what can be reached from an object in one step."""
    if isinstance(one, Mapping):
        yield from one.values()
    elif isinstance(one, tuple | list):
        yield from one[:20]  # rows of a table carry nothing that the first do not
    elif isinstance(one, MethodType):
        yield one.__self__
    elif isinstance(one, FunctionType):
        yield from (cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell))
    elif is_dataclass(one):
        yield from (getattr(one, part.name, None) for part in fields(one))
    elif type(one).__module__.startswith("tessera."):
        yield from getattr(one, "__dict__", {}).values()


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


@contextmanager
def followed(is_value: Callable[[Any], bool], source: Path = SOURCE) -> Iterator[Walk]:
    """Follow a value through all that is called inside the block."""
    walk = Walk(is_value, source)
    sys.setprofile(walk.enter)
    try:
        yield walk
    finally:
        sys.setprofile(None)


def is_events(one: Any) -> bool:
    """Tell whether this is the table of events, a query on it, or its rows as histories."""
    if isinstance(one, ibis.Table):
        return any(table.name == "events" for table in one.op().find(DatabaseTable))
    return isinstance(one, Histories)


def is_workspace(one: Any) -> bool:
    """Tell whether this is the workspace."""
    return isinstance(one, Workspace)


@contextmanager
def _tiny_market() -> Iterator[tuple[Workspace, Sections]]:
    """Lay out a market of seconds in a folder of its own, its pins set."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in _NEEDED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, root / name)
        workspace = Workspace(root, "market")
        (root / "profiles" / "market.yaml").write_text(yaml.safe_dump(_settings()))
        snapshot(workspace)
        yield workspace, load_params(workspace)


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(_TINY.read_text())
    return settings


def measure() -> dict[str, Any]:
    """Run the pipeline once, follow both values, return what was counted of each."""
    figures = {}
    with _tiny_market() as (workspace, params):
        for stage in stages("market"):
            if stage.name == "hstu":
                with tempfile.TemporaryDirectory() as aside, followed(is_events) as walk:
                    call(stage, workspace, params, Path(aside))
                figures["events"] = walk.figures()
            run_stage(stage, workspace, params)
        with followed(is_workspace) as walk:
            registry.publish(workspace, "to see how publishing goes", "a benchmark")
        figures["workspace"] = walk.figures()
    return figures


def main() -> None:
    """Measure both, print where they go, and write the table into docs/pipeline.md."""
    figures = measure()
    print(json.dumps(figures, indent=2))
    page = PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    files.write_bytes((before + told(figures) + rest.partition(_END)[2]).encode(), PAGE)


def told(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the block of the page: a row a value."""
    rows = [
        f"| {_NAMES[name]} | {one['functions']} | {one['files']} | {one['returns']} |"
        for name, one in figures.items()
    ]
    head = ["| value | functions | files | returns |", "|---|---|---|---|"]
    return "\n".join([_BEGIN, *head, *rows, _END])


if __name__ == "__main__":
    main()
