"""How close one model comes to lists that are both acquired and profitable, on FAR-Trans.

Usage: python -m benchmarks.pareto [--seed 0]   with the official files in TESSERA_DATA
The trunk is trained once for all weights; for each weight on the profit head the mix of the other
parts is chosen again on the validation period.  Every baseline is a point of the same table.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT, write_result
from benchmarks.places import run_alone
from benchmarks.quality import BEFORE, SETS, params_of, place_of
from tessera.contracts.artifacts import ARTIFACTS
from tessera.hstu.fit import fit, threads
from tessera.hstu.logged import Sources
from tessera.hstu.mixing import choose_mix, learn_closed_form
from tessera.hstu.outputs import rank_test_users, write_lists
from tessera.hstu.params import HstuParams
from tessera.hstu.stage import read_world
from tessera.pipeline import files
from tessera.pipeline.catalogue import Stage, find, stages
from tessera.pipeline.runner import call

_SET = "far-trans-2021"
_WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0)
_PICTURE = ROOT / "docs" / "pictures" / "pareto.png"
_ON_SALE: dict[str, dict[str, Any]] = {
    name: {"unborn_items": False} for name in ("hstu", "evaluate")
}
_PROTOCOLS: dict[str, dict[str, dict[str, Any]]] = {
    "all assets, as published": {},
    "only what is on sale at the cut": _ON_SALE,
}


class _Weights(Stage):
    """The stage `hstu`, but for what it lists."""

    @property
    def door(self) -> str:
        return "benchmarks.pareto"


def run(
    *, params: HstuParams, split: Path, scratch: Path, lists: Path, **given: Any
) -> dict[str, float]:
    """List items at each weight, and those of SASRec; other outputs of the stage are not written.

    Returns
    -------
    dict of str to float
        The mix of each part, chosen at each weight.
    """
    with threads(params.threads):
        sources = Sources(*(given[name] for name in Sources.__annotations__))
        profits = params.model_copy(update={"profit_weight": max(_WEIGHTS)})
        world = read_world(given["events"], given["codes"], split, sources, scratch, profits)
        judged = fit("hstu", world, profits.model_copy(update={"refit": False}), scratch).model
        model = fit("hstu", world, profits, scratch).model if params.refit else judged
        parts = [rank_test_users(fit("sasrec", world, params, scratch).model, world, params)]
        told: dict[str, float] = {}
        for weight in _WEIGHTS:
            weighed = params.model_copy(update={"profit_weight": weight})
            # The refit model has learnt the validation period, so that nothing can be chosen on it.
            choose_mix(judged, world, weighed)
            model.closed_form.let(**judged.closed_form.mix)
            learn_closed_form(model, world, weighed, at_cut=True)
            name = f"@{weight}"
            told |= {f"{part}{name}": mix for part, mix in model.closed_form.mix.items()}
            parts.append(rank_test_users(model, world, weighed, name))
    write_lists(parts, lists)
    return told


def _measure(name: str, changes: dict[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    asked = SETS[_SET]
    asked = replace(asked, changes=changes)
    place, params = place_of(name, asked), params_of(asked, seed)
    for stage in BEFORE:
        run_alone(place, stage, params)
    found = find("hstu", stages("far_trans"))
    assert found is not None
    listed = _Weights(**{part.name: getattr(found, part.name) for part in fields(found)})
    folder = place.data / ".staging" / "pareto"
    files.remove(folder)
    folder.mkdir(parents=True)
    scratch = place.data / ".scratch" / "pareto"
    files.remove(scratch)  # a checkpoint does not know of which code it is
    mixes = call(listed, place, params, folder, scratch)
    files.move_into_place(folder / ARTIFACTS["lists"].filename, place.artifact("lists"))
    run_alone(place, "evaluate", params)
    table = files.read_json(place.artifact("ranking"))
    points = {
        model: {
            "ndcg_10": round(one["ndcg_10"], 4),
            "roi_10": round(one["roi_10"], 4),
            **_interval(table["profit"]["roi_10"].get(model)),
        }
        for model, one in table["models"].items()
    }
    return {
        "points": points,
        "mixes": mixes,
        "market_roi": round(table["profit"]["market"]["mean"], 4),
        "users": table["users"],
    }


def _interval(found: dict[str, float] | None) -> dict[str, list[float]]:
    """Bounds over the redrawn assets."""
    return {"roi_10_interval": [round(found[end], 4) for end in ("low", "high")]} if found else {}


def _draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw every model as a point, and HSTU as a curve over the weights."""
    with rc_context(rcParamsDefault):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (protocol, one) in zip(figure.subplots(1, 2), found.items(), strict=True):
            points = one["points"]
            curve = [points[f"hstu@{weight}"] for weight in _WEIGHTS]
            axes.plot(
                [100 * point["roi_10"] for point in curve],
                [point["ndcg_10"] for point in curve],
                "o-",
                label="HSTU by weight on profit",
            )
            for weight, point in zip(_WEIGHTS, curve, strict=True):
                axes.annotate(f"{weight:g}", (100 * point["roi_10"], point["ndcg_10"]))
            for model, point in points.items():
                if not model.startswith("hstu@"):
                    axes.plot(100 * point["roi_10"], point["ndcg_10"], "s", color="grey")
                    axes.annotate(model, (100 * point["roi_10"], point["ndcg_10"]), color="grey")
            axes.axvline(100 * one["market_roi"], linestyle="--", color="grey", label="market")
            axes.set(title=protocol, xlabel="ROI@10, % a month", ylabel="nDCG@10")
            axes.legend(loc="lower left")
        figure.savefig(path, dpi=110)


def main() -> None:
    """Measure both protocols, write results/pareto.json and draw docs/pictures/pareto.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not os.environ.get("TESSERA_DATA"):
        parser.error("name the folder with the official files in TESSERA_DATA")
    found = {
        protocol: _measure(f"pareto-{number}", changes, given.seed)
        for number, (protocol, changes) in enumerate(_PROTOCOLS.items())
    }
    write_result("pareto", {"seed": given.seed, "protocols": found})
    _draw(found, _PICTURE)


if __name__ == "__main__":
    main()
