"""What parts of the model are worth: profit, ablation, one model for two tasks."""

from __future__ import annotations

import math
import statistics

from scipy.stats import t as student

from benchmarks.report.page import (
    Figure,
    Found,
    Section,
    bold,
    interval,
    parts,
    seeds,
    spread,
    table,
)
from benchmarks.report.quality import model_name
from tessera.platform.pipeline.ablate import FIGURES, WHOLE, WITH, change, row_name

_PRIMARY = "only what is on sale at the cut"
_WEIGHED = "hstu@"


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


def _pareto_told(found: Found) -> str:
    above = _profitable(found)
    if not above:
        return "no weight earns more than the market"
    best = max(above, key=lambda one: one["ndcg_10"])
    market = found["protocols"][_PRIMARY]["market_roi"]
    return (
        f"nDCG {best['ndcg_10']:.4f} (best baseline {_best_baseline(found):.4f}) with ROI "
        f"{best['roi_10']:.4f} (market {market:.4f}); {seeds(found['seeds'])}"
    )


def _protocol_table(name: str, one: Found) -> str:
    rows = []
    for model, point in one["points"].items():
        own, _, weight = model.partition("@")
        roi = spread(point["roi_10"])
        rows.append(
            [
                model_name(own) + (f", weight {weight}" if weight else ""),
                spread(point["ndcg_10"]),
                bold(roi, when=statistics.fmean(point["roi_10"]) > one["market_roi"]),
                interval(point["roi_10_interval"][0]),
            ]
        )
    titles = ["model", "nDCG@10", "ROI@10", "95 % interval of ROI, first seed"]
    told = f"{name}: {one['users']:,} users, ROI of the market {one['market_roi']:.4f}."
    return parts(told, table(titles, rows))


def _pareto_table(found: Found) -> str:
    protocols = sorted(found["protocols"].items(), key=lambda pair: pair[0] != _PRIMARY)
    return parts(
        f"{seeds(found['seeds'])}: mean (range). ROI above the market is in bold.",
        *(_protocol_table(name, one) for name, one in protocols),
        "![nDCG@10 and ROI@10 of every model](pictures/pareto.png)",
    )


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


def _ablation_told(found: Found) -> str:
    earning = _earning(found)
    return (
        f"without {sum(earning)} of {len(earning)} parts some figure falls ({seeds(found[WHOLE])})"
    )


def _ablation_table(found: Found) -> str:
    names = [name for name in FIGURES if name in found[WHOLE][0]]
    whole = [f"{statistics.fmean(one[name] for one in found[WHOLE]):.4f}" for name in names]
    rows = [
        [row_name(part), *(change(found, part, name) or "none" for name in names)]
        for part in found
        if part != WHOLE
    ]
    return parts(
        f"{seeds(found[WHOLE])}. A part counts as earning its place if some figure falls without "
        "it, with several seeds by two standard errors. One seed tells no noise, so that it cannot "
        "say yes. ± is the standard deviation over the seeds. A part that is off by default stands "
        "as *with* it, and is not asked to earn anything.",
        table(["", *(FIGURES[name] for name in names)], [[WHOLE, *whole], *rows]),
    )


_PLANTED = {
    "recall_alone": "recall alone",
    "ranking_alone": "ranking alone, from scratch",
    "joint": "both",
    "joint_without_mask": "both, without hidden actions",
    "joint_all_layers": "both, without pruning",
    "pretrained": "both, pre-trained on histories",
    "few_ranking_alone": "one label in twenty: ranking alone",
    "few_joint": "one label in twenty: both",
    "few_pretrained": "one label in twenty: both, pre-trained on histories",
}
_SCORES = {"recall_50": "Recall@50", "auc": "slate AUC"}
_GAPS = {
    "joint_recall": "Recall@50: both, above recall alone",
    "joint_ranking": "AUC: both, above ranking alone",
    "mask": "AUC: both, above the same without hidden actions",
    "pruning": "AUC: both, above the same without pruning",
    "few_labels": "AUC with one label in twenty: pre-trained, above from scratch",
    "few_labels_joint": "AUC with one label in twenty: pre-trained, above both from the start",
    "all_labels": "AUC with all labels: pre-trained, above from scratch",
}


def _planted_mean(found: Found, name: str, score: str) -> float:
    return statistics.fmean(one[name][score] for one in found["seeds"].values())


def _planted_table(found: Found) -> str:
    one = next(iter(found["seeds"].values()))
    rows = [
        [
            words,
            *(f"{_planted_mean(found, name, s):.4f}" if s in one[name] else "" for s in _SCORES),
        ]
        for name, words in _PLANTED.items()
    ]
    gaps = [
        [
            words,
            f"{gap['mean']:+.4f}",
            ", ".join(f"{value:+.4f}" for value in gap["by_seed"]),
            f"{gap['error_users']:.4f}",
            f"{gap['error_seeds']:.4f}" if gap["error_seeds"] is not None else "",
        ]
        for gap, words in ((found["differences"][name], words) for name, words in _GAPS.items())
    ]
    return parts(
        f"Means of {seeds(found['seeds'])}; of a seed, means over the users that nobody learnt "
        f"from. Who knows every taste gets an AUC of {found['best_auc']:.4f}.",
        table(["trained for", *_SCORES.values()], rows),
        "The standard error over users pairs the two models by user, and knows nothing of how "
        "much a training differs from the next; the one over seeds knows both. *Give or take* is "
        "the larger of the two times Student's quantile for so few seeds, 95 % one-sided; what is "
        "asked must hold with it, too.",
        table(["difference", "mean", "by seed", "error, users", "error, seeds"], gaps),
    )


