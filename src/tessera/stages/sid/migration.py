"""A new generation tells what became of the codes before it, so that tokenised histories live on.

Codewords have no names: one of the new codebook is the heir of the old one with which it shares the
most items, and each has one heir at most.  An item has moved at a level if its new codeword is not
the heir of its old one there or above.

Legend: N items in both generations, L levels that both have, K codewords of a level.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.optimize import linear_sum_assignment

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BadInput

Codes = dict[str, tuple[int, ...]]
_ROWS, _TOLD = "migration.parquet", "migration.json"


@dataclass(frozen=True, slots=True)
class Migration:
    """What became of the codes of the generation before."""

    before: str
    """Name of that generation."""
    item_ids: list[str]
    """Items that have a code in both."""
    old: list[tuple[int, ...]]
    new: list[tuple[int, ...]]
    churn_L: Float64s
    """Share of items that moved by each level; it never falls."""
    moved_N: Bools
    """Items whose coarse code is another one."""

    def translation(self) -> dict[tuple[int, ...], tuple[int, ...]]:
        """Map each old code to its new one, suffixes included: a history is read through it."""
        return dict(zip(self.old, self.new, strict=True))


def migrate(before: str, old: Codes, new: Codes) -> Migration:
    """Compare the codes of the items that both generations know."""
    item_ids = sorted(old.keys() & new.keys())
    olds, news = [old[item] for item in item_ids], [new[item] for item in item_ids]
    moved_NL = moved_by_level(_words(olds), _words(news))
    churn_L = moved_NL.mean(axis=0) if item_ids else np.zeros(moved_NL.shape[1])
    moved_N = moved_NL[:, 0] if moved_NL.shape[1] else np.zeros(len(item_ids), np.bool_)
    return Migration(before, item_ids, olds, news, churn_L, moved_N)


def moved_by_level(old_NL: Ints, new_NL: Ints) -> Bools:
    """Whether each item is off the line of heirs at each level that both have [N, L].

    >>> old = np.array([[0, 0], [0, 0], [0, 1], [1, 0]])
    >>> new = np.array([[5, 3], [5, 3], [5, 4], [5, 4]])  # 5 is the heir of 0; the last one moved
    >>> moved_by_level(old, new).T.astype(int)
    array([[0, 0, 0, 1],
           [0, 0, 0, 1]])
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    moved_NL = np.zeros((len(old_NL), levels), dtype=np.bool_)
    there_N = np.ones(len(old_NL), dtype=np.bool_)
    line_N = np.zeros(len(old_NL), dtype=np.int64)
    for level in range(levels):
        by_line = np.flatnonzero(there_N)
        by_line = by_line[np.argsort(line_N[by_line], kind="stable")]
        for rows in np.split(by_line, np.flatnonzero(np.diff(line_N[by_line])) + 1):
            there_N[rows] = _inherits(old_NL[rows, level], new_NL[rows, level])
        moved_NL[:, level] = ~there_N
        line_N = np.unique(old_NL[:, : level + 1], axis=0, return_inverse=True)[1].ravel()
    return moved_NL


def _inherits(old_N: Ints, new_N: Ints) -> Bools:
    """Whether the new codeword of each item is the heir of its old one."""
    old_K, row_N = np.unique(old_N, return_inverse=True)
    new_K, column_N = np.unique(new_N, return_inverse=True)
    shared_KK = np.zeros((len(old_K), len(new_K)), dtype=np.int64)
    np.add.at(shared_KK, (row_N, column_N), 1)
    heir_K = np.full(len(old_K), -1)
    one, other = linear_sum_assignment(shared_KK, maximize=True)
    heir_K[one] = other
    return np.asarray(heir_K[row_N] == column_N, dtype=np.bool_)


def write_migration(migration: Migration, folder: Path) -> None:
    """Write the mapping, one row an item, and what it comes to, beside the codebook."""
    columns = {
        "item_id": pa.array(migration.item_ids, pa.string()),
        "before": pa.array(migration.old, pa.list_(pa.int64())),
        "after": pa.array(migration.new, pa.list_(pa.int64())),
        "coarse_moved": pa.array(migration.moved_N, pa.bool_()),
    }
    pq.write_table(pa.table(columns), folder / _ROWS)
    told = {
        "before": migration.before,
        "items": len(migration.item_ids),
        "churn": migration.churn_L.tolist(),
        "coarse_moved": [
            item for item, moved in zip(migration.item_ids, migration.moved_N, strict=True) if moved
        ],
    }
    (folder / _TOLD).write_text(json.dumps(told, indent=2) + "\n")


def read_migration(folder: Path) -> Migration | None:
    """Read what `write_migration` wrote beside a codebook; None for a first generation.

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """
    if not (folder / _TOLD).exists() and not (folder / _ROWS).exists():
        return None
    try:
        told = json.loads((folder / _TOLD).read_text())
        rows = pq.read_table(folder / _ROWS)
        old, new = (
            [tuple(code) for code in rows[name].to_pylist()] for name in ("before", "after")
        )
        moved_N = np.array(rows["coarse_moved"].to_pylist(), dtype=np.bool_)
        churn_L = np.array(told["churn"], dtype=np.float64)
        return Migration(told["before"], rows["item_id"].to_pylist(), old, new, churn_L, moved_N)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BadInput(
            f"migration of code generation {folder.name} cannot be read ({type(error).__name__}): "
            "restore the ledger from the last published version"
        ) from error


def _words(codes: list[tuple[int, ...]]) -> Ints:
    """Codewords without the suffix [N, L]."""
    return np.array([code[:-1] for code in codes] or np.empty((0, 1)), dtype=np.int64)
