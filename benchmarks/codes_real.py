"""What decoding codes and topology in codes are worth on real data.

Usage: python -m benchmarks.codes_real SET [--seeds 0 1 2] [--kinds text topology]
with the official files in TESSERA_DATA

The stages before `sid` run once.  For each seed and kind codes are given anew, and the trunk is
trained with them: it reads codes, and its head decodes them.  Nothing else is trained or fitted
beside it.  A killed run resumes behind the last whole piece, and what was measured before with the
same settings and code is told too.

A difference from a rival has two intervals: two standard errors over the seeds, and, of the mean
over the seeds for each investor, a bootstrap over the investors.

Shapes: N test investors, M figures, K list length, O models.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import ibis
import numpy as np

from benchmarks import quality
from benchmarks.common import Kept, each, write_result
from benchmarks.places import run_alone, turned
from benchmarks.sid_worth import KINDS as SMALL
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.split import load_split
from tessera.platform.pipeline.ablate import ALONE
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import Workspace
from tessera.shared.metrics.bootstrap import mean_interval
from tessera.stages.evaluate import report
from tessera.stages.evaluate.holdout import Holdout, build_holdout, read_lists
from tessera.stages.evaluate.params import EvaluateParams

TEXT = "text"
KINDS = {name: SMALL[name] for name in (TEXT, "default", "topology", "topology at level 1")}
"""Codes by their name; the rival of each is text."""
DECODED, TRUNK, PUBLISHED = MODELS = ("hstu_generative", "hstu_trunk", "hstu")
METRICS = ("ndcg_10", "recall_10", "recall_50")
_BEFORE = tuple(name for name in quality.BEFORE if name != "sid")
_HEALTH = ("capacity", "collision_rate", "reconstruction_error")
_SEEDS = range(10)


def _decoding(one: quality.Set) -> quality.Set:
    """Return a set whose trunk reads codes and decodes them, alone."""
    trunk = {**one.changes.get("hstu", {}), **ALONE, "use_codes": True, "generate": True}
    return replace(one, changes={**one.changes, "hstu": trunk})


SETS = {
    "beauty": _decoding(quality.SETS["beauty"]),
    "movielens-100k": _decoding(
        quality.Set(  # eight tenths of the ratings lie before the end of that day
            "movielens",
            "movielens-100k",
            "1998-03-07",
            {"hstu": quality.SETS["movielens"].changes["hstu"]},
        )
    ),
    "far-trans-2020": _decoding(quality.SETS["far-trans-2020"]),
}


def params_of(name: str, seed: int, kind: str) -> Sections:
    """Return the params of a set with codes of this kind, given and learnt with this seed."""
    codes = {"sid": {**KINDS[kind], "seed": seed}}
    return turned(quality.params_of(SETS[name], seed), codes)


def place_of(name: str) -> Workspace:
    """Return where a set is measured."""
    return quality.place_of(f"codes-real-{name}", SETS[name])


def prepared(name: str) -> dict[str, Any]:
    """Run the stages before codes are given, and those that do not read them."""
    params = params_of(name, 0, TEXT)
    for stage in _BEFORE:
        run_alone(place_of(name), stage, params)
    return {}


def measured(piece: tuple[str, int, str]) -> dict[str, Any]:
    """Give codes of one kind, train with them and measure the lists."""
    name, seed, kind = piece
    workspace, params = place_of(name), params_of(name, seed, kind)
    begun = time.perf_counter()
    health = run_alone(workspace, "sid", params)
    trained = run_alone(workspace, "hstu", params)
    holdout = holdout_of(workspace, params)
    lists = ibis.read_parquet(workspace.artifact("lists"))
    found = read_lists(lists, holdout, report.DEPTH)
    tops = {model: found[model] for model in MODELS}
    each_ONM = np.stack([by_investor(top_NK, holdout) for top_NK in tops.values()])
    np.save(kept_at(workspace, seed, kind), each_ONM)
    return {
        "models": figures_of(tops, holdout),
        "codes": {one: health[one] for one in _HEALTH},
        "users": len(holdout.user_ids),
        "cold_users": int((holdout.relevant_N(holdout.cold_I) > 0).sum()),
        "epochs": trained["hstu_epochs"],
        "stage_s": round(time.perf_counter() - begun, 1),
    }


def holdout_of(workspace: Workspace, params: Sections) -> Holdout:
    """Return who is tested on what in a set."""
    events, items = (ibis.read_parquet(workspace.artifact(name)) for name in ("events", "items"))
    settings = EvaluateParams(**params["evaluate"].model_dump())
    return build_holdout(events, items, load_split(workspace.artifact("split")), settings)


def by_investor(top_NK: Ints, holdout: Holdout) -> Float64s:
    """Return the figures of each test investor [N, M], in the order of `METRICS`."""
    found = report.per_user(top_NK, holdout, (report.K, report.DEPTH))
    return np.stack([found[metric] for metric in METRICS], axis=1)


def figures_of(tops: dict[str, Ints], holdout: Holdout) -> dict[str, dict[str, float]]:
    """Return what each model's lists find: of all items, and of cold ones where there are any."""
    cold = report.slice_table(report.Slice(item_I=holdout.cold_I), tops, holdout)
    told = {}
    for model, top_NK in tops.items():
        found = report.model_metrics(report.narrow(top_NK, None), holdout, None)
        shown = {metric: found[metric] for metric in (*METRICS, "coverage_10")}
        if cold["users"]:
            found_cold = cold["models"][model]
            shown |= {f"cold_{metric}": found_cold[metric] for metric in ("ndcg_10", "recall_10")}
        told[model] = {metric: round(value, 4) for metric, value in shown.items()}
    return told