def _gap(found: Found, name: str) -> float:
    return float(found["differences"][name]["mean"])


def _relative(found: Found, name: str, score: str, alone: str) -> float:
    return _gap(found, name) / _planted_mean(found, alone, score)


def _one_for_two(found: Found) -> tuple[float, float]:
    """Return by what share the joint model is above a model for each task alone."""
    return (
        _relative(found, "joint_recall", "recall_50", "recall_alone"),
        _relative(found, "joint_ranking", "auc", "ranking_alone"),
    )


def _sway(found: Found, name: str) -> float:
    """Return how far off a mean over seeds may be, 95 % one-sided; infinite for one seed.

    The error over seeds contains that over users, so it is not trusted where it is smaller.
    """
    gap = found["differences"][name]
    if gap["error_seeds"] is None:
        return math.inf
    error = max(gap["error_seeds"], gap["error_users"])
    return float(student.ppf(0.95, len(gap["by_seed"]) - 1) * error)


def _told_gap(found: Found, name: str) -> str:
    sway = _sway(found, name)
    told = "" if math.isinf(sway) else f" (give or take {sway:.4f})"
    return f"{_gap(found, name):+.4f}{told}"


def _clear(found: Found, name: str, least: float) -> list[bool]:
    """Say whether a difference is large enough, and whether that is more than chance."""
    gap = _gap(found, name)
    return [gap >= least, gap - _sway(found, name) >= least]


def _one_for_two_checks(found: Found) -> list[bool]:
    least = -0.01 * _planted_mean(found, "recall_alone", "recall_50")
    recall = _clear(found, "joint_recall", least)
    least = -0.01 * _planted_mean(found, "ranking_alone", "auc")
    return recall + _clear(found, "joint_ranking", least)


def _pruning_checks(found: Found) -> list[bool]:
    far = abs(_gap(found, "pruning"))
    return [far < _PRUNED, far + _sway(found, "pruning") < _PRUNED]


_PRUNED = 0.002
_PRETRAINED = 0.01


SECTIONS = (
    Section(
        "pareto",
        "Acquired and profitable",
        "What FAR-Trans at 2021-07-01 gives when past returns may count: one HSTU, listed with "
        "each weight on profit (`hstu.profit_weight`; 0 is none), beside every baseline. nDCG@10 "
        "is about what investors acquire, ROI@10 about what it returns a month. It is one date, "
        "which proves nothing about profit (all rolling dates stand under *FAR-Trans on sale, by "
        "rolling cuts*), and the baselines of this record do not know demand. *All assets, as "
        "published* includes what is issued later, which the catalogue tells.",
        "`make bench-pareto`, official files in `TESSERA_DATA`",
        (
            Figure(
                "FAR-Trans at 2021-07-01, one HSTU by weight on profit",
                "the whole curve, on what is on sale; one weight with nDCG above every baseline "
                "and ROI above the market",
                _pareto_told,
                lambda f: [
                    any(one["ndcg_10"] > _best_baseline(f) for one in _profitable(f)),
                ],
            ),
        ),
        _pareto_table,
    ),
    Section(
        "ablation",
        "The market without each part of the model",
        "How the figures of stage `hstu` change when it is trained again without one feature "
        "group, bias, loss or closed form, or with one that is off by default; a minus without a "
        "part is what it is worth. The cut is the last "
        "moment that training may learn from, validation lies before it and also chose the epoch.",
        "`make run`, then `make bench-ablation`",
        (
            Figure(
                "the market without each part of the model",
                "every part earns its place, or is off by default",
                _ablation_told,
                lambda f: [*_earning(f), len(f[WHOLE]) > 1],
            ),
        ),
        _ablation_table,
    ),
    Section(
        "acceptance",
        "One model for recall and ranking",
        "A world drawn for the purpose, whose answers are known, with much history and few "
        "slates: does one model for recall (the next item among 50) and ranking (clicked above "
        "not clicked in a slate) cost anything beside one for each, does pruning, and do hidden "
        "actions and pre-training help.",
        "`make bench`, alone `python -m benchmarks acceptance`",
        (
            Figure(
                "planted world: one model for recall and ranking",
                "Recall@50 and AUC each at most 1 % below a model of its own",
                lambda f: "Recall@50 {:+.1%}, AUC {:+.1%}".format(*_one_for_two(f)),
                _one_for_two_checks,
            ),
            Figure(
                "planted world: what guessing hidden actions adds to the joint model's AUC",
                "above 0",
                lambda f: _told_gap(f, "mask"),
                lambda f: _clear(f, "mask", 0.0),
            ),
            Figure(
                "planted world: AUC with query pruning less that without",
                "within .002",
                lambda f: _told_gap(f, "pruning"),
                _pruning_checks,
            ),
            Figure(
                "planted world: AUC pre-trained on histories less that of ranking from scratch",
                "at least .01 with one label in twenty, beside both from the start, too; less with "
                "all labels",
                lambda f: (
                    f"one in twenty {_told_gap(f, 'few_labels')}, beside both from the start "
                    f"{_told_gap(f, 'few_labels_joint')}; all {_told_gap(f, 'all_labels')}"
                ),
                lambda f: [
                    *_clear(f, "few_labels", _PRETRAINED),
                    *_clear(f, "few_labels_joint", _PRETRAINED),
                    _gap(f, "all_labels") < _gap(f, "few_labels"),
                ],
            ),
        ),
        _planted_table,
    ),
)
