"""Render dvc.yaml from the catalogue, and call dvc: dependencies are computed, never typed.

A stage depends on what it reads, on the packages that its door imports, on the suites of the tables
it writes and on its section of params.yaml and of the profile.  Packages rather than files: dvc
reads and writes dvc.lock after each stage, and a line a file made that half of what it costs.
A file beside packages stands for itself: its folder would stand for them too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
import yaml

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.doors import door
from tessera.contracts.errors import TesseraError
from tessera.platform.pipeline import dvc_files
from tessera.platform.workspace.catalogue import PINS, Stage, answers_for, stages
from tessera.platform.workspace.code import import_closure, watched
from tessera.platform.workspace.params import source_of
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

HEADER = "# Rendered from src/tessera/platform/workspace/catalogue.py by `make dvc`; do not edit.\n"


def render(place: Workspace) -> str:
    """Return the text of a profile's dvc.yaml."""
    base = f"data/{place.profile}"
    overridden = read_overrides(place)
    pipeline: dict[str, Any] = {"snapshot": _snapshot(place, base)}
    chosen = stages(source_of(place))
    for stage in chosen:
        pipeline[stage.name] = _stage(stage, place, base, overridden)
    text = yaml.safe_dump(
        {"stages": pipeline, "plots": _plots(place, base)}, sort_keys=False, width=100
    )
    return HEADER + text


def read_overrides(place: Workspace) -> set[str]:
    """Sections that the profile overrides."""
    return set(yaml.safe_load(place.overrides.read_text()) or {})


def _common(place: Workspace) -> dict[str, Any]:
    return {} if place.profile == DEFAULT_PROFILE else {"wdir": "../.."}


def _snapshot(place: Workspace, base: str) -> dict[str, Any]:
    outs = [{f"{base}/{ARTIFACTS[name].filename}": {"persist": True}} for name in PINS]
    return {
        "cmd": f"tessera snapshot --profile {place.profile}",
        **_common(place),
        "outs": outs,
        "always_changed": True,
    }


def _stage(stage: Stage, place: Workspace, base: str, overridden: set[str]) -> dict[str, Any]:
    suites = [
        f"great_expectations/expectations/{name}.json"
        for name in stage.writes
        if ARTIFACTS[name].kind == "table"
    ]
    chosen = stages(source_of(place))
    sections = answers_for(stage, chosen)
    params: list[Any] = list(sections)
    if mine := [name for name in sections if name in overridden]:
        params.append({f"profiles/{place.profile}.yaml": mine})
    doors = [one.door for one in chosen if one is stage or (stage.judges and one.packs)]
    names = {name for door in doors for name in import_closure(door)}
    code = sorted({f"src/{watched(name)}" for name in names})
    return {
        "cmd": f"tessera run {stage.name} --profile {place.profile}",
        **_common(place),
        "desc": stage.doc,
        "deps": [
            *(f"{base}/{ARTIFACTS[n].filename}" for n in stage.needs),
            *code,
            *suites,
            *([stage.spec] if stage.spec else []),
        ],
        "params": params,
        "outs": [f"{base}/{ARTIFACTS[name].filename}" for name in stage.writes],
        "metrics": [f"{base}/metrics/{stage.name}.json"],
    }


def _plots(place: Workspace, base: str) -> list[dict[str, Any]]:
    """Pictures that `dvc plots` draws; paths are relative to the file that names them."""
    here = base if place.profile == DEFAULT_PROFILE else f"../../{base}"
    training = [f"{here}/training/hstu.csv", f"{here}/baseline_training/sasrec.csv"]
    validation = {
        "x": "epoch",
        "y": dict.fromkeys(training, "validation_ndcg_at_10"),
        "title": "Validation NDCG@10 by epoch",
    }
    return [
        {"validation": validation},
        {f"{here}/curves/ranking.png": None},
        {f"{here}/curves/slices.csv": {"x": "slice", "y": "ndcg_10"}},
    ]


def dvc(place: Workspace, *arguments: str, extra: dict[str, str] | None = None) -> int:
    """Call dvc in the repository with this environment's commands on the path; return its code.

    What a killed dvc left torn is mended first, and told.

    Raises
    ------
    TesseraError
        If dvc is not installed beside this Python.
    """
    command = Path(sys.executable).parent / "dvc"
    if not command.exists():
        raise TesseraError("dvc is not installed in this environment: run `make install`")
    _say(dvc_files.repair(place.root))
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        **(extra or {}),
    }
    words = [str(command), *arguments]
    with door(TesseraError, "dvc cannot be started", "run `make install`"):
        code = subprocess.run(words, cwd=place.root, env=environment, check=False).returncode
    if code and _say(dvc_files.repair_state(place.root)):
        code = subprocess.run(words, cwd=place.root, env=environment, check=False).returncode
    dvc_files.keep(place)
    return code


def _say(mended: list[str]) -> bool:
    for line in mended:
        typer.echo(f"repaired: {line}", err=True)
    return bool(mended)


def target(place: Workspace, stage: str | None = None) -> str:
    """Return how dvc names a profile's pipeline, or one stage of it."""
    file = place.dvc_yaml.relative_to(place.root).as_posix()
    return f"{file}:{stage}" if stage else file
