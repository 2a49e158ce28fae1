"""How long decoding fifty items takes, in a catalogue of any size, on one thread.

Usage: python -m benchmarks.beam [--items 10000 100000 1000000] [--requests 200]

Codes and vectors are drawn: what a search costs does not depend on what was learnt.  Every code is
as likely as any other, so that the trie is as bushy as it can be.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.common import Kept, each, machine, write_result
from tessera.model.nn.device import threads
from tessera.model.nn.generative import Decoder, ItemSpace
from tessera.model.nn.item_trie import ItemTrie, item_trie
from tessera.model.nn.level_nets import LevelNetSettings

WIDTH, CODEWORDS, LEVELS = 48, 256, 4
TOP = BEAMS = 50
BATCH = 64
_WARM_UP = 20


def drawn(items: int) -> tuple[Decoder, torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Return a head, and codes, codebook and vectors of the items."""
    torch.manual_seed(0)
    head = Decoder(LevelNetSettings(WIDTH).build(WIDTH, LEVELS), LEVELS).eval()
    for weight in head.asks.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    codes_VC = torch.randint(1, CODEWORDS + 1, (items + 1, LEVELS))
    codes_VC[0] = 0
    book = [torch.randn(CODEWORDS + 1, WIDTH) for _ in range(LEVELS)]
    return head, codes_VC, book, torch.randn(items + 1, WIDTH)


def trie_mb(trie: ItemTrie) -> float:
    """Return what a trie holds."""
    parts = (*trie.first_child, *trie.codeword, *trie.first_leaf, trie.item_N, trie.leaf_V)
    return sum(part.nbytes for part in parts) / 2**20


def measured(asked: tuple[int, int]) -> dict[str, Any]:
    """Build a catalogue of so many items, and decode for so many requests."""
    items, requests = asked
    head, codes_VC, book, item_VD = drawn(items)
    begun = time.process_time()
    trie = item_trie(codes_VC, torch.arange(1, items + 1))
    built_s = time.process_time() - begun
    space = ItemSpace.of(trie, book, item_VD)
    state_BD = torch.randn(requests + _WARM_UP, WIDTH)
    told: dict[str, Any] = {
        "items": items,
        "built_s": round(built_s, 2),
        "trie_mb": round(trie_mb(trie), 1),
    }
    for word, share in (("all", 1.0), ("tenth", 0.1)):
        open_1V = torch.rand(1, items + 1) < share
        open_1V[:, 0] = False
        before_1N1 = trie.open_before(open_1V)
        search = partial(_search, head, space, before_1N1)
        told[word] = dict(zip(("p50_ms", "p99_ms"), _milliseconds(search, state_BD.split(1)),
                              strict=True))  # fmt: skip
    masked = _milliseconds(lambda _: trie.open_before(open_1V), state_BD.split(1))
    together = _milliseconds(search, [state_BD[:BATCH]] * (_WARM_UP + 5))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {**told, "mask_ms": masked[0], "batch_ms": together[0], "peak_mb": round(peak)}


def _search(head: Decoder, space: ItemSpace, before_1N1: torch.Tensor, rows: torch.Tensor) -> None:
    head.beam_search(space, rows, before_1N1, TOP, BEAMS)


def _milliseconds(
    work: Callable[[torch.Tensor], Any], pieces: Sequence[torch.Tensor]
) -> tuple[float, float]:
    """Return the median and the 99th percentile of the processor time of a call."""
    took = []
    with torch.inference_mode():
        for piece in pieces:
            begun = time.process_time()
            work(piece)
            took.append(1e3 * (time.process_time() - begun))
    p50, p99 = np.percentile(took[_WARM_UP:], [50, 99])
    return round(float(p50), 2), round(float(p99), 2)


def main() -> None:
    """Measure and write results/beam.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=300)
    given = parser.parse_args()
    with threads(1):
        pieces = [(items, given.requests) for items in given.items]
        found = each(measured, pieces, "catalogues", Kept("beam", machine()))
    write_result("beam", {"catalogues": found, "beams": BEAMS, "batch": BATCH, "width": WIDTH,
                          "codewords": CODEWORDS, "levels": LEVELS})  # fmt: skip


if __name__ == "__main__":
    main()
