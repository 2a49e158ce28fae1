"""What finds candidates: kinds of vector index under a filter, and retrievers that share places.

Usage: python -m benchmarks.retrieval [--vectors 100000] [--acquired 3000] [--seed 0]
Needs a market that ran.

Vectors and queries are unit vectors around centres of which some are much more popular.  A filter
lists each row by chance, or whole regions of the space, as a risk class does.  Acquisitions are
those of the market after the cut of the published bundle: shares are learnt from the earlier half
and tried on the later one.

Shapes: N vectors, Q queries, D width.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import ibis
import numpy as np
import pyarrow as pa

from benchmarks.common import ROOT, write_result
from tessera.bundles.vectors import Search, write_vectors
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.arrow import schema
from tessera.contracts.tables import ITEM_VECTORS
from tessera.platform.cli.cli_mix import learnt_of
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace
from tessera.serve.mix import Learnt

_K, _WIDTH, _CENTRES = 40, 64, 400
_SPREAD = 0.7
"""Length of the noise around a centre, which has length 1."""
_QUERIES = 300
_LINKS, _WIDE = 32, 128
"""Of HNSW: links of a vector, candidates that a search keeps."""
_LISTED = (1.0, 0.5, 0.1, 0.01)
Find = Callable[[Float32s, Bools], Ints]
"""From a query and the listed rows to the rows found."""


def world(count: int, seed: int) -> tuple[Float32s, Float32s, Ints]:
    """Draw vectors, queries and the centre of each vector."""
    rng = np.random.default_rng(seed)
    centre_CD = _unit(rng.normal(size=(_CENTRES, _WIDTH)))
    chance_C = 1 / np.arange(1, _CENTRES + 1)
    near_A = rng.choice(_CENTRES, count + _QUERIES, p=chance_C / chance_C.sum())
    noise_AD = rng.normal(size=(count + _QUERIES, _WIDTH)) * _SPREAD / _WIDTH**0.5
    all_AD = _unit(centre_CD[near_A] + noise_AD)
    return all_AD[:count], all_AD[count:], near_A[:count]


def _unit(vector_AD: Any) -> Float32s:
    length_A1 = np.linalg.norm(vector_AD, axis=1, keepdims=True)
    return np.asarray(vector_AD / length_A1, np.float32)


def filters(near_N: Ints, seed: int) -> Iterator[tuple[str, float, Bools]]:
    """Yield filters by kind and share of rows listed."""
    rng = np.random.default_rng(seed)
    for share in _LISTED:
        yield "by chance", share, rng.random(len(near_N)) < share
    order_C = rng.permutation(_CENTRES)
    for share in _LISTED[1:]:
        count_C = np.bincount(near_N, minlength=_CENTRES)[order_C]
        stop = int(np.searchsorted(np.cumsum(count_C), share * len(near_N))) + 1
        yield "by region", share, np.isin(near_N, order_C[:stop])


def kinds(vector_ND: Float32s, folder: Path) -> Iterator[tuple[str, float, Find]]:
    """Yield each kind of index, the seconds it took to build, and its search."""
    ids = pa.array([f"i{n:07d}" for n in range(len(vector_ND))])
    width = pa.list_(pa.float32())
    rows = pa.table({"item_id": ids, "vector": pa.array(list(vector_ND), width)})
    table = ibis.memtable(rows.cast(schema(ITEM_VECTORS)))
    for name in ("flat", "lists"):
        begun = time.perf_counter()
        write_vectors(table, folder, name)
        took_s, search = time.perf_counter() - begun, Search.open(folder)
        yield name, took_s, _by_search(search)
    begun = time.perf_counter()
    graph = faiss.IndexHNSWFlat(_WIDTH, _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.add(vector_ND)
    yield "HNSW", time.perf_counter() - begun, _by_graph(graph)


def _by_search(search: Search) -> Find:
    return lambda query_D, listed_N: search.among(query_D, listed_N, _K)[0]


def _by_graph(graph: faiss.IndexHNSWFlat) -> Find:
    def find(query_D: Float32s, listed_N: Bools) -> Ints:
        bits = np.packbits(listed_N, bitorder="little")
        only = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        how = vars(faiss)["SearchParametersHNSW"]()  # which its stubs do not know
        how.sel, how.efSearch = only, _WIDE
        row_K = graph.search(query_D[None], _K, params=how)[1][0]
        return np.asarray(row_K[row_K >= 0])

    return find


def measured(find: Find, query_QD: Float32s, listed_N: Bools, wanted_QK: list[Ints]) -> Any:
    """Return the share of the nearest that is found, and the milliseconds of a search."""
    shares, took_ms = [], []
    for query_D, wanted_K in zip(query_QD, wanted_QK, strict=True):
        begun = time.perf_counter()
        found_K = find(query_D, listed_N)
        took_ms.append(1000 * (time.perf_counter() - begun))
        shares.append(len(np.intersect1d(found_K, wanted_K)) / max(len(wanted_K), 1))
    return {
        "recall": round(float(np.mean(shares)), 4),
        "least": round(float(np.min(shares)), 3),
        **{f"p{q}_ms": round(float(np.percentile(took_ms, q)), 2) for q in (50, 99)},
    }


def indexes(count: int, seed: int) -> dict[str, Any]:
    """Measure every kind of index under every filter, on one thread."""
    faiss.omp_set_num_threads(1)
    vector_ND, query_QD, near_N = world(count, seed)
    told, wanted, built_s = [], dict[tuple[str, float], list[Ints]](), {}
    with TemporaryDirectory() as folder:
        for name, took_s, find in kinds(vector_ND, Path(folder)):
            built_s[name] = round(took_s, 1)
            for kind, share, listed_N in filters(near_N, seed):
                if name == "flat":
                    wanted[kind, share] = [find(query_D, listed_N) for query_D in query_QD]
                found = measured(find, query_QD, listed_N, wanted[kind, share])
                told.append({"index": name, "filter": kind, "listed": share, **found})
                print(told[-1], flush=True)
    return {"vectors": count, "built_s": built_s, "searches": told}


def mix(found: Learnt, most: int) -> dict[str, Any]:
    """Lay out what was learnt, and what each retriever finds alone, by who asks for what."""
    slices = {
        "all": np.ones(len(found.found_Q), bool),
        "of a new item": found.is_new_Q,
        "without a history": found.is_cold_Q,
    }
    gain, error = found.gain
    return {
        "shares": found.shares,
        "learnt_from": found.learnt_from,
        "gain": round(gain, 4),
        "error": round(error, 4),
        "places": most,
        "slices": {
            name: {
                "requests": int(in_Q.sum()),
                "learnt": round(float(found.found_Q[in_Q].mean()), 4),
                "served": round(float(found.served_Q[in_Q].mean()), 4),
                **{
                    one: round(float((found.place_QS[in_Q, at] < most).mean()), 4)
                    for at, one in enumerate(found.names)
                },
            }
            for name, in_Q in slices.items()
            if in_Q.any()
        },
    }


def main() -> None:
    """Measure both and write results/retrieval.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--acquired", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    workspace = open_workspace(DEFAULT_PROFILE, ROOT)
    found, params = learnt_of(workspace, given.acquired, given.seed)
    figures = {
        "seed": given.seed,
        "mix": mix(found, params.retrieved),
        "index": indexes(given.vectors, given.seed),
    }
    write_result("retrieval", figures)


if __name__ == "__main__":
    main()
