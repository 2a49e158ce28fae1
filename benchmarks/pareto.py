"""How close one model comes to lists that are both acquired and profitable, on FAR-Trans.

Usage: python -m benchmarks.pareto [--seeds 0 1 2]   with the official files in TESSERA_DATA
The trunk is trained once for all weights; for each weight on the profit head the mix of the other
parts is chosen again on the validation period.  Every baseline is a point of the same table.
A killed run resumes after the last seed of a protocol that was finished by the same code.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import ROOT, asked_seeds, write_result
from benchmarks.places import run_alone
from benchmarks.quality import BEFORE, ON_SALE, SETS, UNBORN, key_of, params_of, place_of
from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.split import VALIDATION
from tessera.contracts.tables import LISTS
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.training.fit import Task, fit
from tessera.model.training.vector_mix import choose_mix
from tessera.model.trunk.lists import rank_users, write_lists
from tessera.platform.pipeline.runner import call
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import Stage, find, stages
from tessera.platform.workspace.params import Sections
from tessera.platform.workspace.paths import Workspace

_WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0)
_BELOW = ("two_tower", "sasrec", "als")
"""Baselines named below their point, as they lie close to others."""
_PICTURE = ROOT / "docs" / "pictures" / "pareto.png"
_SET = "far-trans-2021"
_PROTOCOLS: dict[str, dict[str, dict[str, Any]]] = {
    "only what is on sale at the cut": ON_SALE,
    "all assets, as published": UNBORN,
}


class _Weights(Stage):
    """The stage `hstu`, but for what it lists."""

    @property
    def entry_point(self) -> str:
        return "benchmarks.pareto"


def run(
    *,
    params: HstuParams,
    split: Path,
    scratch: Path,
    lists: Path,
    **given: Any,
) -> dict[str, float]:
    """List items at each weight, and nothing else.

    Returns
    -------
    dict of str to float
        The mix of each part, chosen at each weight.
    """
    with threads(params.threads):
        sources = Sources(*(given[name] for name in Sources.__annotations__))
        profits = params.model_copy(update={"profit_weight": max(_WEIGHTS)})
        world = read_dataset(sources, split, scratch, profits)
        judged = fit("hstu", world, profits.model_copy(update={"refit": False}), scratch).model
        model = fit("hstu", world, profits, scratch).model if params.refit else judged
        asked = world.ask(VALIDATION, params)
        parts = []
        told: dict[str, float] = {}
        for weight in _WEIGHTS:
            weighed = params.model_copy(update={"profit_weight": weight})
            # The refit model has learnt the validation period, so that nothing can be chosen on it.
            if judged.shape.profits:
                judged.closed_form.let(profit=weight)
            task = Task(world, weighed, judged.shape, None, asked)  # chooses alone: no slates
            choose_mix(judged, task.mix_values(judged))
            model.closed_form.let(**judged.closed_form.mix)
            task.learn_closed_form(model, at_cut=True)
            name = f"@{weight}"
            told |= {f"{part}{name}": mix for part, mix in model.closed_form.mix.items()}
            parts.append(rank_users(model, world, weighed, name))
    write_lists(parts, LISTS, lists)
    return told


def _measure(protocol: str, seed: int) -> dict[str, Any]:
    asked = replace(SETS[_SET], changes=_PROTOCOLS[protocol])
    number = list(_PROTOCOLS).index(protocol)
    workspace, params = place_of(f"pareto-{number}", asked), params_of(asked, seed)
    kept, key = workspace.data / f"points_{seed}.json", f"{key_of(params)} {_WEIGHTS}"
    done: dict[str, Any] = files.read_json(kept) if kept.exists() else {}
    if done.get("key") == key:
        return done
    for stage in BEFORE:
        run_alone(workspace, stage, params)
    mixes = _listed(workspace, params)
    for stage in ("baselines", "evaluate"):
        run_alone(workspace, stage, params)
    table = files.read_json(workspace.artifact("ranking"))
    points = {
        model: {
            "ndcg_10": round(one["ndcg_10"], 4),
            "roi_10": round(one["roi_10"], 4),
            **_interval(table["profit"]["roi_10"].get(model)),
        }
        for model, one in table["models"].items()
    }
    market = round(table["profit"]["market"]["mean"], 4)
    done = {"key": key, "points": points, "mixes": mixes, "market_roi": market}
    done |= {"users": table["users"]}
    files.write_json(done, kept)
    return done


def _listed(workspace: Workspace, params: Sections) -> dict[str, float]:
    """Train and write `lists` into the place; return the mixes."""
    hstu = find("hstu", stages("far_trans"))
    assert hstu is not None
    listed = _Weights(**{part.name: getattr(hstu, part.name) for part in fields(hstu)})
    folder, scratch = workspace.data / ".staging" / "pareto", workspace.data / ".scratch" / "pareto"
    files.remove(folder)
    folder.mkdir(parents=True)
    files.remove(scratch)  # a checkpoint does not know of which code it is
    mixes = call(listed, workspace, params, folder, scratch)
    files.move_into_place(folder / ARTIFACTS["lists"].filename, workspace.artifact("lists"))
    return mixes


def _interval(found: dict[str, float] | None) -> dict[str, list[float]]:
    """Bounds over the redrawn assets."""
    return {"roi_10_interval": [round(found[end], 4) for end in ("low", "high")]} if found else {}


def _joined(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Lay the seeds of a protocol side by side."""
    first = found[0]
    points = {
        model: {name: [one["points"][model][name] for one in found] for name in point}
        for model, point in first["points"].items()
    }
    same = {name: first[name] for name in ("market_roi", "users")}
    return {"points": points, "mixes": [one["mixes"] for one in found], **same}


def _draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw every model as the mean over the seeds, and HSTU as a curve over the weights."""
    with rc_context(rcParamsDefault):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (protocol, one) in zip(figure.subplots(1, 2), found.items(), strict=True):
            at = {
                model: (100 * fmean(point["roi_10"]), fmean(point["ndcg_10"]))
                for model, point in one["points"].items()
            }
            curve = [at[f"hstu@{weight}"] for weight in _WEIGHTS]
            axes.plot(*zip(*curve, strict=True), "o-", label="HSTU by weight on profit")
            for weight, point in zip(_WEIGHTS, curve, strict=True):
                axes.annotate(f"{weight:g}", point, (4, 4), textcoords="offset points")
            for model, point in at.items():
                if not model.startswith("hstu@"):
                    axes.plot(*point, "s", color="grey")
                    below = (-4, -11) if model in _BELOW else (5, 3)
                    axes.annotate(
                        model, point, below, textcoords="offset points", color="grey", fontsize=8
                    )
            axes.axvline(100 * one["market_roi"], linestyle="--", color="grey", label="market")
            axes.set(title=protocol, xlabel="ROI@10, % a month", ylabel="nDCG@10")
            axes.legend(loc="lower left")
        figure.savefig(path, dpi=110)


def main() -> None:
    """Measure every protocol, write results/pareto.json and draw docs/pictures/pareto.png."""
    seeds = asked_seeds(__doc__)
    found = {
        protocol: _joined([_measure(protocol, seed) for seed in seeds]) for protocol in _PROTOCOLS
    }
    write_result("pareto", {"seeds": seeds, "protocols": found})
    _draw(found, _PICTURE)


if __name__ == "__main__":
    main()
