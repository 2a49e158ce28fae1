"""HSTU at every cut of the rolling benchmark: trained once each, listed with several mixes.

A cut and its test period are a window; the windows lie one after the other and never overlap.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from benchmarks.common import ROOT
from benchmarks.places import pin, run_alone
from benchmarks.quality import BEFORE, ON_SALE, TRUNK_ALONE, Set, params_of
from tessera.hstu.fit import again, pose, search, threads
from tessera.hstu.logged import Sources
from tessera.hstu.mixing import mix_values
from tessera.hstu.outputs import rank_test_users
from tessera.hstu.params import HstuParams
from tessera.hstu.saved import load_model, save_model
from tessera.hstu.stage import read_world
from tessera.hstu.world import World
from tessera.pipeline import files
from tessera.pipeline.catalogue import Stage, find, stages
from tessera.pipeline.dvc import SOURCE, import_closure
from tessera.pipeline.params import Sections
from tessera.pipeline.paths import Home
from tessera.pipeline.runner import call


@dataclass(frozen=True, slots=True)
class Window:
    """A cut and how long it is tested."""

    cut: str
    test_days: int
    apart: bool = False
    """Looked at once, after everything else was decided."""


WINDOWS = (
    Window("2020-07-01", 92),
    Window("2020-10-01", 92),
    # Only what was held on 2021-07-01 tells of this half-year, so its two quarters are one window.
    Window("2021-01-01", 181),
    Window("2021-07-01", 92),
    Window("2021-10-01", 92, apart=True),
)
_STAGES = (*BEFORE, "hstu")
_TABLES = ("events", "codes", *Sources.__annotations__)
Mix = dict[str, float]


def set_of(window: Window) -> Set:
    """Return what is ranked: FAR-Trans, what is on sale at the cut."""
    hstu = {**TRUNK_ALONE, **ON_SALE["hstu"]}
    ingest = {"test_days": window.test_days}
    changes = {**ON_SALE, "hstu": hstu, "ingest": ingest}
    return Set("far-trans", "far-trans", window.cut, changes)


def place_of(window: Window) -> Home:
    """Folders of a window, with the pins of a profile that never ran."""
    place = Home(ROOT / "data" / "bench" / f"rolling-{window.cut}", "far-trans")
    place.data.mkdir(parents=True, exist_ok=True)
    source = place.artifact("source")
    source.unlink(missing_ok=True)
    source.symlink_to(Path(os.environ["TESSERA_DATA"]) / "far-trans")
    pin(place, {"version": None, "kind": "none"}, window.cut)
    return place


class _Training(Stage):
    """The stage `hstu`, but for what it leaves."""

    @property
    def door(self) -> str:
        return "benchmarks.rolling_models"


def run(
    *, params: HstuParams, split: Path, scratch: Path, model: Path, **given: Any
) -> dict[str, float]:
    """Train on what lies before validation, and again on all that is known; save both.

    Returns
    -------
    dict of str to float
        What each mix is worth on the validation period, by its parts.
    """
    with threads(params.threads):
        sources = Sources(*(given[name] for name in Sources.__annotations__))
        world = read_world(given["events"], given["codes"], split, sources, scratch, params)
        # The refit model has learnt the validation period, so that nothing can be chosen on it.
        task = pose("hstu", world, params)
        judged = search(task, params, scratch)
        values = mix_values(judged.model, world, params)
        final = again(task, judged, params, scratch)
        save_model(judged.model, world.catalogue.vocabulary, model / "judged")
        save_model(final.model, world.catalogue.vocabulary, model / "final")
    return {str(number): value for number, value in enumerate(values)}


def trained(window: Window, seed: int) -> Path:
    """Return the folder with the models of a window and seed, trained if they are not there yet."""
    place, params = place_of(window), params_of(set_of(window), seed)
    kept, key = place.data / f"models_{seed}", _key(params)
    told = kept / "key.json"
    if told.exists() and files.read_json(told) == key:
        return kept
    for name in BEFORE:
        run_alone(place, name, params)
    values = _train(place, params, kept)
    np.save(kept / "values.npy", np.array(list(values.values())))
    files.write_json(key, told)
    return kept


def _train(place: Home, params: Sections, kept: Path) -> dict[str, float]:
    hstu = find("hstu", stages("far_trans"))
    assert hstu is not None
    training = _Training(**{part.name: getattr(hstu, part.name) for part in fields(hstu)})
    staging, scratch = place.data / ".staging" / "rolling", place.data / ".scratch" / "rolling"
    for folder in (staging, scratch):  # a checkpoint does not know of which code it is
        files.remove(folder)
    staging.mkdir(parents=True)
    values = call(training, place, params, staging, scratch)
    files.move_into_place(staging / "model", kept)
    return values


def _key(params: Sections) -> dict[str, str]:
    """Say on which settings and code a model depends."""
    told = hashlib.sha256()
    for name in _STAGES:
        told.update(params[name].model_dump_json().encode())
    code = {file for stage in _STAGES for file in import_closure(f"tessera.{stage}.stage")}
    for name in sorted(code):
        told.update((SOURCE / name).read_bytes())
    return {"key": told.hexdigest()[:16]}


def world_of(window: Window, seed: int) -> tuple[World, HstuParams]:
    """Read what the models of a window are asked about."""
    place, sections = place_of(window), params_of(set_of(window), seed)
    params = HstuParams(**sections["hstu"].model_dump())
    tables = {name: ibis.read_parquet(place.artifact(name)) for name in _TABLES}
    sources = Sources(*(tables[name] for name in Sources.__annotations__))
    scratch = place.data / ".scratch" / "listing"
    split = place.artifact("split")
    return read_world(tables["events"], tables["codes"], split, sources, scratch, params), params


def mixes_of(window: Window, seed: int) -> dict[str, Mix]:
    """Return by name what each closed form counts: by one validation period, and by all so far.

    A validation period before an earlier cut lies in the past of this one, too.
    """
    until = WINDOWS.index(window) + 1
    value_WM = np.stack([np.load(trained(one, seed) / "values.npy") for one in WINDOWS[:until]])
    model, _ = load_model(trained(window, seed) / "final")
    choices = list(model.closed_form.choices())
    best = {"hstu": value_WM[-1], "hstu_past": value_WM.mean(axis=0)}
    return {name: choices[int(np.argmax(value_M))] for name, value_M in best.items()}


def listed(window: Window, seed: int) -> pa.Table:
    """Return the lists of every mix of a window and seed."""
    (world, params), folder = world_of(window, seed), trained(window, seed)
    model, _ = load_model(folder / "final")
    parts = []
    for name, mix in mixes_of(window, seed).items():
        model.closed_form.let(**mix)
        parts.append(rank_test_users(model, world, params, name.removeprefix("hstu")))
    return pa.concat_tables(parts)
