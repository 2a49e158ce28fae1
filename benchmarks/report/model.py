"""What parts of the model are worth: profit, ablation, one model for two tasks."""

from __future__ import annotations

import math
import statistics

from scipy.stats import t as student

from benchmarks.report.page import Found, Section
from tessera.platform.pipeline.ablate import FIGURES, WHOLE, WITH, change, row_name

_PRIMARY = "only what is on sale at the cut"
_WEIGHED = "hstu@"
_PRUNED, _PRETRAINED = 0.002, 0.01


def _points(found: Found) -> dict[str, dict[str, float]]:
    """Return the mean over the seeds of every model, where what is on sale may be listed."""
    points = found["protocols"][_PRIMARY]["points"]
    return {
        model: {name: statistics.fmean(point[name]) for name in ("ndcg_10", "roi_10")}
        for model, point in points.items()
    }


def _profitable(found: Found) -> list[dict[str, float]]:
    """Return HSTU at the weights whose lists earn more than the market."""
    market = found["protocols"][_PRIMARY]["market_roi"]
    weighed = (one for name, one in _points(found).items() if name.startswith(_WEIGHED))
    return [one for one in weighed if one["roi_10"] > market]


def _best_baseline(found: Found) -> float:
    points = _points(found).items()
    return max(one["ndcg_10"] for name, one in points if not name.startswith(_WEIGHED))


def _protocols(found: Found) -> list[tuple[str, Found]]:
    return sorted(found["protocols"].items(), key=lambda pair: pair[0] != _PRIMARY)


def _measured(found: Found) -> dict[str, str]:
    return {name: title for name, title in FIGURES.items() if name in found[WHOLE][0]}


def _falls(found: Found, part: str) -> bool:
    """Say whether a figure falls without the part, by two standard errors if seeds tell them."""
    for name in FIGURES:
        pairs = zip(found[WHOLE], found[part], strict=True)
        lost = [bare[name] - one[name] for one, bare in pairs if name in bare and name in one]
        if not lost:
            continue
        error = statistics.stdev(lost) / math.sqrt(len(lost)) if len(lost) > 1 else 0.0
        if statistics.fmean(lost) + 2 * error < 0:
            return True
    return False


def _earning(found: Found) -> list[bool]:
    return [_falls(found, part) for part in found if part != WHOLE and not part.startswith(WITH)]


def _planted(found: Found, name: str, score: str) -> float | str:
    """Return the mean over the seeds of a training; nothing where it has no such score."""
    scores = [one[name][score] for one in found["seeds"].values() if score in one[name]]
    return statistics.fmean(scores) if scores else ""


def _gap(found: Found, name: str) -> float:
    return float(found["differences"][name]["mean"])


def _several(found: Found, name: str) -> bool:
    """Whether there are seeds enough to tell how much a training differs from the next."""
    return found["differences"][name]["error_seeds"] is not None


def _sway(found: Found, name: str) -> float:
    """Return how far off a mean over seeds may be, 95 % one-sided; infinite for one seed.

    The error over seeds contains that over users, so it is not trusted where it is smaller.
    """
    gap = found["differences"][name]
    if not _several(found, name):
        return math.inf
    error = max(gap["error_seeds"], gap["error_users"])
    return float(student.ppf(0.95, len(gap["by_seed"]) - 1) * error)


def _clear(found: Found, name: str, least: float) -> list[bool]:
    """Say whether a difference is large enough, and whether that is more than chance."""
    gap = _gap(found, name)
    return [gap >= least, gap - _sway(found, name) >= least]


def _one_for_two(found: Found) -> list[bool]:
    """Say whether recall and ranking each lose at most 1 % beside a model of their own."""
    recall, ranking = (
        -0.01 * float(_planted(found, name, score))
        for name, score in (("recall_alone", "recall_50"), ("ranking_alone", "auc"))
    )
    return _clear(found, "joint_recall", recall) + _clear(found, "joint_ranking", ranking)


def _pruning(found: Found) -> list[bool]:
    far = abs(_gap(found, "pruning"))
    return [far < _PRUNED, far + _sway(found, "pruning") < _PRUNED]


def _pretraining(found: Found) -> list[bool]:
    return [
        *_clear(found, "few_labels", _PRETRAINED),
        *_clear(found, "few_labels_joint", _PRETRAINED),
        _gap(found, "all_labels") < _gap(found, "few_labels"),
    ]


SECTIONS = (
    Section(
        "pareto",
        {"profitable": lambda f: [any(p["ndcg_10"] > _best_baseline(f) for p in _profitable(f))]},
        {
            "best_baseline": _best_baseline,
            "primary": _PRIMARY,
            "profitable": _profitable,
            "protocols": _protocols,
        },
    ),
    Section(
        "ablation",
        {"earning": lambda f: [*_earning(f), len(f[WHOLE]) > 1]},
        {
            "change": change,
            "earning": _earning,
            "measured": _measured,
            "row_name": row_name,
            "WHOLE": WHOLE,
        },
    ),
    Section(
        "acceptance",
        {
            "one_for_two": _one_for_two,
            "mask": lambda f: _clear(f, "mask", 0.0),
            "pruning": _pruning,
            "pretraining": _pretraining,
        },
        {"planted": _planted, "several": _several, "sway": _sway},
    ),
)
