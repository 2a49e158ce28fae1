"""Catalogues that codes are measured on: a small market, one with planted communities, Beauty.

Shapes: N items, D vector width.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa

from benchmarks.common import ROOT
from benchmarks.generate import MARKET
from benchmarks.places import pin, run_alone, turned
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.split import Split, load_split
from tessera.platform.workspace import files
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.history import read_history
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import fit_quantizer
from tessera.stages.sid.vectors import (
    NEIGHBOUR_KINDS,
    Catalogue,
    Space,
    coarse_columns,
    fit_space,
    read_catalogue,
    vectorise,
)

_TABLES = ("items", "nodes", "edges", "events", "prices")


@dataclass(frozen=True, slots=True)
class World:
    """What `sid` reads of a catalogue, and what is planted in it."""

    tables: dict[str, pa.Table]
    split: Split
    community_N: Ints | None
    """Of each item, sorted by id; None where none are planted."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Codes of a whole catalogue."""

    catalogue: Catalogue
    space: Space
    vector_ND: Float64s
    quantizer: Quantizer
    code_NL: Ints


def market(seed: int, communities: int) -> World:
    """Draw a small market and run the stages up to the graph; drawn once, then read."""
    workspace = Workspace(
        ROOT / "data" / "bench" / f"sid-market-{communities}-{seed}", DEFAULT_PROFILE
    )
    if not workspace.artifact("nodes").exists():
        synth = {**MARKET, "communities": communities, "seed": seed}
        _run(workspace, {"synth": synth}, ("synth", "ingest", "causal", "graph"))
    planted = workspace.artifact("source") / "truth" / "item_community.npy"
    return _read(workspace, np.load(planted) if planted.exists() else None)


def beauty() -> World:
    """Read Amazon Beauty of the official files in TESSERA_DATA, and build its graph."""
    workspace = Workspace(ROOT / "data" / "bench" / "sid-beauty", "amazon")
    if not workspace.artifact("nodes").exists():
        source = Path(os.environ["TESSERA_DATA"]) / "amazon-2014-5core"
        _run(workspace, {}, ("ingest", "causal", "graph"), source)
    return _read(workspace, None)


def _run(
    workspace: Workspace,
    changes: dict[str, Any],
    stages: tuple[str, ...],
    source: Path | None = None,
) -> None:
    files.remove(workspace.root)
    workspace.data.mkdir(parents=True)
    if source is not None:
        workspace.artifact("source").symlink_to(source)
    pin(workspace, {"version": None, "kind": "none"})
    params = turned(load_params(open_workspace(workspace.profile, ROOT)), changes)
    for name in stages:
        run_alone(workspace, name, params)


def _read(workspace: Workspace, community_I: Ints | None) -> World:
    tables = {name: ibis.read_parquet(workspace.artifact(name)).to_pyarrow() for name in _TABLES}
    item_ids = sorted(tables["items"]["item_id"].to_pylist())
    own_N = None
    if community_I is not None:
        own_N = community_I[[int(item[1:]) for item in item_ids]]
    return World(tables, load_split(workspace.artifact("split")), own_N)


def coded(world: World, params: SidParams) -> Coded:
    """Give every item of a catalogue a code."""
    tables = {name: ibis.memtable(table) for name, table in world.tables.items()}
    item_ids = sorted(world.tables["items"]["item_id"].to_pylist())
    history = read_history(tables["events"], tables["prices"], item_ids, world.split, params)
    catalogue = read_catalogue(tables["items"], tables["nodes"], tables["edges"], history)
    space = fit_space(catalogue, params)
    vector_ND = vectorise(catalogue, space, params)
    seen = catalogue.neighbour_NN, coarse_columns(space, params)
    quantizer = fit_quantizer(vector_ND, params, *seen)
    return Coded(catalogue, space, vector_ND, quantizer, quantizer.encode(vector_ND))


def shuffled(world: World, rng: np.random.Generator) -> World:
    """Let every edge between items lead to another's target: as many edges, no structure."""
    edges = world.tables["edges"]
    kind = edges["kind"].to_numpy(zero_copy_only=False)
    target = edges["target_id"].to_numpy(zero_copy_only=False).copy()
    between = np.flatnonzero(np.isin(kind, NEIGHBOUR_KINDS))
    target[between] = target[rng.permutation(between)]
    at = edges.schema.get_field_index("target_id")
    mixed = edges.set_column(at, edges.schema.field(at), pa.array(target, pa.string()))
    return World({**world.tables, "edges": mixed}, world.split, world.community_N)
