"""Whether codes help on FAR-Trans once assets that nobody ever traded no longer crowd in.

Usage: python -m benchmarks.crowding [--seeds 0 1 2]   with the official files in TESSERA_DATA

Trunks with codes are laid beside the one without, at both cuts, on what is on sale.  Each is listed
as it is, with a prior against items without an event, and with none of them.  Validation alone
chooses mixes and priors; the test period decides nothing.  Leads are means over the seeds for each
investor, with an interval over the investors.  A killed run resumes behind the last whole piece.

Shapes: N test investors, U people of validation with something relevant, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import ibis
import numpy as np

from benchmarks.common import Kept, asked_seeds, each, write_result
from benchmarks.crowding_lists import K, Mix, Said, chosen, why
from benchmarks.crowding_models import CUTS, OFF, SUM, WAYS, Fitted, set_of, workspace_of
from benchmarks.quality import params_of
from tessera.contracts.arrays import Float64s
from tessera.contracts.split import TEST, VALIDATION, load_split
from tessera.model.sequences.questions import ndcg_each
from tessera.shared.metrics.bootstrap import mean_interval
from tessera.stages.evaluate.holdout import Holdout, build_holdout, read_lists
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import Slice, per_user, slice_table
from tessera.stages.evaluate.tables import rounded

_DIGITS = 5
_DRAWS = 2000
_SLICES = {"cold": ("recall_10",), "warm": ("ndcg_10", "recall_10")}
Found = dict[str, Any]


def measured(piece: tuple[str, str, int]) -> Found:
    """Train at a cut, or read what was trained, and measure every way to list."""
    cut, way, seed = piece
    fitted = Fitted.of(cut, way, seed)
    said = Said.of(fitted.judged, fitted.task, VALIDATION)
    mixes = chosen(said)
    found: Found = {"mixes": mixes, "validation": {}}
    for name, mix in mixes.items():
        lists = said.lists(mix)
        found["validation"][name] = {
            "ndcg_10": _short(ndcg_each(lists, said.asked.relevant, len(said.never_V))),
            "never": float(said.never_V[lists.item_UK].mean()),
        }
    if way == SUM:
        found["why"] = why(said, fitted.task)
    found["test"] = _tested(piece, Said.of(fitted.final, fitted.task, TEST), fitted, mixes)
    return found


def _tested(
    piece: tuple[str, str, int], said: Said, fitted: Fitted, mixes: Mapping[str, Mix]
) -> Found:
    """Measure each mix on the test period, by the protocol of `evaluate`."""
    holdout, dataset = _holdout(*piece), fitted.task.dataset
    never_I, cold_I = holdout.holders_I == 0, holdout.cold_I
    parts = {"cold": Slice(item_I=cold_I), "warm": Slice(item_I=~cold_I)}
    told: Found = {}
    for name, mix in mixes.items():
        rows = dataset.listed(name, said.asked, said.lists(mix, fitted.task.params.top))
        top_NK = read_lists(ibis.memtable(rows), holdout, K)[name]
        each_N = per_user(top_NK, holdout, (K,))
        told[name] = {one: _short(each_N[one]) for one in ("ndcg_10", "recall_10")}
        told[name]["never"] = float((never_I[top_NK] & (top_NK >= 0)).mean())
        for part, kept in parts.items():
            of = slice_table(kept, {name: top_NK}, holdout)
            told[name] |= {f"{part}_users": of["users"]}
            told[name] |= {f"{part}_{one}": of["models"][name][one] for one in _SLICES[part]}
    told["acquired"] = len(holdout.relevant_item_R)
    told["never_acquired"] = int(never_I[holdout.relevant_item_R].sum())
    return told


def _holdout(cut: str, way: str, seed: int) -> Holdout:
    workspace, params = workspace_of(cut, way), params_of(set_of(cut, way), seed)
    events, items = (ibis.read_parquet(workspace.artifact(name)) for name in ("events", "items"))
    settings = EvaluateParams(**params["evaluate"].model_dump())
    return build_holdout(events, items, load_split(workspace.artifact("split")), settings)


def _short(value_N: Float64s) -> list[float]:
    return [round(float(value), _DIGITS) for value in value_N]


def pooled(ours: list[list[float]], theirs: list[list[float]]) -> Found:
    """Return the mean lead, and an interval over the investors, each a mean over the seeds."""
    lead_N = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    found = asdict(mean_interval(lead_N, np.random.default_rng(0), draws=_DRAWS))
    return {name: round(value, _DIGITS) for name, value in found.items()}


def table(by_way: dict[str, list[Found]], period: str) -> Found:
    """Tell every way to train and to list, and its lead over no codes listed as they are."""
    told: Found = {}
    for way, seeds in by_way.items():
        told[way] = {}
        for name in seeds[0]["mixes"]:
            one = [seed[period][name] for seed in seeds]
            numbers = {k: [_mean(seed[k]) for seed in one] for k in one[0]}
            plain = name.split("_")[0]
            rivals = [seed[period][plain] for seed in by_way[OFF]]
            leads = {k: pooled([seed[k] for seed in one], [seed[k] for seed in rivals])
                     for k in one[0] if isinstance(one[0][k], list)}  # fmt: skip
            prior = [_told(seed["mixes"][name]["prior"]) for seed in seeds]
            told[way][name] = {"by_seed": numbers, "ahead": leads, "prior": prior}
    return told


def _mean(value: float | list[float]) -> float:
    return round(float(np.mean(value)), _DIGITS)


def _told(prior: float) -> float | str:
    return prior if np.isfinite(prior) else "all"


def main() -> None:
    """Measure and write results/crowding.json."""
    seeds = asked_seeds(__doc__)
    pieces = [(c, way, seed) for c, ways in CUTS.items() for way in ways for seed in seeds]
    kept = Kept("crowding", {"ways": WAYS, "cuts": CUTS})
    found = dict(zip(pieces, each(measured, pieces, "trainings", kept), strict=True))
    cuts: Found = {}
    for cut, ways in CUTS.items():
        by_way = {way: [found[cut, way, seed] for seed in seeds] for way in ways}
        cuts[cut] = {
            "validation": table(by_way, "validation"),
            "test": table(by_way, "test"),
            "test_acquired": by_way[OFF][0]["test"]["acquired"],
            "test_never_acquired": by_way[OFF][0]["test"]["never_acquired"],
            "why": [one["why"] for one in by_way.get(SUM, ())],
        }
    write_result("crowding", rounded({"seeds": seeds, "cuts": cuts}))


if __name__ == "__main__":
    main()
