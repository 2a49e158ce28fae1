"""What each part of the trunk is worth: train again without it, or with it if it is off.

Nothing of the profile changes: every training writes into a folder that is thrown away.  What was
found lies in `data/<profile>/ablation.json`, and what lies there for the same code, params and
inputs is not trained again.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.progress import progress_bar
from tessera.model.params import FeatureGroup, HstuParams
from tessera.platform.pipeline.runner import call
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage, find, stages
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections, check_section, load_params, source_of
from tessera.platform.workspace.paths import Workspace

FILE = "ablation.json"
WHOLE = "everything"
_STAGE = "hstu"
WITH = "with "
"""How the name of a part begins that the params have switched off."""
_FEATURES = "feature: "
ALONE = {"sasrec": False, "two_tower": False, "rankers": False, "session_minutes": 0.0}
"""What is trained and listed beside the trunk says nothing about its parts."""
_SWITCHES: dict[str, dict[str, Any]] = {
    "time bias": {"time_bias": False},
    "position bias": {"position_bias": False},
    "edge bias": {"edge_bias": False},
    "recency": {"recency_scales": 0},
    "item weights": {"item_weights_width": 0},
    "demand": {"demand_days": 0.0},
    "semantic codes": {"use_codes": False},
    "generative head": {"generate": False},
    "ID dropout": {"id_dropout": 0.0},
    "hidden actions": {"mask_weight": 0.0},
    "mean of weights": {"average_epochs": 0.0},
    "ranking loss": {"rank_weight": 0.0},
    "recall loss": {"recall_weight": 0.0},
}
FIGURES = {
    "hstu_validation_ndcg_at_10": "nDCG@10, validation",
    "hstu_validation_auc": "slate AUC, validation",
    "rank_auc_click": "click AUC, after the cut",
    "rank_auc_buy": "buy AUC, after the cut",
}
"""Metrics of the stage that are shown."""


def parts(params: HstuParams) -> dict[str, dict[str, Any]]:
    """Name every part, with the params that switch it off, or on where it is off."""
    found: dict[str, dict[str, Any]] = {
        f"{_FEATURES}{group}": {"features": [other for other in params.features if other != group]}
        for group in params.features
        if params.rank_weight
    }
    if params.rank_weight and params.rank_blocks < params.blocks:
        found["query pruning"] = {"rank_blocks": params.blocks}
    found |= {
        name: off
        for name, off in _SWITCHES.items()
        if any(getattr(params, param) != value for param, value in off.items())
    }
    if params.generate and "semantic codes" in found:
        found["semantic codes"] = {"use_codes": False, "generate": False}  # none to decode
    return found | _additions(params)


def _additions(params: HstuParams) -> dict[str, dict[str, Any]]:
    """Name what is off and takes no number to be on, or one that anybody would try first."""
    found: dict[str, dict[str, Any]] = {
        f"{WITH}{_FEATURES}{group}": {"features": [*params.features, group]}
        for group in get_args(FeatureGroup)
        if params.rank_weight and group not in params.features
    }
    if not params.recency_scales:
        found[f"{WITH}recency"] = {"recency_scales": 3}
    return found | {
        f"{WITH}{name}": dict.fromkeys(off, True)
        for name, off in _SWITCHES.items()
        if all(value is False and not getattr(params, param) for param, value in off.items())
    }


def ablate(workspace: Workspace, only: Sequence[str], seeds: int, epochs: int | None) -> None:
    """Train with everything and without each part, and print the differences; see `compared`."""
    _show(compared(workspace, only, seeds, epochs), workspace)


def compared(
    workspace: Workspace, only: Sequence[str], seeds: int, epochs: int | None
) -> dict[str, list[dict[str, float]]]:
    """Train as the params say, without each part that is on, and with each that is off.

    Parameters
    ----------
    workspace
        A profile that ran.
    only
        Names of `parts`, or beginnings of them; none asks for all.
    seeds
        Trainings of each, with the seeds that follow the params' own.
    epochs
        Instead of `hstu.epochs`.

    Returns
    -------
    dict of list of dict
        `WHOLE` and each part -> one dict of `FIGURES` a seed, empty for a part that these inputs do
        not allow.

    Raises
    ------
    BadParams
        If there is no such part.
    BadInput
        If the profile never ran.
    """
    sections = load_params(workspace)
    base = sections[_STAGE]
    assert isinstance(base, HstuParams)
    changes = {WHOLE: {}, **_chosen(parts(base), only)}
    stage = find(_STAGE, stages(source_of(workspace)))
    assert stage is not None
    if not workspace.artifact("model").exists():
        raise BadInput(
            f"profile {workspace.profile} never ran: `tessera run --profile {workspace.profile}`"
        )
    path, inputs = workspace.data / FILE, _inputs(stage, workspace)
    known: dict[str, Any] = files.read_json(path) if path.exists() else {}
    told: dict[str, list[dict[str, float]]] = {name: [] for name in changes}
    with progress_bar("ablate", len(changes) * seeds) as bar:
        for number in range(seeds):
            for name, change in changes.items():
                bar.note(name)
                more = {"epochs": epochs} if epochs else {}
                own = {**base.model_dump(), **ALONE, **more, **change, "seed": base.seed + number}
                params = check_section(_STAGE, own)
                key = hashlib.sha256((inputs + params.model_dump_json()).encode()).hexdigest()
                found = known.get(key) or _figures(
                    name, stage, workspace, {**sections, _STAGE: params}
                )
                if found and key not in known:
                    known[key] = {"part": name, **found}
                    files.write_json(known, path)
                told[name].append(found)
                bar.advance()
    return told


def _chosen(found: dict[str, Any], only: Sequence[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for asked in only or found:
        names = [name for name in found if _bare(name).startswith(asked)]
        names = [asked] if asked in found else names
        if not names:
            raise BadParams(f"there is no part {asked!r}: choose one of {', '.join(found)}")
        chosen |= {name: found[name] for name in names}
    return chosen


def _bare(name: str) -> str:
    return name.removeprefix(WITH).removeprefix(_FEATURES)


def row_name(part: str) -> str:
    """Say how a training differs from the one of the params."""
    return part if part.startswith(WITH) else f"without {part}"


def _inputs(stage: Stage, workspace: Workspace) -> str:
    """Hash the code of the stage and everything that it reads."""
    digest = hashlib.sha256()
    for name in import_closure(stage.entry_point):
        digest.update((SOURCE / name).read_bytes())
    for name in stage.reads:
        digest.update(files.sha256(workspace.artifact(name)).encode())
    return digest.hexdigest()


def _figures(name: str, stage: Stage, workspace: Workspace, params: Sections) -> dict[str, float]:
    """Train one part; none where these inputs do not allow what is off by default."""
    try:
        metrics = train_aside(stage, workspace, params)
    except BadParams as refused:
        if not name.startswith(WITH):
            raise
        Console(stderr=True).print(f"{name}: {refused}")
        return {}
    return {name: metrics[name] for name in FIGURES if name in metrics}


def train_aside(stage: Stage, workspace: Workspace, params: Sections) -> dict[str, float]:
    """Return the metrics of a training whose files are thrown away."""
    with tempfile.TemporaryDirectory(dir=workspace.data) as aside:
        staging, scratch = Path(aside) / "staging", Path(aside) / "scratch"
        staging.mkdir()
        scratch.mkdir()
        return call(stage, workspace, params, staging, scratch)


def change(told: dict[str, list[dict[str, float]]], part: str, name: str) -> str:
    """Tell how a figure changes; with several seeds, mean and standard deviation."""
    lost = [
        bare[name] - one[name]
        for one, bare in zip(told[WHOLE], told[part], strict=True)
        if name in bare and name in one
    ]
    spread = f" ± {statistics.stdev(lost):.4f}" if len(lost) > 1 else ""
    return f"{statistics.fmean(lost):+.4f}{spread}" if lost else ""


def _show(told: dict[str, list[dict[str, float]]], workspace: Workspace) -> None:
    """Print what is lost without each part, or won with one that is off."""
    whole = told[WHOLE]
    names = [name for name in FIGURES if name in whole[0]]
    table = Table("", *(FIGURES[name] for name in names))
    mean = [f"{statistics.fmean(one[name] for one in whole if name in one):.4f}" for name in names]
    table.add_row(WHOLE, *mean, end_section=True)
    for part in list(told)[1:]:
        table.add_row(row_name(part), *(change(told, part, name) for name in names))
    console = Console()
    console.print(table)
    console.print(
        f"{len(whole)} seed{'s' * (len(whole) > 1)}; a minus without a part is what it is worth. "
        "Validation chose the epoch and the mix of the closed forms, so only later figures are "
        "free of them. "
        f"Kept in {(workspace.data / FILE).relative_to(workspace.root)}"
    )
