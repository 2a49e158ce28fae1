"""Trunks of FAR-Trans without codes and with them, each trained once.

A training is kept while its settings and the code that it depends on stand, so that another way to
list by it trains nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import ibis

from benchmarks.places import run_alone
from benchmarks.quality import BEFORE, ON_SALE, Set, params_of, place_of
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.training.fit import Task, pose
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.saved import load_model, save_model
from tessera.platform.pipeline.ablate import ALONE
from tessera.platform.workspace import files
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import Workspace

OFF, SUM, HALF = "off", "sum", "half"
_TOPOLOGY = {"neighbourhood_weight": 0.0, "topology_weight": 0.0, "content_weight": 0.3,
             "structure_weight": 0.3, "near_behaviour_weight": 1.0}  # fmt: skip
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    OFF: {},
    SUM: {"hstu": {"use_codes": True}},
    "whole": {"hstu": {"use_codes": True, "id_dropout": 0.0}},
    HALF: {"hstu": {"use_codes": True, "id_dropout": 0.5}},
    "shrink": {"hstu": {"use_codes": True, "item_input": "weighed", "own_share": "shrink"}},
    "topology": {"hstu": {"use_codes": True}, "sid": _TOPOLOGY},
}
"""Trainings: without codes, with their sum, and ways to let codes say less or other things."""
CUTS = {"2020-07-01": tuple(WAYS), "2021-07-01": tuple(WAYS), "2021-01-01": (OFF, HALF)}
"""Ways at each cut.  The last one was looked at after the others: whether what led in the test
period at the second, although validation saw no lead, does so again."""
TEST_DAYS = {"2021-01-01": 181}
"""Where it is not the half-year of the published table; only one day in it tells of it."""
JUDGED, FINAL = "judged", "final"
_STAGES = (*BEFORE, "hstu")
_TABLES = ("events", *Sources.__annotations__)


def set_of(cut: str, way: str) -> Set:
    """Return what is ranked: what is on sale at the cut, by a trunk alone."""
    changes = {**ON_SALE, **WAYS[way]}
    changes["hstu"] = {**ALONE, **changes.get("hstu", {})}
    if cut in TEST_DAYS:
        changes["ingest"] = {"test_days": TEST_DAYS[cut]}
    return Set("far-trans", "far-trans", cut, changes)


def workspace_of(cut: str, way: str) -> Workspace:
    """Folders of a cut; codes of other blocks have others."""
    other = f"-{way}" if "sid" in WAYS[way] else ""
    return place_of(f"crowding-{cut}{other}", set_of(cut, way))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trunk that validation may judge, and the one that learnt validation too."""

    task: Task
    judged: SequenceModel
    final: SequenceModel

    @classmethod
    def of(cls, cut: str, way: str, seed: int) -> Self:
        """Train both, if they are not there yet."""
        workspace, params = workspace_of(cut, way), params_of(set_of(cut, way), seed)
        _prepare(workspace, params)
        kept, key = workspace.data / f"models-{way}-{seed}", _key(params)
        hstu = HstuParams(**params["hstu"].model_dump())
        with threads(hstu.threads):
            task = _pose(workspace, hstu)
            told = kept / "key.json"
            if not told.exists() or files.read_json(told) != key:
                _train(task, kept)
                files.write_json(key, told)
        return cls(task, *(load_model(kept / name)[0] for name in (JUDGED, FINAL)))


def _prepare(workspace: Workspace, params: Sections) -> None:
    """Run the stages before training, once for all seeds."""
    told, key = workspace.data / "before.json", _key(params, BEFORE)
    if told.exists() and files.read_json(told) == key:
        return
    for name in BEFORE:
        run_alone(workspace, name, params)
    files.write_json(key, told)


def _key(params: Sections, stages: tuple[str, ...] = _STAGES) -> dict[str, str]:
    told = hashlib.sha256()
    for name in stages:
        told.update(params[name].model_dump_json().encode())
    code = {file for one in stages for file in import_closure(f"tessera.stages.{one}.stage")}
    for name in sorted(code):
        told.update((SOURCE / name).read_bytes())
    return {"key": told.hexdigest()[:16]}


def _pose(workspace: Workspace, params: HstuParams) -> Task:
    tables = {name: ibis.read_parquet(workspace.artifact(name)) for name in _TABLES}
    sources = Sources(*(tables[name] for name in Sources.__annotations__))
    scratch = workspace.data / ".scratch" / "crowding"
    world = read_dataset(sources, workspace.artifact("split"), scratch, params)
    return pose("hstu", world, params)


def _train(task: Task, kept: Path) -> None:
    vocabulary = task.dataset.catalogue.vocabulary
    judged = task.mixed(task.search(None))
    save_model(judged.model, vocabulary, kept / JUDGED)
    save_model(task.again(judged, None).model, vocabulary, kept / FINAL)
