"""The kinds of index by name, and which one a catalogue gets where nobody chose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np

from tessera.bundles.indexes import flat, hnsw, lists, pq
from tessera.bundles.indexes.door import FILE, Kind, VectorIndex
from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadInput, BadParams, BrokenBundle

KINDS: Mapping[str, Kind] = {"flat": flat, "lists": lists, "hnsw": hnsw, "pq": pq}
AUTO = "auto"
EXACT_BELOW = 50_000
"""So many vectors are all looked at; `make bench-retrieval` says what it costs beyond."""

_LISTS = b"Iw"
"""How FAISS begins files of indexes with lists, which it maps by a way of their own."""


def write(vector_ND: Float32s, bundle: Path, kind: str = AUTO) -> None:
    """Write the index of a kind.

    Raises
    ------
    BadInput
        If a vector is not finite: only a flat index can leave one out.
    BadParams
        If there is no such kind, or too few vectors for it.
    """
    if kind == AUTO:
        kind = "flat" if len(vector_ND) < EXACT_BELOW else "lists"
    if kind not in KINDS:
        raise BadParams(f"index.kind {kind!r} is none: choose one of {AUTO}, {', '.join(KINDS)}")
    if kind != "flat" and not np.isfinite(vector_ND).all():
        raise BadInput(f"vectors that are not finite make no index of kind {kind}: train again")
    KINDS[kind].write(vector_ND, bundle)


def open_index(bundle: Path) -> VectorIndex:
    """Open the index of a bundle, mapped as far as its kind can be.

    Raises
    ------
    BrokenBundle
        If it is of no kind that is known here.
    """
    with (bundle / FILE).open("rb") as file:
        has_lists = file.read(len(_LISTS)) == _LISTS
    flag = faiss.IO_FLAG_MMAP if has_lists else faiss.IO_FLAG_MMAP_IFC  # it refuses both
    index = faiss.read_index(str(bundle / FILE), flag)
    for kind in KINDS.values():
        if (opened := kind.open_index(index, bundle)) is not None:
            return opened
    raise BrokenBundle(f"{bundle.name}: {FILE} is of no known kind: publish it again")
