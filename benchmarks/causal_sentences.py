"""How often a causal sentence is true, and how often an interval holds nothing where nothing is.

Run by hand: `make bench-causal-sentences`; writes benchmarks/results/causal_sentences.json after
every market, and begins where it was broken off.  A part of `make bench-causal` that does without
replaying the market, so that it takes a minute a market.  How both are worked out was chosen on
seeds 101 to 103.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from benchmarks.causal import SEEDS, WORLDS, scene
from benchmarks.causal_mixture import shrink
from benchmarks.causal_words import calibration, chains, words
from benchmarks.common import RESULTS, commit, write_result
from tessera.stages.causal.confounders import stack
from tessera.stages.causal.effects import PARTS, effects
from tessera.stages.causal.pairs import supported_pairs
from tessera.stages.causal.panel import trials
from tessera.stages.causal.params import CausalParams
from tessera.stages.synth.params import SynthParams

_NAME = "causal_sentences"
_WIDTH = 1.96


def measure(params: SynthParams) -> dict[str, Any]:
    """Count sentences and intervals of one market."""
    world, chosen = scene(params), CausalParams()
    found = list(trials(world.panel, chosen))
    pairs = supported_pairs(found, chosen.least_support, chosen.pairs)
    told = effects(stack(found, chosen.taste_components, PARTS), pairs)
    names = (world.panel.item_ids[pairs.cause_N], world.panel.item_ids[pairs.effect_N])
    strength_N, change_N = np.array(
        [world.edges.get(pair, (0.0, 0.0)) for pair in zip(*names, strict=True)]
    ).T
    null_N = strength_N == 0
    plain_N = np.abs(told.raw_N) < _WIDTH * told.raw_stderr_N
    holds_N = (told.low_N <= 0) & (told.high_N >= 0)
    before_N = shrink(told.raw_N, told.raw_stderr_N)[0]
    return {
        "pairs": len(null_N),
        "null_coverage": {
            "as estimated": float(plain_N[null_N].mean()),
            "empirical null": float(holds_N[null_N].mean()),
        },
        "pearson": {
            "one direction": float(np.corrcoef(before_N, change_N)[0, 1]),
            "both directions": float(np.corrcoef(told.effect_N, change_N)[0, 1]),
        },
        "words": words(told, strength_N, chains(world.edges, *names)),
        "calibration": calibration(told, strength_N),
    }


def kept() -> dict[str, dict[str, Any]]:
    """Read what this very code has measured already."""
    path = RESULTS / f"{_NAME}.json"
    raw = json.loads(path.read_text()) if path.exists() else {}
    return dict(raw["figures"]["worlds"]) if raw.get("commit") == commit() else {}


def main() -> None:
    """Measure every world by every seed, keep each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    worlds = kept()
    for seed in parser.parse_args().seeds:
        for name, change in WORLDS.items():
            of = worlds.setdefault(name, {})
            if str(seed) not in of:
                settings = {"seed": seed, "dirty_rows": 0.0, **change}
                of[str(seed)] = measure(SynthParams(**settings))
                write_result(_NAME, {"worlds": worlds})


if __name__ == "__main__":
    main()
