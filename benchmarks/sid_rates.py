"""How long quantizers take to learn and to encode, and what they hold, by the size of a catalogue.

Usage: python -m benchmarks.sid_rates [--items 10000 100000 1000000] [--beyond minibatch]

`--beyond` names the quantizers that are measured on more than the smallest catalogue.

Vectors are drawn and lie on disk, read as a memory map.  Own memory is the most that the process
held of its own while it learnt and encoded, beyond what it held before: what a quantizer copies of
the vectors is its own.  Pages of the map that the system keeps, and drops when it needs them, are
part of peak memory only.

Shapes: N items, D vector width.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import KEPT, Kept, each, write_result
from benchmarks.memory import Heap, memory_mb
from tessera.contracts.arrays import Float64s
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import codebook_size, fit_quantizer

WIDTH, GROUPS = 132, 4_096
EPOCHS = 10
"""Passes of what learns by gradient; by default they are fifteen times as many."""
QUANTIZERS: dict[str, int] = {
    "rkmeans": 100_000, "minibatch": 1_000_000, "rqvae": 100_000, "rq_fsq": 100_000,
    "drq": 100_000,
}  # fmt: skip
"""Each with the largest catalogue it is asked for: only mini-batches are meant for more."""
_ROWS = 50_000


def drawn(items: int, path: Path) -> Float64s:
    """Write vectors of groups within groups, a part at a time; return the map of the file."""
    rng = np.random.default_rng(0)
    group_GD = rng.standard_normal((GROUPS, WIDTH)) + 3.0 * rng.standard_normal(
        (GROUPS // 64, WIDTH)
    ).repeat(64, axis=0)
    vector_ND = np.lib.format.open_memmap(path, "w+", np.float64, (items, WIDTH))
    for begin in range(0, items, _ROWS):
        rows = min(_ROWS, items - begin)
        noise = 0.5 * rng.standard_normal((rows, WIDTH))
        vector_ND[begin : begin + rows] = group_GD[rng.integers(0, GROUPS, rows)] + noise
    vector_ND.flush()
    mapped: Float64s = np.load(path, mmap_mode="r")
    return mapped


def measured(piece: tuple[str, int]) -> dict[str, Any]:
    """Learn from a catalogue of so many items and encode it."""
    name, items = piece
    path = KEPT / f"sid-rates-{items}.npy"
    vector_ND = drawn(items, path)
    params = SidParams(quantizer=name, epochs=EPOCHS, batch_size=4_096)
    no_links = sparse.csr_array((items, items))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
    before = memory_mb()["peak"]
    with Heap() as heap:
        begun = time.process_time()
        found = fit_quantizer(vector_ND, params, no_links)
        learnt = time.process_time()
        code_NL = found.encode(vector_ND)
        done = time.process_time()
    peak = memory_mb()["peak"] - before
    sample = slice(0, 10_000)
    own_ND = np.asarray(vector_ND[sample])
    left_ND = own_ND - found.decode(code_NL[sample])
    path.unlink()
    return {
        "items": items,
        "codewords": codebook_size(items, params),
        "learn_s": round(learnt - begun, 1),
        "encode_s": round(done - learnt, 2),
        "own_mb": heap.peak_mb - heap.before_mb,
        "peak_mb": round(peak, 0),
        "vectors_mb": round(items * WIDTH * 8 / 2**20, 0),
        "error": round(float(np.sum(left_ND**2) / np.sum((own_ND - own_ND.mean(axis=0)) ** 2)), 4),
    }


def main() -> None:
    """Measure and write results/sid_rates.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--beyond", nargs="+", default=list(QUANTIZERS), choices=QUANTIZERS)
    given = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    pieces = [(name, items) for items in given.items for name, most in QUANTIZERS.items()
              if items <= most and (name in given.beyond or items == min(given.items))]  # fmt: skip
    kept = Kept("sid_rates", {"width": WIDTH, "epochs": EPOCHS})
    found = each(measured, pieces, "catalogues", kept)
    rows = [{"quantizer": name, **one} for (name, _), one in zip(pieces, found, strict=True)]
    write_result("sid_rates", {"width": WIDTH, "epochs": EPOCHS, "rows": rows})


if __name__ == "__main__":
    main()
