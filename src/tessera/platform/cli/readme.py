"""The blocks of the pages that hold facts: stages, tree, picture and tasks, from the code."""

from __future__ import annotations

import ast
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.platform.workspace.catalogue import ALL_STAGES, MARKET, Stage, stages, upstream

_TOP = (
    ("dags/", "Airflow DAGs, derived from the catalogue"),
    ("tasks/", "the verbs that the DAGs speak"),
    ("src/tessera/", "the library: eight rooms, imports run downwards to contracts"),
    ("great_expectations/", "a suite for every table, rendered from the contracts"),
    ("monitoring/", "what is watched, compared with what, and when it is too much"),
    ("profiles/", "small YAML files of overrides, one a pipeline"),
    ("params.yaml", "every value a person may turn"),
    ("dvc.yaml", "the pipeline of the embedded market, rendered from the catalogue"),
    ("tests/", "mirror the source; `laws/` hold conformance suites, `e2e/` whole runs"),
    ("benchmarks/", "commands that measure the figures in docs/benchmarks.md"),
    ("docs/", "guides, glossary, decisions, benchmarks, what did not work"),
)
BLOCKS = {
    "README.md": ("dag",),
    "docs/pipeline.md": ("stages", "tree"),
    "docs/operations.md": ("tasks",),
}
"""Which page holds which marked blocks."""
_RELEASE = (
    "  index -- published if ope says PROMOTE --> registry[(registry)]",
    "  registry --> recommend[tessera recommend]",
    "  registry --> serve[tessera serve]",
    "  serve -. served log .-> ingest",
)
"""What happens behind the last stage: no stage does it, so the catalogue does not tell."""
_PUBLISHED = {"champion": "champion", "ledger_in": "ledger"}
"""Pins that come from the registry, and what they are called in the picture."""
_ROOMS = (
    "contracts",
    "shared",
    "model",
    "model/nn",
    "model/trainer",
    "model/sequences",
    "model/trunk",
    "model/training",
    "model/baselines",
    "offpolicy",
    "bundles",
    "stages",
    "serve",
    "serve/online",
    "serve/retrievers",
    "serve/http",
    "platform",
    "platform/workspace",
    "platform/validation",
    "platform/tracking",
    "platform/release",
    "platform/pipeline",
    "platform/servers",
    "platform/cli",
)
"""What the tree shows below src/tessera/, what is imported before what imports it."""


def with_blocks(page: str, text: str, package: Path) -> str:
    """Return the text of a page of `BLOCKS` with every marked block as the code says.

    Raises
    ------
    TesseraError
        If a block is not marked in the text.
    """
    for name in BLOCKS[page]:
        opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(opening)
        _, ended, after = rest.partition(closing)
        if not (found and ended):
            raise TesseraError(f"{page} has no block <!-- {name} --> ... <!-- /{name} -->")
        text = before + opening + _block(name, package) + closing + after
    return text


def _block(name: str, package: Path) -> str:
    if name == "tree":
        return _tree(package)
    return {"stages": _stages, "dag": _dag, "tasks": _tasks}[name]()


def _tree(package: Path) -> str:
    lines = []
    for name, phrase in _TOP:
        lines.append(f"{name:<22} {phrase}")
        if name == "src/tessera/":
            lines += [_room(package, room) for room in _ROOMS]
    return "```\n" + "\n".join(lines) + "\n```\n"


def _room(package: Path, room: str) -> str:
    above, name = room.count("/"), room.rpartition("/")[2]
    indented = "  " * (above + 1) + name + "/"
    return f"{indented:<22} {_phrase(package / room)}"


def _phrase(folder: Path) -> str:
    """First sentence of the package's docstring, without its full stop."""
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    first = " ".join(doc.split("\n\n")[0].split())
    return first.rstrip(".")


def _stages() -> str:
    rows = [
        f"| `{stage.name}` | {stage.doc} | {', '.join(stage.reads)} | {', '.join(stage.writes)} |"
        for stage in ALL_STAGES
    ]
    return "\n".join(["| stage | does | reads | writes |", "|---|---|---|---|", *rows]) + "\n"


def _dag() -> str:
    among = stages(MARKET)
    return _drawn([*_arrows(among), *_RELEASE, *_pinned(among)])


def _tasks() -> str:
    """Draw the tasks of the Airflow DAG: every stage, and the acts around them."""
    before = {name for stage in ALL_STAGES for name in upstream(stage, ALL_STAGES)}
    first = [stage.name for stage in ALL_STAGES if not upstream(stage, ALL_STAGES)]
    last = [stage.name for stage in ALL_STAGES if stage.name not in before]
    return _drawn(
        [
            f"  run_lock --> snapshot --> {' & '.join(first)}",
            *_arrows(ALL_STAGES),
            f"  {' & '.join(last)} --> publish --> waiting --> ask",
        ]
    )


def _drawn(arrows: list[str]) -> str:
    return "\n".join(["```mermaid", "flowchart LR", *arrows, "```"]) + "\n"


def _arrows(among: tuple[Stage, ...]) -> list[str]:
    before = {stage.name: set(upstream(stage, among)) for stage in among}
    return [
        f"  {name} --> {stage.name}" for stage in among for name in _nearest(stage.name, before)
    ]


def _pinned(among: tuple[Stage, ...]) -> list[str]:
    """Say which stages read what is published."""
    return [
        f"  registry -. {called} .-> "
        + " & ".join(stage.name for stage in among if pin in stage.reads)
        for pin, called in _PUBLISHED.items()
    ]


def _nearest(name: str, before: dict[str, set[str]]) -> list[str]:
    """Return what stands before a stage, without what also stands before another of these."""
    direct = before[name]
    further = {first for second in direct for first in _all_before(second, before)}
    return [stage for stage in before if stage in direct - further]


def _all_before(name: str, before: dict[str, set[str]]) -> set[str]:
    return before[name].union(*(_all_before(first, before) for first in before[name]))
