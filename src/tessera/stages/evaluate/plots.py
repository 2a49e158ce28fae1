"""Curves for `dvc plots`: one column a model, so that one file is one picture.

Shapes: N test investors, K positions.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tessera.contracts.arrays import Ints
from tessera.stages.evaluate.holdout import Holdout
from tessera.stages.evaluate.report import K, per_user

CURVE_KS = (1, 2, 3, 5, 10, 20, 50)
CURVES = ("hr", "ndcg", "mrr", "recall")


def write_plots(
    table: Mapping[str, Any], tops: Mapping[str, Ints], holdout: Holdout, folder: Path
) -> None:
    """Write every file of `curves`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_curves(tops, holdout, folder)
    write_slices(table["slices"], tops, folder)
    intervals = table["intervals"]
    best = intervals[f"ndcg_{K}_minus_best_baseline"]["best_baseline"]
    draw_ranking(intervals[f"ndcg_{K}"], best, folder / "ranking.png")


def write_curves(tops: Mapping[str, Ints], holdout: Holdout, folder: Path) -> None:
    """Write `<metric>.csv` by k, one column a model."""
    means = {
        model: {key: float(v.mean()) for key, v in per_user(top_NK, holdout, CURVE_KS).items()}
        for model, top_NK in tops.items()
    }
    for metric in CURVES:
        rows = ([k, *(f"{means[m][f'{metric}_{k}']:.6f}" for m in tops)] for k in CURVE_KS)
        _write(folder / f"{metric}.csv", ["k", *tops], rows)


def write_slices(slices: Mapping[str, Any], models: Iterable[str], folder: Path) -> None:
    """Write `slices.csv`: NDCG@10 by slice, one column a model."""
    names = list(models)
    rows = (
        [part, table["users"], *(f"{table['models'][m][f'ndcg_{K}']:.6f}" for m in names)]
        for part, table in slices.items()
        if table["models"]
    )
    _write(folder / "slices.csv", ["slice", "users", *names], rows)


def draw_ranking(intervals: Mapping[str, Mapping[str, float]], best: str, path: Path) -> None:
    """Draw NDCG@10 of each model with its interval; the best baseline is the dashed line."""
    # Some libraries change the style of the whole process when they are imported.
    with rc_context(rcParamsDefault):
        _draw(intervals, best, path)


def _draw(intervals: Mapping[str, Mapping[str, float]], best: str, path: Path) -> None:
    names = sorted(intervals, key=lambda name: intervals[name]["mean"])
    figure = Figure(figsize=(7, 0.45 * len(names) + 1.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        one = intervals[name]
        colour = "#b5651d" if name == "hstu" else "#5b7c99"
        axes.barh(place, one["mean"], color=colour, height=0.6)
        axes.plot([one["low"], one["high"]], [place, place], color="#222222", linewidth=1.5)
        axes.annotate(
            f"{one['mean']:.3f}", (one["high"], place), (4, 0), textcoords="offset points",
            va="center", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(intervals[best]["mean"], color="#222222", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"NDCG@{K}, full catalogue, with bootstrap interval (dashed: best baseline)")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    # Without a version in the file, equal tables give equal bytes.
    figure.savefig(path, metadata={"Software": None})


def _write(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
