"""How codes of two quantizers stand noise, what they know of behaviour, and what a gate can see.

Usage: TESSERA_DATA=<folder> python -m benchmarks.sid_health [--worlds far-trans market-0]

Planted codebooks of 64 codewords (healthy, used unevenly, crowded, both) are told apart by
perplexity and by what noise leaves of them.  On real and simulated catalogues a codebook is learnt
at one cut and items are encoded at that cut, a second time from a little less, and at a later cut
(a quarter of a year, FAR-Trans a year), so that the noise that is assumed stands beside the
noise that comes.  A killed run resumes behind the last whole piece.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
from scipy.stats import spearmanr

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.places import pin, run_alone, turned
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.split import load_split
from tessera.platform.workspace import files
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import Workspace, open_workspace
from tessera.shared.codes.health import collision_rate, level_health
from tessera.shared.codes.noise import displacement, flip_rates, overlap_under_noise, spread
from tessera.stages.sid.again import thinned
from tessera.stages.sid.balance import balance
from tessera.stages.sid.measure import co_acquired, measure
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import fit_quantizer
from tessera.stages.sid.vectors import Catalogue, fit_space, read_catalogue, vectorise

SIZE, WIDTH, NOISE, EACH = 64, 16, 0.1, 100
CASES = ("healthy", "imbalanced", "crowded", "both")
SEEDS = range(20)
QUANTIZERS = ("rkmeans", "rqvae")
MARKETS = (0, 1, 2)
FOLDERS = {"amazon": "amazon-2014-5core", "far-trans": "far-trans"}
RANKING, _RANKED = "ranked", 24
"""Codebooks of a seed that are ranked."""
WORLDS = ("far-trans", *(f"market-{seed}" for seed in MARKETS), "amazon")
_LAG = {"far-trans": timedelta(days=365)}
"""How much later a world is encoded again; FAR-Trans has no event in half of its half-years."""
_QUARTER = timedelta(days=91)
_BEFORE = ("ingest", "causal", "graph")


def planted(case: str, seed: int) -> tuple[Float64s, Ints]:
    """Codewords and items of each: crowded ones lie in four far places, within the noise there."""
    rng = np.random.default_rng(seed)
    codeword_KD = rng.standard_normal((SIZE, WIDTH))
    if case in ("crowded", "both"):
        places_KD = 3.0 * rng.standard_normal((4, WIDTH))[np.arange(SIZE) % 7 % 4]
        codeword_KD = places_KD + 0.01 * codeword_KD
    count_K = np.full(SIZE, EACH)
    if case in ("imbalanced", "both"):
        count_K = np.array([10 * EACH] * 8 + [EACH // 16] * (SIZE - 8))
    return codeword_KD, count_K


def planted_figures(case: str, seed: int) -> dict[str, float]:
    """Say what rivals and noise tell of a planted codebook, and how many items flip in truth."""
    return _figures(*planted(case, seed), seed)


def ranked(seed: int) -> dict[str, float]:
    """Say how well figures rank codebooks, as crowded and uneven as chance has it, by what is kept.

    Kept are the items whose codeword is the same after noise; a rank correlation (Spearman) each.
    """
    rng = np.random.default_rng([seed, 2])
    found = []
    for one in range(_RANKED):
        places_KD = rng.standard_normal((4, WIDTH))[np.arange(SIZE) % 4]
        narrow = 10.0 ** rng.uniform(-2.0, 0.0)
        uneven_K = np.arange(1, SIZE + 1) ** -rng.uniform(0.0, 1.5)
        count_K = np.maximum(np.round(SIZE * EACH * uneven_K / uneven_K.sum()), 1).astype(np.int64)
        codeword_KD = 3.0 * places_KD + narrow * rng.standard_normal((SIZE, WIDTH))
        found.append(_figures(codeword_KD, count_K, _RANKED * seed + one))
    kept = [1.0 - one["flips"] for one in found]
    return {
        name: float(spearmanr([one[figure] for one in found], kept).statistic)
        for name, figure in (("noise", "geometry"), ("perplexity", "perplexity"))
    }


def _figures(codeword_KD: Float64s, count_K: Ints, seed: int) -> dict[str, float]:
    code_N = np.repeat(np.arange(SIZE), count_K)
    rng = np.random.default_rng([seed, 1])
    moved_ND = codeword_KD[code_N] + NOISE * rng.standard_normal((len(code_N), WIDTH))
    gap_NK = np.sum(codeword_KD**2, axis=1) - 2.0 * moved_ND @ codeword_KD.T
    flips = float(np.mean(np.argmin(gap_NK, axis=1) != code_N))
    use = overlap_under_noise(codeword_KD, count_K, NOISE)
    return {
        "perplexity": level_health(code_N, SIZE)["perplexity"],
        "capacity": use.capacity,
        "distribution": use.distribution,
        "geometry": use.geometry,
        "flips": flips,
    }


def _workspace(world: str, earlier: bool) -> tuple[Workspace, Sections]:
    """Run what lies before the codes, at the cut of a world or a quarter of a year before it."""
    profile = "market" if world.startswith("market") else world
    name = f"sid_health-{world}" + ("-earlier" if earlier else "")
    workspace = Workspace(ROOT / "data" / "bench" / name, profile)
    params = load_params(open_workspace(profile, ROOT))
    if profile == "market":
        params = turned(params, {"synth": {"seed": int(world.rpartition("-")[2])}})
    files.remove(workspace.root)
    workspace.data.mkdir(parents=True)
    cut = None
    if earlier:
        later = Workspace(ROOT / "data" / "bench" / f"sid_health-{world}", profile)
        lag = _LAG.get(world, _QUARTER)
        cut = (load_split(later.artifact("split")).cut - lag).date().isoformat()
        workspace.artifact("source").symlink_to(later.artifact("source").resolve())
    elif profile in FOLDERS:
        folder = Path(os.environ["TESSERA_DATA"]) / FOLDERS[profile]
        workspace.artifact("source").symlink_to(folder)
    pin(workspace, {"version": None, "kind": "none"}, cut)
    stages = ("synth", *_BEFORE) if profile == "market" and not earlier else _BEFORE
    for stage in stages:
        run_alone(workspace, stage, params)
    return workspace, params


def _read(workspace: Workspace) -> tuple[ibis.Table, ibis.Table, ibis.Table]:
    items, nodes, edges = (
        ibis.duckdb.connect().read_parquet(workspace.artifact(name))
        for name in ("items", "nodes", "edges")
    )
    return items, nodes, edges


def _born(workspace: Workspace) -> Catalogue:
    items, nodes, edges = _read(workspace)
    cut = load_split(workspace.artifact("split")).cut
    born = items.filter(items.valid_from.isnull() | (items.valid_from <= cut))
    return read_catalogue(born, nodes, edges)


def figures_of(world: str) -> dict[str, Any]:
    """Learn codebooks at one cut of a world, and measure them there and a quarter later."""
    has_time = world not in ("amazon",)
    now, params = _workspace(world, earlier=False)
    first = _workspace(world, earlier=True)[0] if has_time else now
    sid = params["sid"]
    assert isinstance(sid, SidParams)
    before = _born(first)
    space = fit_space(before, sid)
    vector_ND = vectorise(before, space, sid)
    again_ND = vectorise(thinned(before, sid.seed), space, sid)
    pairs = co_acquired(_read(first)[2], before.item_ids)
    later = read_catalogue(*_read(now))
    row = {item: at for at, item in enumerate(later.item_ids)}
    same_ND = vectorise(later, space, sid)[[row[item] for item in before.item_ids]]
    told: dict[str, Any] = {"items": len(before.item_ids), "width": vector_ND.shape[1]}
    if has_time:
        told["moved"] = displacement(vector_ND, same_ND) / spread(vector_ND)
    for name in QUANTIZERS:
        began = time.process_time()
        quantizer = fit_quantizer(vector_ND, sid.model_copy(update={"quantizer": name}))
        learnt = time.process_time() - began
        code_NL = quantizer.encode(vector_ND)
        began = time.process_time()
        whole, levels = measure(code_NL, (vector_ND, again_ND), quantizer, pairs, sid.seed)
        balanced_NL = balance(code_NL, vector_ND, quantizer, before.item_ids, {})
        found = {
            **whole,
            "collision_rate_balanced": collision_rate(balanced_NL),
            "levels": levels,
            "size": quantizer.codeword_LKD.shape[1],
            "learn_s": learnt,
            "measure_s": time.process_time() - began,
        }
        if has_time:
            found["moved_flips"] = flip_rates(code_NL, quantizer.encode(same_ND))
        told[name] = found
    return told


def refused(cases: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """Count the planted bad codebooks that a floor of half the codewords refuses, by each figure.

    Raises
    ------
    AssertionError
        If the healthy one is refused.
    """
    least = SIZE / 2
    assert all(cases["healthy"][name] >= least for name in ("capacity", "perplexity"))
    bad = [cases[case] for case in CASES[1:]]
    return {
        "noise": sum(one["capacity"] < least for one in bad),
        "perplexity": sum(one["perplexity"] < least for one in bad),
    }


def measured(piece: tuple[str, int]) -> dict[str, Any]:
    """Measure one planted case of a seed, or a world."""
    name, seed = piece
    if name == RANKING:
        return ranked(seed)
    return planted_figures(name, seed) if name in CASES else figures_of(name)


def main() -> None:
    """Measure and write results/sid_health.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS)
    worlds = parser.parse_args().worlds
    pieces = [(case, seed) for case in (*CASES, RANKING) for seed in SEEDS] + [
        (world, 0) for world in worlds
    ]
    settings = {"size": SIZE, "width": WIDTH, "noise": NOISE}
    found = dict(zip(pieces, each(measured, pieces, "codebooks", Kept("sid_health", settings)),
                     strict=True))  # fmt: skip
    cases = {case: {str(seed): found[case, seed] for seed in SEEDS} for case in CASES}
    told = {str(seed): refused({case: found[case, seed] for case in CASES}) for seed in SEEDS}
    real = {world: found[world, 0] for world in worlds}
    ranks = {str(seed): found[RANKING, seed] for seed in SEEDS}
    whole = {"planted": cases, "refused": told, "ranked": ranks, "worlds": real}
    write_result("sid_health", {**whole, **settings})


if __name__ == "__main__":
    main()