def kept_at(workspace: Workspace, seed: int, kind: str) -> Path:
    """Return where the figures of each investor lie."""
    return workspace.data / f"investors_{seed}_{kind.replace(' ', '_')}.npy"


def pooled(
    rows: list[tuple[Float64s, Float64s]], settings: EvaluateParams
) -> dict[str, dict[str, float]]:
    """Tell by metric how far the first of each pair is ahead of the second.

    Parameters
    ----------
    rows : list of pairs of Float64s
        For each seed what two lists [N, M] find for the same investors.

    Returns
    -------
    dict
        Metric to mean, and bounds over the investors of the mean over the seeds.
    """
    gap_NM = np.mean([on_NM - off_NM for on_NM, off_NM in rows], axis=0)
    told = {}
    for number, metric in enumerate(METRICS):
        rng = np.random.default_rng((settings.seed, 1))
        found = mean_interval(gap_NM[:, number], rng, draws=settings.draws, level=settings.level)
        told[metric] = {word: round(value, 6) for word, value in asdict(found).items()}
    return told


def leads_of(name: str, seeds_of: dict[str, list[int]]) -> dict[str, Any]:
    """Lay each kind beside text, and decoding beside the cosine, over the seeds that both have.

    What an investor found is read where this command left it, so leads are those of this place.
    """
    workspace = place_of(name)
    settings = EvaluateParams(**params_of(name, 0, TEXT)["evaluate"].model_dump())

    def read(seed: int, kind: str, model: str) -> Float64s:
        each_ONM = np.load(kept_at(workspace, seed, kind), allow_pickle=False)
        return np.asarray(each_ONM[MODELS.index(model)])

    told: dict[str, Any] = {"over text": {}, "over cosine": {}}
    for kind, seeds in seeds_of.items():
        pairs = [(read(seed, kind, DECODED), read(seed, kind, TRUNK)) for seed in seeds]
        told["over cosine"][kind] = {"seeds": seeds, DECODED: pooled(pairs, settings)}
        both = [seed for seed in seeds if seed in seeds_of.get(TEXT, [])]
        if kind == TEXT or not both:
            continue
        told["over text"][kind] = {"seeds": both} | {
            model: pooled([(read(s, kind, model), read(s, TEXT, model)) for s in both], settings)
            for model in MODELS
        }
    return told


def main() -> None:
    """Measure a set and write results/codes_real_SET.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], choices=_SEEDS)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    given = parser.parse_args()
    if not os.environ.get("TESSERA_DATA"):
        parser.error("name the folder with the official files in TESSERA_DATA")
    name, first = given.set, params_of(given.set, 0, TEXT)
    trunk = first["hstu"].model_dump(mode="json", exclude={"seed"})
    kept = Kept(f"codes_real_{name}", {"set": asdict(SETS[name]), "trunk": trunk, "kinds": KINDS})
    each(prepared, [name], name, kept)
    each(measured, [(name, *one) for one in product(given.seeds, given.kinds)], name, kept)
    known = [one for one in product(_SEEDS, KINDS) if (name, *one) in kept]
    seeds: dict[str, dict[str, Any]] = {}
    seeds_of: dict[str, list[int]] = {}
    for seed, kind in known:
        seeds.setdefault(str(seed), {})[kind] = kept[name, seed, kind]
        seeds_of.setdefault(kind, []).append(seed)
    codes = {"levels": first["sid"].model_dump()["levels"], "kinds": KINDS}
    figures = {"seeds": seeds, "leads": leads_of(name, seeds_of), "codes": codes}
    write_result(f"codes_real_{name}", {**figures, "cut": SETS[name].cut, "settings": trunk})


if __name__ == "__main__":
    main()
