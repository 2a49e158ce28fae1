"""Codes once given stay: a frozen codebook and every code it gave, by generation.

A ledger is a folder: `ledger.json` names the current generation and all before it, with the SHA-256
of each of their files; each generation is a folder named by the fingerprint of the params, with the
codebook (`config.json`, `vocabulary.json`, `codebook.safetensors`, and `reference.json` if a block
reads factors) and `entries.parquet`, one row an item, oldest first.  A generation that follows
another tells in `migration.parquet` and `migration.json` what became of its codes.
An item that leaves the catalogue keeps its row, so its code is never given to another.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection
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
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import CODES
from tessera.stages.sid.codebooks import Quantizer
from tessera.stages.sid.migration import Codes, migrate, write_migration
from tessera.stages.sid.params import FIRST, LATER, READ_BY, SidParams
from tessera.stages.sid.quantizer import load_quantizer
from tessera.stages.sid.vectors import Space

_INDEX = "ledger.json"
_SUMS = "sha256"
_ENTRIES = "entries.parquet"
_CONFIG = "config.json"
_REFERENCE = "reference.json"
_SHAPE = ("levels", "size", "width")
_NOTHING = "empty.json"
"""What a folder holds that says it is empty on purpose."""
_DAMAGE = (OSError, KeyError, IndexError, TypeError, AttributeError, ValueError, pa.ArrowException,
           SafetensorError)  # fmt: skip
"""What reading a damaged file may raise."""


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
    if not folder.exists() or {path.name for path in folder.iterdir()} <= {_NOTHING}:
        return Ledger()
    try:
        told = json.loads((folder / _INDEX).read_text())
        generations = told["generations"]
        missing = [name for name in generations if not (folder / name).is_dir()]
        if missing:
            raise FileNotFoundError(missing[0])
        if len(set(generations)) != len(generations):
            raise ValueError("a generation that is named twice")
        _check_files(folder, told.get(_SUMS, {}))
        return Ledger(generations, read_entries(folder, generations[-1]))
    except _DAMAGE as error:
        raise _broken(folder, error) from error


def _check_files(folder: Path, sums: dict[str, dict[str, str]]) -> None:
    """Compare files with what was written; ledgers of earlier versions do not tell."""
    for name, files in sums.items():
        for file, told in files.items():
            if sha256(folder / name / file) != told:
                raise ValueError(f"{name}/{file} is not what was written")


def read_entries(folder: Path, generation: str) -> Codes:
    """Read the codes of one generation; none if the ledger does not have it.

    Raises
    ------
    BadInput
        If it has half of it, or codes that it cannot have given: new codes beside such would break
        the promise that codes stay.
    """
    path = folder / generation / _ENTRIES
    if not (folder / generation).exists():
        return {}
    try:
        rows = pq.read_table(path).to_pydict()
        codes = [tuple(code) for code in rows["code"]]
        told = json.loads((folder / generation / _CONFIG).read_text())
        _check_codes(codes, rows["item_id"], told["levels"], told["size"])
    except _DAMAGE as error:
        raise _broken(folder, error) from error
    return dict(zip(rows["item_id"], codes, strict=True))


def _check_codes(codes: list[tuple[int, ...]], item_ids: list[str], levels: int, size: int) -> None:
    if len(set(item_ids)) != len(item_ids) or None in item_ids:
        raise ValueError("an item without a name, or with two codes")
    if len(set(codes)) != len(codes):
        raise ValueError("two items with one code")
    code_NL = np.array(codes, dtype=np.int64).reshape(len(codes), levels + 1)
    if (code_NL < 0).any() or (code_NL[:, :-1] >= size).any():
        raise ValueError("a code outside the codebook")


def append(
    codes: Codes, item_ids: list[str], code_NL: NDArray[np.int64], later: Collection[str] = ()
) -> Codes:
    """Give every item that has none a code: its codewords and the next free suffix.

    New items are taken in the order of their ids, so the order of rows does not matter; suffixes
    are never given twice.  Items of `later`, not born by the cut, come after all others, so that
    none of these depends on what is announced.
    """
    following: dict[tuple[int, ...], int] = {}
    for *prefix, suffix in codes.values():
        following[tuple(prefix)] = max(following.get(tuple(prefix), 0), suffix + 1)
    given = dict(codes)
    new = zip(item_ids, code_NL.tolist(), strict=True)
    for item, row in sorted(new, key=lambda pair: (pair[0] in later, *pair)):
        if item in given:
            continue
        suffix = following.get(tuple(row), 0)
        given[item] = (*row, suffix)
        following[tuple(row)] = suffix + 1
    return given


def write_ledger(before: Path, after: Path, codebook: Codebook, codes: Codes, name: str) -> None:
    """Write a ledger with one generation made current; all earlier generations are kept.

    A generation that follows another, be it new or one that comes back, tells what became of the
    codes before it; what it told when it was current before is written over.
    """
    generations = read_ledger(before).generations
    after.mkdir(parents=True, exist_ok=True)
    for generation in generations:
        shutil.copytree(before / generation, after / generation, dirs_exist_ok=True)
    if name not in generations:
        write_codebook(codebook, after / name)
    write_codes(codes, list(codes), after / name / _ENTRIES)
    if generations and generations[-1] != name:
        old = read_entries(before, generations[-1])
        write_migration(migrate(generations[-1], old, codes), after / name)
    order = [generation for generation in generations if generation != name] + [name]
    sums = {generation: {path.name: sha256(path) for path in sorted((after / generation).iterdir())}
            for generation in order}  # fmt: skip
    index = {"generations": order, _SUMS: sums}
    (after / _INDEX).write_text(json.dumps(index, indent=2) + "\n")


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
    shape = dict(zip(_SHAPE, codebook.quantizer.codeword_LKD.shape, strict=True))
    config = {"quantizer": codebook.quantizer.name, **shape}
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
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
        If a file is missing or damaged, or if they are not of one codebook.
    """
    try:
        told = json.loads((folder / _CONFIG).read_text())
        vocabulary = json.loads((folder / "vocabulary.json").read_text())
        arrays = load_file(folder / "codebook.safetensors")
        factored = "space.factors" in arrays
        reference = json.loads((folder / _REFERENCE).read_text()) if factored else []
        parts: dict[str, dict[str, NDArray[np.float64]]] = {"space": {}, "quantizer": {}}
        for key, array in arrays.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = array
        space = Space(vocabulary, parts["space"], reference)
        book = Codebook(space, load_quantizer(told["quantizer"], parts["quantizer"]))
        _check_book(book, tuple(told[name] for name in _SHAPE))
    except _DAMAGE as error:
        raise _broken(folder, error) from error
    return book


def _check_book(book: Codebook, shape: tuple[int, ...]) -> None:
    arrays = {**book.space.arrays, **book.quantizer.arrays()}
    if book.quantizer.codeword_LKD.shape != shape:
        raise ValueError(f"codewords are not those of {_CONFIG}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("a value that is not finite")
    if len(book.space.vocabulary) != len(arrays.get("idf", ())):
        raise ValueError("terms and their weights are not of one codebook")
    if len(book.space.reference) != np.shape(arrays.get("factors", ()))[-1]:
        raise ValueError("items and their factors are not of one codebook")
    # There and back once: layers that are missing or of another width show at once.
    book.quantizer.encode(book.quantizer.decode(np.zeros((1, shape[0]), dtype=np.int64)))


def _broken(folder: Path, error: Exception) -> BadInput:
    return BadInput(
        f"code ledger {folder.name} cannot be read ({type(error).__name__}): restore it from the "
        "last published version, or empty it to give every item a new code"
    )
