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
        "much a training differs from the next; the one over seeds knows both.",
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


def _gains(found: Found, name: str) -> bool:
    """Say whether a difference lies above zero by two standard errors over seeds."""
    gap = found["differences"][name]
    return gap["error_seeds"] is not None and gap["mean"] > 2 * gap["error_seeds"]


def _told_gap(found: Found, name: str) -> str:
    gap = found["differences"][name]
    error = "" if gap["error_seeds"] is None else f" (standard error {gap['error_seeds']:.4f})"
    return f"{gap['mean']:+.4f}{error}"


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
                lambda f: [share >= -0.01 for share in _one_for_two(f)],
            ),
            Figure(
                "planted world: what guessing hidden actions adds to the joint model's AUC",
                "above 0, by two standard errors",
                lambda f: _told_gap(f, "mask"),
                lambda f: [_gains(f, "mask")],
            ),
            Figure(
                "planted world: AUC with query pruning less that without",
                "within .002",
                lambda f: _told_gap(f, "pruning"),
                lambda f: [abs(_gap(f, "pruning")) < 0.002],
            ),
            Figure(
                "planted world: AUC pre-trained on histories less that from scratch",
                "at least .01 with one label in twenty, and less with all",
                lambda f: (
                    f"one in twenty {_told_gap(f, 'few_labels')}, all {_told_gap(f, 'all_labels')}"
                ),
                lambda f: [
                    _gap(f, "few_labels") >= 0.01,
                    _gap(f, "all_labels") < _gap(f, "few_labels"),
                ],
            ),
        ),
        _planted_table,
    ),
)
