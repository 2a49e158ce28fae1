"""HSTU at every cut of the rolling benchmark: trained once each, listed with several mixes.

A cut and its test period are a window; the windows lie one after the other and never overlap.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from benchmarks.common import ROOT
from benchmarks.places import pin, run_alone
from benchmarks.quality import BEFORE, ON_SALE, TRUNK_ALONE, Set, params_of
from tessera.contracts.arrays import Float64s
from tessera.contracts.split import VALIDATION, Split, load_split, save_split
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.training.fit import Task, pose
from tessera.model.training.vector_mix import steady
from tessera.model.trunk.lists import rank_users
from tessera.model.trunk.saved import load_model, save_model
from tessera.platform.pipeline.runner import call
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage, find, stages
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import Workspace


@dataclass(frozen=True, slots=True)
class Window:
    """A cut and how long it is tested."""

    cut: str
    test_days: int
    apart: bool = False
    """Looked at once, after everything else was decided."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the models of a window are asked."""

    window: Window
    until: datetime | None = None
    """End of the test period where it is another than the window's."""
    future: bool = False
    """Rank what is first offered after the cut, too, as the published tables do."""


WINDOWS = (
    Window("2020-07-01", 92),
    Window("2020-10-01", 92),
    # Only what was held on 2021-07-01 tells of this half-year, so its two quarters are one window.
    Window("2021-01-01", 181),
    Window("2021-07-01", 92),
    Window("2021-10-01", 92, apart=True),
)
WEIGHTS = (0.0, 0.2, 0.5, 1.0, 2.0)
"""What profit may count beside what investors would acquire."""
_STAGES = (*BEFORE, "hstu")
_TABLES = ("events", "codes", *Sources.__annotations__)
Mix = dict[str, float]


def set_of(window: Window) -> Set:
    """Return what is ranked: FAR-Trans, what is on sale at the cut."""
    # The weight adds the part and trains nothing else; how much it counts is said when listing.
    hstu = {**TRUNK_ALONE, "profit_weight": max(WEIGHTS)}
    ingest = {"test_days": window.test_days}
    changes = {**ON_SALE, "hstu": hstu, "ingest": ingest}
    return Set("far-trans", "far-trans", window.cut, changes)


def place_of(window: Window) -> Workspace:
    """Folders of a window, with the pins of a profile that never ran."""
    workspace = Workspace(ROOT / "data" / "bench" / f"rolling-{window.cut}", "far-trans")
    workspace.data.mkdir(parents=True, exist_ok=True)
    source = workspace.artifact("source")
    source.unlink(missing_ok=True)
    source.symlink_to(Path(os.environ["TESSERA_DATA"]) / "far-trans")
    pin(workspace, {"version": None, "kind": "none"}, window.cut)
    return workspace


class _Training(Stage):
    """The stage `hstu`, but for what it leaves."""

    @property
    def entry_point(self) -> str:
        return "benchmarks.rolling_models"


def run(
    *, params: HstuParams, split: Path, scratch: Path, model: Path, **given: Any
) -> dict[str, float]:
    """Train on what lies before validation, and again on all that is known; save both."""
    with threads(params.threads):
        sources = Sources(*(given[name] for name in Sources.__annotations__))
        world = read_dataset(sources, split, scratch, params)
        # The refit model has learnt the validation period, so that nothing can be chosen on it.
        task = pose("hstu", world, params)
        judged = task.search(scratch)
        final = task.again(judged, scratch)
        save_model(judged.model, world.catalogue.vocabulary, model / "judged")
        save_model(final.model, world.catalogue.vocabulary, model / "final")
    return {}


def trained(window: Window, seed: int) -> Path:
    """Return the folder with the models of a window and seed, trained if they are not there yet."""
    workspace, params = place_of(window), params_of(set_of(window), seed)
    kept, key = workspace.data / f"models_{seed}", _key(params)
    told = kept / "key.json"
    if told.exists() and files.read_json(told) == key:
        return kept
    for name in BEFORE:
        run_alone(workspace, name, params)
    _train(workspace, params, kept)
    files.write_json(key, told)
    return kept


