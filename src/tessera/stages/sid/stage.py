"""The entry point of `sid`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import ibis
import numpy as np
from numpy.typing import NDArray

from tessera.contracts.errors import BadInput
from tessera.contracts.split import load_split
from tessera.stages.sid import ledger
from tessera.stages.sid.again import thinned
from tessera.stages.sid.balance import balance
from tessera.stages.sid.history import read_history
from tessera.stages.sid.measure import Figures, co_acquired, measure
from tessera.stages.sid.migration import Codes
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import NOTHING_BORN, check_vectors, fit_quantizer
from tessera.stages.sid.vectors import (
    Catalogue,
    coarse_columns,
    fit_space,
    read_catalogue,
    vectorise,
)


def run(
    *,
    items: ibis.Table,
    nodes: ibis.Table,
    edges: ibis.Table,
    events: ibis.Table,
    prices: ibis.Table,
    queries: ibis.Table,
    split: Path,
    ledger_in: Path,
    codes: Path,
    codebook: Path,
    ledger_out: Path,
    sid_health: Path,
    params: SidParams,
) -> dict[str, float]:
    """Give every item a semantic ID that it keeps."""
    periods = load_split(split)

    def catalogue_of(chosen: ibis.Table) -> Catalogue:
        history = read_history(events, prices, _ids(chosen), periods, params, queries)
        return read_catalogue(chosen, nodes, edges, history)

    catalogue = catalogue_of(items)
    before = ledger.read_ledger(ledger_in)
    generation = ledger.fingerprint(params)
    born = items.filter(items.valid_from.isnull() | (items.valid_from <= periods.cut))
    past = catalogue_of(born)
    book = _codebook(past, ledger_in / generation, params)
    vector_ND = vectorise(catalogue, book.space, params)
    check_vectors(vector_ND)
    fresh_NL = book.quantizer.encode(vector_ND)
    held = ledger.read_entries(ledger_in, generation)
    later = set(catalogue.item_ids) - set(past.item_ids)
    known = vector_ND, book.quantizer, catalogue.item_ids, held, later
    code_NL = balance(fresh_NL, *known) if params.balanced else fresh_NL
    given = ledger.append(held, catalogue.item_ids, code_NL, later)
    ledger.write_codes(given, catalogue.item_ids, codes)
    ledger.write_codebook(book, codebook)
    ledger.write_ledger(ledger_in, ledger_out, book, given, generation)
    now = {item: given[item] for item in catalogue.item_ids}
    again_ND = vectorise(thinned(catalogue, params.seed), book.space, params)
    given_NL = np.array(list(now.values()), dtype=np.int64)
    whole, levels = measure(
        given_NL[:, :-1],
        (vector_ND, again_ND),
        book.quantizer,
        co_acquired(edges, catalogue.item_ids),
        params.seed,
    )
    # Balance moves last codewords by itself, whatever becomes of the vectors.
    steady_NL = fresh_NL[:, : params.levels - params.balanced]
    flat = (
        _memory(before.codes, held, now, steady_NL)
        | whole
        | {
            "largest_suffix": float(given_NL[:, -1].max()),
            "reconstruction_error": _error(vector_ND, book.quantizer.decode(given_NL[:, :-1])),
        }
    )
    return _tell(flat, levels, sid_health, generation=generation, quantizer=params.quantizer)


def _ids(items: ibis.Table) -> list[str]:
    """Ids in order; there is one at least, and none twice."""
    item_ids = sorted(items.item_id.to_pyarrow().to_pylist())
    if not item_ids:
        raise BadInput(NOTHING_BORN)
    twice = [one for one, after in pairwise(item_ids) if one == after]
    if twice:
        raise BadInput(f"item {twice[0]} stands twice among the items: keep one row of it")
    return item_ids


def _tell(flat: Figures, levels: list[Figures], sid_health: Path, **named: str) -> dict[str, float]:
    """Write how the codes are; return the figures that were measured, those of a level numbered."""
    report = flat | named | {"levels": levels}
    sid_health.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    every = flat | {
        f"{name}_{depth}": value
        for depth, level in enumerate(levels)
        for name, value in level.items()
    }
    return {name: value for name, value in every.items() if value is not None}


def _codebook(past: Catalogue, frozen: Path, params: SidParams) -> ledger.Codebook:
    """Take the frozen codebook of this generation, or learn one from items born by the cut."""
    if frozen.exists():
        return ledger.read_codebook(frozen)
    space = fit_space(past, params)
    vector_ND = vectorise(past, space, params)
    seen = past.neighbour_NN, coarse_columns(space, params)
    return ledger.Codebook(space, fit_quantizer(vector_ND, params, *seen))


def _memory(before: Codes, held: Codes, now: Codes, steady_NL: NDArray[np.int64]) -> Figures:
    """Say what became of the codes given earlier; `steady_NL` are codewords that show drift."""
    kept = [item for item in now if item in before]
    changed = sum(before[item] != now[item] for item in kept)
    fresh = dict(zip(now, steady_NL.tolist(), strict=True))
    old = [item for item in now if item in held]
    moved = sum(list(now[item][: steady_NL.shape[1]]) != fresh[item] for item in old)
    return {
        "items": float(len(now)),
        "items_new": float(len(now) - len(old)),
        "churn": changed / max(len(kept), 1),
        "drift": moved / max(len(old), 1),
    }


def _error(vector_ND: NDArray[np.float64], decoded_ND: NDArray[np.float64]) -> float:
    """Squared error as a share of the vectors' variance."""
    spread = np.sum((vector_ND - vector_ND.mean(axis=0)) ** 2)
    return float(np.sum((vector_ND - decoded_ND) ** 2) / max(spread, 1e-12))
