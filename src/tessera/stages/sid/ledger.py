"""Codes once given stay: a frozen codebook and every code it gave, by generation.

A ledger is a folder: `ledger.json` names the current generation and all before it; each generation
is a folder named by the fingerprint of the params, with the codebook (`config.json`,
`vocabulary.json`, `codebook.safetensors`, and `reference.json` if a block reads factors) and
`entries.parquet`, one row an item, oldest first.  A generation that follows another tells in
`migration.parquet` and `migration.json` what became of its codes.
An item that leaves the catalogue keeps its row, so its code is never given to another.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tessera.contracts.arrow import write_table
from tessera.contracts.errors import BadInput
from tessera.contracts.tables import CODES
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.migration import Codes, migrate, write_migration
from tessera.stages.sid.params import FIRST, LATER, READ_BY, SidParams
from tessera.stages.sid.quantizer import load_quantizer
from tessera.stages.sid.vectors import Space

_INDEX = "ledger.json"
_ENTRIES = "entries.parquet"
_REFERENCE = "reference.json"


@dataclass(frozen=True, slots=True)
class Codebook:
    """What gives a new item its code: the vector space and the quantizer."""

    space: Space
    quantizer: Quantizer


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a ledger folder holds about its current generation; empty on the first run."""

    generations: list[str] = field(default_factory=list)
    codes: Codes = field(default_factory=dict)
    """Codes of the current generation, in the order given."""


def fingerprint(params: SidParams) -> str:
    """Name of the generation that these params belong to.

    Hashed are the fields that the first generations had, and of those added later the ones that
    differ from the value they were born with: a new field changes no code ever given.  What only
    blocks read that are off is left out.

    Raises
    ------
    KeyError
        If a field was added without a line in `LATER`.
    """
    born = {**FIRST, **LATER}
    off = {name for name, weights in READ_BY.items()
           if not any(getattr(params, weight) for weight in weights)}  # fmt: skip
    turned = {name: value for name, value in params.model_dump().items()
              if value != born[name] and name not in off}  # fmt: skip
    text = json.dumps({**FIRST, **turned}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_ledger(folder: Path) -> Ledger:
    """Read the current generation of a ledger; an empty folder is a ledger without any.

    Raises
    ------
    BadInput
        If the folder holds something else than a whole ledger.
    """
    if not (folder / _INDEX).exists():
        return Ledger()
    try:
        generations = json.loads((folder / _INDEX).read_text())["generations"]
        missing = [name for name in generations if not (folder / name).is_dir()]
        if missing:
            raise FileNotFoundError(missing[0])
        return Ledger(generations, read_entries(folder, generations[-1]))
    except (OSError, KeyError, IndexError, ValueError, pa.ArrowException) as error:
        raise _broken(folder, error) from error


def read_entries(folder: Path, generation: str) -> Codes:
    """Read the codes of one generation; none if the ledger does not have it.

    Raises
    ------
    BadInput
        If it has half of it: giving new codes then would break the promise that codes stay.
    """
    path = folder / generation / _ENTRIES
    if not (folder / generation).exists():
        return {}
    try:
        rows = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise _broken(folder, error) from error
    return {item: tuple(code) for item, code in zip(rows["item_id"], rows["code"], strict=True)}


def append(codes: Codes, item_ids: list[str], code_NL: NDArray[np.int64]) -> Codes:
    """Give every item that has none a code: its codewords and the next free suffix.

    New items are taken in the order of their ids, so the order of rows does not matter; suffixes
    are never given twice.
    """
    following: dict[tuple[int, ...], int] = {}
    for *prefix, suffix in codes.values():
        following[tuple(prefix)] = max(following.get(tuple(prefix), 0), suffix + 1)
    given = dict(codes)
    for item, row in sorted(zip(item_ids, code_NL.tolist(), strict=True)):
        if item in given:
            continue
        suffix = following.get(tuple(row), 0)
        given[item] = (*row, suffix)
        following[tuple(row)] = suffix + 1
    return given


def write_ledger(before: Path, after: Path, codebook: Codebook, codes: Codes, name: str) -> None:
    """Write a ledger with one generation made current; all earlier generations are kept."""
    generations = read_ledger(before).generations
    after.mkdir(parents=True, exist_ok=True)
    for generation in generations:
        shutil.copytree(before / generation, after / generation, dirs_exist_ok=True)
    if not (after / name).exists():
        write_codebook(codebook, after / name)
    write_codes(codes, list(codes), after / name / _ENTRIES)
    if generations and name not in generations:
        old = read_entries(before, generations[-1])
        write_migration(migrate(generations[-1], old, codes), after / name)
    order = [generation for generation in generations if generation != name] + [name]
    (after / _INDEX).write_text(json.dumps({"generations": order}, indent=2) + "\n")


def write_codes(codes: Codes, item_ids: list[str], path: Path) -> None:
    """Write the codes of some items as the table `codes`."""
    rows = [codes[item] for item in item_ids]
    columns = {
        "item_id": pa.array(item_ids, pa.string()),
        "code": pa.array(rows, pa.list_(pa.int64())),
        "sid": pa.array(["-".join(map(str, row)) for row in rows], pa.string()),
    }
    write_table(pa.table(columns), CODES, path)


def write_codebook(codebook: Codebook, folder: Path) -> None:
    """Write a codebook as JSON and safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    levels, size, width = codebook.quantizer.codeword_LKD.shape
    config = {"quantizer": codebook.quantizer.name, "levels": levels, "size": size, "width": width}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "vocabulary.json").write_text(
        json.dumps(codebook.space.vocabulary, ensure_ascii=False, indent=0) + "\n"
    )
    if codebook.space.reference:
        (folder / _REFERENCE).write_text(json.dumps(codebook.space.reference, indent=0) + "\n")
    arrays = {f"space.{name}": array for name, array in codebook.space.arrays.items()}
    arrays |= {f"quantizer.{name}": array for name, array in codebook.quantizer.arrays().items()}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())},
        folder / "codebook.safetensors",
    )


def read_codebook(folder: Path) -> Codebook:
    """Read what `write_codebook` wrote.

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """
    try:
        name = json.loads((folder / "config.json").read_text())["quantizer"]
        vocabulary = json.loads((folder / "vocabulary.json").read_text())
        arrays = load_file(folder / "codebook.safetensors")
        factored = "space.factors" in arrays
        reference = json.loads((folder / _REFERENCE).read_text()) if factored else []
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise _broken(folder, error) from error
    parts: dict[str, dict[str, NDArray[np.float64]]] = {"space": {}, "quantizer": {}}
    for key, array in arrays.items():
        part, _, rest = key.partition(".")
        parts[part][rest] = array
    space = Space(vocabulary, parts["space"], reference)
    return Codebook(space, load_quantizer(name, parts["quantizer"]))


def _broken(folder: Path, error: Exception) -> BadInput:
    return BadInput(
        f"code ledger {folder.name} cannot be read ({type(error).__name__}): restore it from the "
        "last published version, or empty it to give every item a new code"
    )
