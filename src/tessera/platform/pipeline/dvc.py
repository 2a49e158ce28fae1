"""Render dvc.yaml from the catalogue, and call dvc: dependencies are computed, never typed.

A stage depends on what it reads, on the packages that its entry point imports, on the suites of
the tables it writes and on its section of params.yaml and of the profile; of section `data`, which
all share, and of another stage's section, on the params that it reads alone.  Packages rather than
files: dvc reads and writes dvc.lock after each stage, and a line a file made that half of what it
costs.  A file beside packages stands for itself: its folder would stand for them too.
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
from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.params import DATA, ROOT, DataParams, owned, read_of_data, seeds_of
from tessera.platform.pipeline import dvc_files
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import PINS, Stage, answers_for, stages
from tessera.platform.workspace.code import import_closure, watched
from tessera.platform.workspace.params import params_type, section_types, source_of
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

HEADER = "# Rendered from src/tessera/platform/workspace/catalogue.py by `make dvc`; do not edit.\n"


def render(workspace: Workspace) -> str:
    """Return the text of a profile's dvc.yaml."""
    base = f"data/{workspace.profile}"
    overridden = read_overrides(workspace)
    pipeline: dict[str, Any] = {"snapshot": _snapshot(workspace, base)}
    chosen = stages(source_of(workspace))
    for stage in chosen:
        pipeline[stage.name] = _stage(stage, workspace, chosen, overridden)
    text = yaml.safe_dump(
        {"stages": pipeline, "plots": _plots(workspace, base)}, sort_keys=False, width=100
    )
    return HEADER + text


def read_overrides(workspace: Workspace) -> set[str]:
    """Sections that the profile overrides, and each param of them, as `data.window_days`."""
    said = files.parse_yaml(workspace.overrides.read_text()) or {}
    sections = {name: params for name, params in said.items() if isinstance(params, dict)}
    return {*said, *(f"{name}.{param}" for name, params in sections.items() for param in params)}


def read_params(stage: Stage, among: tuple[Stage, ...]) -> list[str]:
    """Params that a change of makes a stage run again: its sections whole, else what it reads."""
    sections, types = answers_for(stage, among), section_types()
    kinds = [types[name] for name in sections]
    if stage.reads_params_of:
        kinds = [params_type(stage.name)]
        sections = tuple(f"{stage.section}.{name}" for name in owned(kinds[0]))
    read = {name for kind in kinds for name in read_of_data(kind)}
    shared = [f"{DATA}.{name}" for name in DataParams.model_fields if name in read]
    return [*sections, *shared, *([ROOT] if any(map(seeds_of, kinds)) else [])]


def _common(workspace: Workspace) -> dict[str, Any]:
    return {} if workspace.profile == DEFAULT_PROFILE else {"wdir": "../.."}


def _snapshot(workspace: Workspace, base: str) -> dict[str, Any]:
    outs = [{f"{base}/{ARTIFACTS[name].filename}": {"persist": True}} for name in PINS]
    return {
        "cmd": f"tessera snapshot --profile {workspace.profile}",
        **_common(workspace),
        "outs": outs,
        "always_changed": True,
    }


def _stage(
    stage: Stage, workspace: Workspace, chosen: tuple[Stage, ...], overridden: set[str]
) -> dict[str, Any]:
    base = f"data/{workspace.profile}"
    suites = [
        f"great_expectations/expectations/{name}.json"
        for name in stage.writes
        if ARTIFACTS[name].kind == "table"
    ]
    params: list[Any] = read_params(stage, chosen)
    if mine := [name for name in params if name in overridden]:
        params.append({f"profiles/{workspace.profile}.yaml": mine})
    entry_points = [
        one.entry_point for one in chosen if one is stage or (stage.judges and one.packs)
    ]
    names = {name for one in entry_points for name in import_closure(one)}
    code = sorted({f"src/{watched(name)}" for name in names})
    return {
        "cmd": f"tessera run {stage.name} --profile {workspace.profile}",
        **_common(workspace),
        "desc": stage.doc,
        "deps": [
            *(f"{base}/{ARTIFACTS[n].filename}" for n in stage.needs),
            *code,
            *suites,
            *([stage.spec] if stage.spec else []),
        ],
        **({"params": params} if params else {}),
        "outs": [f"{base}/{ARTIFACTS[name].filename}" for name in stage.writes],
        "metrics": [f"{base}/metrics/{stage.name}.json"],
    }


def _plots(workspace: Workspace, base: str) -> list[dict[str, Any]]:
    """Pictures that `dvc plots` draws; paths are relative to the file that names them."""
    here = base if workspace.profile == DEFAULT_PROFILE else f"../../{base}"
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


def dvc(workspace: Workspace, *arguments: str, extra: dict[str, str] | None = None) -> int:
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
    _say(dvc_files.repair(workspace.root))
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        **(extra or {}),
    }
    words = [str(command), *arguments]
    with translate_errors(TesseraError, "dvc cannot be started", "run `make install`"):
        code = subprocess.run(words, cwd=workspace.root, env=environment, check=False).returncode
    if code and _say(dvc_files.repair_state(workspace.root)):
        code = subprocess.run(words, cwd=workspace.root, env=environment, check=False).returncode
    dvc_files.keep(workspace)
    return code


def _say(mended: list[str]) -> bool:
    for line in mended:
        typer.echo(f"repaired: {line}", err=True)
    return bool(mended)


def target(workspace: Workspace, stage: str | None = None) -> str:
    """Return how dvc names a profile's pipeline, or one stage of it."""
    file = workspace.dvc_yaml.relative_to(workspace.root).as_posix()
    return f"{file}:{stage}" if stage else file
