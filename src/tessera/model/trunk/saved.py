"""A trained model as files that anybody can check: weights, shape, vocabulary and what it costs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import first_line
from tessera.model.nn.plugs import KINDS, read, written
from tessera.model.trunk.flops import one_trunk_flops
from tessera.model.trunk.model import SequenceModel, Shape

CANDIDATES = 200
"""What a request ranks: when served, in cost.json, and where its time is measured."""

_LARGE = 1 << 20
"""Bytes from which on it pays to leave weights where they are."""


def save_model(model: SequenceModel, vocabulary: list[str], folder: Path) -> None:
    """Write model.safetensors, config.json, items.json and cost.json; row r + 1 is items[r].

    The cost is that of a request with the longest history, for who may not open a model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_config(model.shape), indent=2) + "\n")
    (folder / "items.json").write_text(json.dumps(vocabulary) + "\n")
    operations = one_trunk_flops(model.shape, model.shape.length, CANDIDATES)
    cost = {"mflops_per_request": operations / 1e6, "candidates": CANDIDATES}
    (folder / "cost.json").write_text(json.dumps(cost) + "\n")


def load_model(folder: Path, *, mapped: bool = False) -> tuple[SequenceModel, list[str]]:
    """Read what `save_model` wrote.

    Parameters
    ----------
    folder : Path
        Where it lies.
    mapped : bool
        Weights stay in the file, which all processes share; for whoever never trains them.

    Raises
    ------
    BrokenBundle
        If a file is missing or does not fit the others.
    """
    try:
        raw = json.loads((folder / "config.json").read_text())
        vocabulary: list[str] = json.loads((folder / "items.json").read_text())
        weights = load_file(folder / "model.safetensors")
        lists = {name: tuple(value) for name, value in raw.items() if isinstance(value, list)}
        chosen = {kind: read(kind, raw[kind]) for kind in KINDS if kind in raw}
        shape = Shape(**{**raw, **lists, **chosen, "feature_groups": _groups(raw)})
        buffers = [weights[name].clone() for name in ("codes_VC", "warm_V", *_edges(shape))]
        model = SequenceModel(shape, *buffers)
        model.load_state_dict(_laid(weights) if mapped else weights, assign=mapped)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BrokenBundle(
            f"{folder} is no sequence model ({first_line(error)}); publish it again"
        ) from error
    return model.eval(), vocabulary


def _config(shape: Shape) -> dict[str, Any]:
    """Return what config.json holds; a component that nobody chose is not named, as ever."""
    chosen = {kind: getattr(shape, kind) for kind in KINDS}
    plain = {name: value for name, value in asdict(shape).items() if name not in KINDS}
    parts = {kind: written(kind, part) for kind, part in chosen.items() if part is not None}
    return plain | parts


def _groups(raw: dict[str, Any]) -> tuple[str, ...]:
    """Return the groups of features; causal edges once were part of the graph's."""
    groups = tuple(raw.get("feature_groups", ()))
    if "causal" not in groups and "causal_best" in raw.get("features", ()):
        return (*groups, "causal")
    return groups


def _edges(shape: Shape) -> tuple[str, ...]:
    return ("edge_VV",) if shape.edge_bias else ()


def _laid(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy what is small: how a sum of it rounds depends on where it begins in memory."""
    return {name: one if one.nbytes >= _LARGE else one.clone() for name, one in weights.items()}


def load_champion(bundle: Path) -> tuple[SequenceModel, list[str]] | None:
    """Return the champion's model and vocabulary; None if the champion is no model.

    Raises
    ------
    BrokenBundle
        If the bundle does not say what the champion is, or its model cannot be read.
    """
    try:
        kind = json.loads((bundle / "champion.json").read_text())["kind"]
    except (OSError, KeyError, ValueError) as error:
        raise BrokenBundle(f"{bundle} has no readable champion.json; publish it again") from error
    return load_model(bundle / "model") if kind == "model" else None
