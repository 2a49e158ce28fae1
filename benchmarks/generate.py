"""What decoding codes finds on small embedded markets, beside the cosine of the same trunk.

Usage: python -m benchmarks.generate [--seeds 0 1 2]

Every seed is a market of its own and a training of its own, once without the generative head and
once with it.  A killed run resumes behind the last whole piece.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.common import ROOT, Kept, each, write_result
from benchmarks.places import pin, run_alone, turned
from tessera.platform.pipeline.ablate import ALONE
from tessera.platform.workspace import files
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

BEFORE = ("synth", "ingest", "causal", "graph", "sid", "uplift")
MARKET = {"users": 1_000, "items": 240, "requests": 24_000}
MARKET_ITSELF, WITHOUT, WITH = "market", "without", "with"
_CHANGES: dict[str, dict[str, Any]] = {
    "uplift": {"report_learners": [], "bootstrap": 10, "permutations": 9},
    "evaluate": {"draws": 20},
}
_ALL = ("hr_10", "ndcg_10", "recall_10", "recall_50", "coverage_10")
_SLICES = {"cold_items": "cold", "born_after_cut": "born"}
MODELS = ("hstu_generative", "hstu_trunk", "hstu", "ease", "popularity", "popularity_demand")


def params_of(seed: int, **trunk: Any) -> Sections:
    """Return the params of a market of this seed, and of a trunk that is turned like this."""
    synth, hstu = {**MARKET, "seed": seed}, {**ALONE, "seed": seed, **trunk}
    changes = {**_CHANGES, "synth": synth, "hstu": hstu}
    return turned(load_params(open_workspace(DEFAULT_PROFILE, ROOT)), changes)


def place_of(seed: int) -> Workspace:
    """Return where the market of a seed lies."""
    return Workspace(ROOT / "data" / "bench" / f"generate-{seed}", DEFAULT_PROFILE)


def figures_of(workspace: Workspace) -> dict[str, dict[str, float]]:
    """Return what `evaluate` measured of each model: all items, then cold ones and those born."""
    ranking = files.read_json(workspace.artifact("ranking"))
    told: dict[str, dict[str, float]] = {}
    for model in MODELS:
        if model not in ranking["models"]:
            continue
        found = {name: ranking["models"][model][name] for name in _ALL}
        for part, word in _SLICES.items():
            of = (ranking["slices"][part]["models"] or {}).get(model, {})
            found |= {f"{word}_{name}": of[name] for name in ("ndcg_10", "recall_10") if name in of}
        told[model] = {name: round(value, 4) for name, value in found.items()}
    return told


def draw(workspace: Workspace, seed: int, stages: Sequence[str] = BEFORE) -> None:
    """Draw the market of a seed into a workspace of its own, and run the stages before training."""
    drawn(workspace, params_of(seed), stages)


def drawn(
    workspace: Workspace, params: Sections, stages: Sequence[str] = BEFORE, cut: str | None = None
) -> None:
    """Draw a market of these params, and run the stages before training, perhaps up to a cut."""
    files.remove(workspace.root)
    workspace.data.mkdir(parents=True)
    pin(workspace, {"version": None, "kind": "none"}, cut)
    for name in stages:
        run_alone(workspace, name, params)


def measured(piece: tuple[int, str]) -> dict[str, Any]:
    """Draw the market of a seed, or train on it without the head or with it and measure that."""
    seed, part = piece
    workspace = place_of(seed)
    if part == MARKET_ITSELF:
        draw(workspace, seed)
        return {}
    params = params_of(seed, generate=part == WITH)
    trained = run_alone(workspace, "hstu", params)
    run_alone(workspace, "baselines", params)
    run_alone(workspace, "evaluate", params)
    ranking = files.read_json(workspace.artifact("ranking"))
    asked = {"users": ranking["users"], "cold_users": ranking["slices"]["cold_items"]["users"]}
    return {"models": figures_of(workspace), "epochs": trained["hstu_epochs"], **asked}


def main() -> None:
    """Measure and write results/generate.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    pieces = [(seed, part) for seed in given.seeds for part in (MARKET_ITSELF, WITHOUT, WITH)]
    found = dict(
        zip(pieces, each(measured, pieces, "markets", Kept("generate", MARKET)), strict=True)
    )
    seeds = {
        str(seed): {part: found[seed, part] for part in (WITHOUT, WITH)} for seed in given.seeds
    }
    write_result("generate", {"seeds": seeds, "market": MARKET})


if __name__ == "__main__":
    main()