def _train(workspace: Workspace, params: Sections, kept: Path) -> None:
    hstu = find("hstu", stages("far_trans"))
    assert hstu is not None
    training = _Training(**{part.name: getattr(hstu, part.name) for part in fields(hstu)})
    staging, scratch = (
        workspace.data / ".staging" / "rolling",
        workspace.data / ".scratch" / "rolling",
    )
    for folder in (staging, scratch):  # a checkpoint does not know of which code it is
        files.remove(folder)
    staging.mkdir(parents=True)
    call(training, workspace, params, staging, scratch)
    files.move_into_place(staging / "model", kept)


def _key(params: Sections) -> dict[str, str]:
    """Say on which settings and code a model depends."""
    told = hashlib.sha256()
    for name in _STAGES:
        told.update(params[name].model_dump_json().encode())
    code = {file for stage in _STAGES for file in import_closure(f"tessera.stages.{stage}.stage")}
    for name in sorted(code):
        told.update((SOURCE / name).read_bytes())
    return {"key": told.hexdigest()[:16]}


def settings_of(asked: Asked, seed: int) -> Sections:
    """Return the params of what is asked; those of training are the window's."""
    window = set_of(asked.window)
    changes = {**window.changes, "data": {"future_items": asked.future}}
    return params_of(replace(window, changes=changes), seed)


def split_of(asked: Asked) -> Split:
    """Return the periods of what is asked."""
    split = load_split(place_of(asked.window).artifact("split"))
    return replace(split, test_until=asked.until) if asked.until else split


def world_of(asked: Asked, seed: int) -> tuple[Dataset, HstuParams]:
    """Read what the models of a window are asked about."""
    workspace = place_of(asked.window)
    params = HstuParams(**settings_of(asked, seed)["hstu"].model_dump())
    tables = {name: ibis.read_parquet(workspace.artifact(name)) for name in _TABLES}
    sources = Sources(*(tables[name] for name in Sources.__annotations__))
    scratch = workspace.data / ".scratch" / "listing"
    scratch.mkdir(parents=True, exist_ok=True)
    split = scratch / "split.json"
    save_split(split_of(asked), split)
    return read_dataset(sources, split, scratch, params), params


def mixes_of(asked: Asked, seed: int) -> dict[str, Mix]:
    """Return by name what each closed form counts.

    `hstu` is mixed as the stage does it; `_past` by all validation periods so far, as those of
    earlier cuts lie in the past, too; `_best` by the best mean alone; `_trunk` has no closed form.
    """
    model, _ = load_model(trained(asked.window, seed) / "final")
    choices = list(model.closed_form.choices())
    own_MU = values_of(asked, seed)
    so_far = WINDOWS[: WINDOWS.index(asked.window) + 1]
    past = [values_of(replace(asked, window=one, until=None), seed) for one in so_far]
    return {
        "hstu": choices[steady(choices, [own_MU])],
        "hstu_past": choices[steady(choices, past)],
        "hstu_best": choices[int(np.argmax(own_MU.mean(axis=1)))],
        "hstu_trunk": choices[0],
    }


def values_of(asked: Asked, seed: int) -> Float64s:
    """Return value_MU of every mix on the validation period; kept beside the models."""
    folder = trained(asked.window, seed)
    kept = folder / f"values_{'all' if asked.future else 'on_sale'}.npy"
    if not kept.exists():
        world, params = world_of(asked, seed)
        model, _ = load_model(folder / "judged")
        task = Task(world, params, model.shape, None, world.ask(VALIDATION, params))
        np.save(kept, task.mix_values(model))
    return np.asarray(np.load(kept))


def profit_name(weight: float) -> str:
    """Return what HSTU with this weight on profit is called in the tables."""
    return f"hstu_profit_{weight:g}" if weight else "hstu"


def listed(asked: Asked, seed: int) -> pa.Table:
    """Return the lists of every mix of a window and seed; with profit for a whole window alone."""
    model, _ = load_model(trained(asked.window, seed) / "final")
    world, params = world_of(asked, seed)  # reads what training leaves
    mixes = mixes_of(asked, seed)
    if asked.until is None:
        own = mixes["hstu"]
        mixes |= {profit_name(one): {**own, "profit": one} for one in WEIGHTS if one}
    parts = []
    for name, mix in mixes.items():
        model.closed_form.let(**{"profit": 0.0, **mix})
        parts.append(rank_users(model, world, params, name.removeprefix("hstu")))
    return pa.concat_tables(parts)
