"""What parts of the model are worth: profit, ablation, one model for two tasks."""

from __future__ import annotations

import math
import statistics

from benchmarks.told.page import Figure, Found, Section, bold, interval, parts, seeds, table
from benchmarks.told.quality import model_name
from tessera.pipeline.ablate import FIGURES, WHOLE, WITH, change, row_name

_PUBLISHED = "all assets, as published"
_WEIGHED = "hstu@"


def _weights(found: Found) -> dict[str, Found]:
    """Return the points of HSTU by weight, where every asset may be listed."""
    points = found["protocols"][_PUBLISHED]["points"]
    return {name: one for name, one in points.items() if name.startswith(_WEIGHED)}


def _profitable(found: Found) -> list[Found]:
    market = found["protocols"][_PUBLISHED]["market_roi"]
    return [one for one in _weights(found).values() if one["roi_10"] > market]


def _best_baseline(found: Found) -> float:
    points = found["protocols"][_PUBLISHED]["points"]
    rivals = (one for name, one in points.items() if not name.startswith(_WEIGHED))
    return max(float(one["ndcg_10"]) for one in rivals)


def _pareto_told(found: Found) -> str:
    above = _profitable(found)
    if not above:
        return "no weight earns more than the market"
    best = max(above, key=lambda one: one["ndcg_10"])
    market = found["protocols"][_PUBLISHED]["market_roi"]
    return (
        f"nDCG {best['ndcg_10']:.4f} (best baseline {_best_baseline(found):.4f}) with ROI "
        f"{best['roi_10']:.4f} (market {market:.4f})"
    )


def _pareto_table(found: Found) -> str:
    protocols = found["protocols"]
    told = "; ".join(
        f"{name}: {one['users']:,} users, ROI of the market {one['market_roi']:.4f}"
        for name, one in protocols.items()
    )
    rows = []
    for model in protocols[_PUBLISHED]["points"]:
        name, _, weight = model.partition("@")
        row = [model_name(name) + (f", weight {weight}" if weight else "")]
        for one in protocols.values():
            point = one["points"][model]
            roi = bold(f"{point['roi_10']:.4f}", when=point["roi_10"] > one["market_roi"])
            row += [f"{point['ndcg_10']:.4f}", f"{roi} {interval(point['roi_10_interval'])}"]
        rows.append(row)
    titles = [f"{name}: {metric}" for name in protocols for metric in ("nDCG@10", "ROI@10")]
    return parts(
        f"{told}. ROI above the market is in bold; beside it stands its 95 % interval.",
        table(["model", *titles], rows),
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
        "say yes. A part that is off by default stands as *with* it, and is not asked to earn "
        "anything.",
        table(["", *(FIGURES[name] for name in names)], [[WHOLE, *whole], *rows]),
    )


_PLANTED = {
    "recall_alone": "recall alone",
    "ranking_alone": "ranking alone, pruned",
    "all_layers": "ranking alone, without pruning",
    "without_mask": "ranking alone, without hidden actions",
    "joint_10": "both, ranking loss weighs 10",
    "joint_10_without_mask": "the same without hidden actions",
    "joint_30": "both, ranking loss weighs 30",
    "joint_30_without_mask": "the same without hidden actions",
    "few_labels_scratch": "one label in twenty, ranking from scratch",
    "few_labels_pretrained": "one label in twenty, pre-trained on histories",
    "all_labels_pretrained": "all labels, pre-trained on histories",
}
_SCORES = {"recall_50": "Recall@50", "auc": "slate AUC"}


def _planted_table(found: Found) -> str:
    mean = found["mean"]
    rows = [
        [words, *(f"{mean[key]:.4f}" if (key := f"{name}_{s}") in mean else "" for s in _SCORES)]
        for name, words in _PLANTED.items()
    ]
    told = seeds(found["seeds"])
    return parts(f"Means of {told}.", table(["trained for", *_SCORES.values()], rows))


def _planted_checks(found: Found) -> list[bool]:
    """Judge the joint model at the weight that serves it better, pruning, and pre-training."""
    mean = found["mean"]
    recall, ranking = mean["recall_alone_recall_50"], mean["ranking_alone_auc"]
    return [
        any(
            mean[f"joint_{weight}_recall_50"] >= 0.99 * recall
            and mean[f"joint_{weight}_auc"] >= 0.99 * ranking
            for weight in (10, 30)
        ),
        abs(mean["all_layers_auc"] - ranking) <= 0.002,
        _pretraining(found) >= 0.01,
    ]


def _pretraining(found: Found) -> float:
    few = found["mean"]
    return float(few["few_labels_pretrained_auc"] - few["few_labels_scratch_auc"])


def _planted_told(found: Found) -> str:
    mean = found["mean"]
    pruning = mean["ranking_alone_auc"] - mean["all_layers_auc"]
    joint = [
        f"{name} jointly {mean[f'joint_30_{score}'] / mean[alone] - 1:+.1%}"
        for score, name, alone in (
            ("recall_50", "Recall@50", "recall_alone_recall_50"),
            ("auc", "AUC", "ranking_alone_auc"),
        )
    ]
    return f"{', '.join(joint)}; pruning {pruning:+.4f}; pre-training {_pretraining(found):+.4f}"


SECTIONS = (
    Section(
        "pareto",
        "Acquired and profitable",
        "What FAR-Trans at 2021-07-01 gives when past returns may count: one HSTU, listed with "
        "each weight on profit (`hstu.profit_weight`; 0 is none), beside every baseline. nDCG@10 "
        "is about what investors acquire, ROI@10 about what it returns a month.",
        "`make bench-pareto`, official files in `TESSERA_DATA`",
        (
            Figure(
                "FAR-Trans at 2021-07-01, one HSTU by weight on profit",
                "the whole curve; one weight with nDCG above every baseline and ROI above the "
                "market (nDCG from .27 with such an ROI stands nowhere in print)",
                _pareto_told,
                lambda f: [
                    len(_weights(f)) > 1,
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
        "A world drawn for the purpose, whose answers are known: does one model for recall (the "
        "next item among 50) and ranking (clicked above not clicked in a slate) cost anything "
        "beside one for each, does pruning, and does pre-training help where labels are few.",
        "`make bench`, alone `python -m benchmarks acceptance`",
        (
            Figure(
                "planted world: one model for two tasks; pruning; few labels",
                "joint within 1 % of each alone; AUC without pruning within .002; +.01 AUC by "
                "pre-training",
                _planted_told,
                _planted_checks,
            ),
        ),
        _planted_table,
    ),
)
