"""A codebook of the last run as a page needs it: tree, map and collisions, with names and words.

Shapes: N items, D vector width, L levels, G level-1 codes, M items drawn on the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.errors import BadInput
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.split import load_split
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.shared.codes.words import FIELDS, TEXT, Words, code_words, rows_terms
from tessera.stages.sid.ledger import read_codebook

NAMED, BRANCHES, WORST = 8, 24, 10
"""Items named at a node, nodes told below one, and collisions told."""
_DRAWN = 1500
_TOLD = {"generation", "items", "quantizer", "levels", "noise", "noise_margin", "flip_rate",
         "collision_rate", "gini_of_codes", "soft_matching"}  # fmt: skip
"""What the page reads of `sid_health.json`; older versions lack some."""


@dataclass(frozen=True, slots=True)
class Node:
    """A beginning of a code."""

    code: str
    items: int
    words: tuple[str, ...]
    names: tuple[str, ...]
    """Of some of its items, where no deeper beginning is told."""
    children: tuple[Node, ...]
    more: int
    """Deeper beginnings that are not told."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A level-1 code on the map."""

    code: int
    x: float
    y: float
    items: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """Codes in the two directions in which they differ most, each between 0 and 1."""

    spots: tuple[Spot, ...]
    item_M2: Float64s
    kept: float
    """Share of what differs that these two directions hold."""


@dataclass(frozen=True, slots=True)
class Book:
    """All that a page says of a codebook."""

    health: Mapping[str, Any]
    codes: Any
    """The table `codes`."""
    levels: int
    counts: tuple[tuple[int, ...], ...]
    """Items of each codeword of a level, the most used first."""
    tree: tuple[Node, ...]
    map: Map
    worst: tuple[tuple[str, int, tuple[str, ...]], ...]
    """Codes that most items share: code, items, some of their names."""


def read_book(workspace: Workspace) -> Book:
    """Read what the last run of `sid` left.

    Raises
    ------
    BadInput
        If it did not run, or its health is of an older version.
    """
    paths = {name: workspace.artifact(name) for name in ("items", "codes", "sid_health", "split")}
    again = f"run `tessera run sid --profile {workspace.profile}`"
    if missing := [path.name for path in paths.values() if not path.exists()]:
        raise BadInput(f"profile {workspace.profile} has no {missing[0]}: {again} or a whole run")
    health = files.read_json(paths["sid_health"])
    if not isinstance(health, dict) or not _TOLD.issubset(health) or not health["levels"]:
        raise BadInput(f"{paths['sid_health'].name} says nothing of noise: {again} again")
    with translate_errors(BadInput, f"the codes of profile {workspace.profile}", f"{again} again"):
        codes = pq.read_table(paths["codes"]).sort_by("item_id")
        columns = ["item_id", "valid_from", *TEXT, *FIELDS]
        items = pq.read_table(paths["items"], columns=columns).sort_by("item_id")
        rows = items.to_pydict()
        listed = codes["item_id"].to_pylist()
    if not listed or rows["item_id"] != listed:
        raise BadInput(f"codes and items are not of one run: {again} again")
    code_NL = np.array(codes["code"].to_pylist(), dtype=np.int64)[:, :-1]
    cut = load_split(paths["split"]).cut
    born = [at for at, day in enumerate(rows["valid_from"]) if day is None or day <= cut]
    terms_N = rows_terms(rows)
    words = code_words([terms_N[at] for at in born], code_NL[born])
    names = [name or item for name, item in zip(rows["name"], rows["item_id"], strict=True)]
    try:
        quantizer = read_codebook(workspace.artifact("codebook")).quantizer
    except BadInput as error:
        raise BadInput(f"the codebook of the last run cannot be read: {again} again") from error
    return Book(
        health,
        codes,
        code_NL.shape[1],
        tuple(_counts(code_N, quantizer.codeword_LKD.shape[1]) for code_N in code_NL.T),
        _tree(code_NL, names, words),
        _map(quantizer.decode(code_NL), code_NL[:, 0], words),
        _worst(code_NL, names),
    )


def _counts(code_N: Ints, size: int) -> tuple[int, ...]:
    return tuple(np.sort(np.bincount(code_N, minlength=size))[::-1].tolist())


def _tree(code_NL: Ints, names: Sequence[str], words: Words) -> tuple[Node, ...]:
    rows = np.arange(len(code_NL))
    return _nodes((), rows, code_NL, names, words)[0]


def _nodes(
    prefix: tuple[int, ...], rows: Ints, code_NL: Ints, names: Sequence[str], words: Words
) -> tuple[tuple[Node, ...], int]:
    """Nodes below a beginning, and how many are left out: below the first level, small ones."""
    depth = len(prefix)
    found, count = np.unique(code_NL[rows, depth], return_counts=True)
    order = np.argsort(-count, kind="stable")[:BRANCHES] if depth else np.arange(len(found))
    nodes = []
    for codeword in found[order].tolist():
        mine = rows[code_NL[rows, depth] == codeword]
        code = (*prefix, codeword)
        deeper: tuple[tuple[Node, ...], int] = ((), 0)
        if depth + 1 < min(code_NL.shape[1], 2) and len(mine) > 1:
            deeper = _nodes(code, mine, code_NL, names, words)
        some = () if deeper[0] else tuple(names[row] for row in mine[:NAMED].tolist())
        said = words.of.get(code, ())
        nodes.append(Node("-".join(map(str, code)), len(mine), said, some, *deeper))
    return tuple(nodes), len(found) - len(order)


def _map(decoded_ND: Float64s, code_N: Ints, words: Words) -> Map:
    """Project onto the two leading directions (PCA), each with its largest entry positive."""
    centred_ND = decoded_ND - decoded_ND.mean(axis=0)
    value_D, vector_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    axis_D2 = vector_DD[:, ::-1][:, :2]
    if axis_D2.shape[1] < 2:
        axis_D2 = np.pad(axis_D2, ((0, 0), (0, 2 - axis_D2.shape[1])))
    largest = np.argmax(np.abs(axis_D2), axis=0)
    axis_D2 = axis_D2 * np.where(axis_D2[largest, [0, 1]] < 0, -1.0, 1.0)
    place_N2 = centred_ND @ axis_D2
    low, high = place_N2.min(axis=0), place_N2.max(axis=0)
    place_N2 = (place_N2 - low) / np.where(high > low, high - low, 1.0)
    found, group_N, count = np.unique(code_N, return_inverse=True, return_counts=True)
    x_G, y_G = (np.bincount(group_N, place_N) / count for place_N in place_N2.T)
    spots = tuple(
        Spot(code, float(x), float(y), items, words.of.get((code,), ()))
        for code, x, y, items in zip(found.tolist(), x_G, y_G, count.tolist(), strict=True)
    )
    step = max(len(place_N2) / _DRAWN, 1.0)
    drawn = (np.arange(min(len(place_N2), _DRAWN)) * step).astype(np.int64)
    kept = float(value_D[::-1][:2].sum() / max(value_D.sum(), 1e-12))
    return Map(spots, np.round(place_N2[drawn], 4), kept)


def _worst(code_NL: Ints, names: Sequence[str]) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    found, group_N, count = np.unique(code_NL, axis=0, return_inverse=True, return_counts=True)
    group_N = group_N.reshape(-1)
    worst = [one for one in np.argsort(-count, kind="stable")[:WORST].tolist() if count[one] > 1]
    return tuple(
        (
            "-".join(map(str, found[one].tolist())),
            int(count[one]),
            tuple(names[row] for row in np.flatnonzero(group_N == one)[:NAMED].tolist()),
        )
        for one in worst
    )
