"""How good the lists are on real data, beside the baselines of the same harness."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.report import published as printed
from benchmarks.report.page import (
    Figure,
    Found,
    Section,
    interval,
    parts,
    seeds,
    spread,
    table,
)

_NAMES = {
    "hstu": "HSTU",
    "hstu_session": "HSTU, last session only",
    "hstu_past": "HSTU, mixed by all validation periods so far",
    "hstu_best": "HSTU, mixed by the best mean alone",
    "hstu_trunk": "HSTU, trunk alone",
    "hstu_profit": "HSTU, the weight on profit that had returned most",
    "sasrec": "SASRec",
    "two_tower": "two-tower",
    "ease": "EASE",
    "item_knn": "item-kNN",
    "als": "ALS",
    "recent_popularity": "recent popularity",
    "popularity_demand": "popularity + demand",
    "demand_leaning": "demand x leaning",
    "ease_demand": "EASE + demand",
    "most_popular": "the ten most popular",
}
"""Names of the models where they differ from those in the results."""
METRICS = {
    "hr_10": "HR@10",
    "ndcg_10": "nDCG@10",
    "mrr_10": "MRR@10",
    "coverage_10": "coverage@10",
    "roi_10": "ROI@10",
    "cold_recall_10": "Recall@10, cold",
    "born_after_cut_recall_10": "Recall@10, born later",
}
HITS = ("hr_10", "ndcg_10")
_WHOLE = " The whole catalogue is ranked."
_WORDS = (
    "HR@10 is the share of users with a hit among the first 10, nDCG@10 weighs hits by their "
    "rank, coverage@10 is the share of the catalogue that is listed to anybody."
    f"{_WHOLE}"
)
_COLD = (
    "Cold items were never acquired before the cut, or offered only since shortly before it; items "
    "born later are first offered after it. Their recall is over the users who acquire one."
)
_ON_SALE = "Only what is on sale on the day may be listed."
_CATALOGUE = (
    "The second table, for comparison with print: all assets are ranked, also those that go on "
    "sale only later, and that they stand in the catalogue tells that they will be issued. Models "
    "that count what new assets of a class gained (demand) find them; a lead over a baseline that "
    "cannot count is knowledge of the catalogue, not of investors."
)
_MONTHLY = " ROI@10 is the mean monthly return of the first 10 over the test period."


def model_name(model: str) -> str:
    """Return what the model of this code is called."""
    _, is_weighed, weight = model.partition("hstu_profit_")
    return f"HSTU, weight {weight} on profit" if is_weighed else _NAMES.get(model, model)


def _values(found: Found, model: str, metric: str) -> list[float]:
    return [one["models"][model][metric] for one in found["seeds"].values()]


def _mean(found: Found, model: str, metric: str) -> float:
    return statistics.fmean(_values(found, model, metric))


def _models_table(found: Found) -> str:
    """List a row per model, the best nDCG first."""
    first = next(iter(found["seeds"].values()))["models"]
    metrics = [name for name in METRICS if all(name in one for one in first.values())]
    ranked = sorted(first, key=lambda model: -_mean(found, model, "ndcg_10"))
    return table(
        ["model", *(METRICS[name] for name in metrics)],
        (
            [model_name(model), *(spread(_values(found, model, name)) for name in metrics)]
            for model in ranked
        ),
    )


def _leads(found: Found) -> list[Found]:
    """Return the lead of HSTU over the best baseline in nDCG@10: pooled if told, else by seed."""
    if found.get("ahead"):
        return [found["ahead"]]
    return [one["hstu_ahead"] for one in found["seeds"].values() if "hstu_ahead" in one]


def _leads_table(found: Found) -> str:
    """List the lead of HSTU in each seed, and over all of them."""
    each = [
        (f"seed {seed}", one["hstu_ahead"])
        for seed, one in found["seeds"].items()
        if "hstu_ahead" in one
    ]
    if pooled := found.get("ahead"):
        each.append((f"all {pooled['seeds']} seeds, paired by investor", pooled))
    if not each:
        return ""
    return table(
        ["lead of HSTU in nDCG@10", "over the best baseline", "mean", "95 % interval"],
        (
            [
                name,
                model_name(one["of"]),
                f"{one['mean']:+.4f}",
                interval((one["low"], one["high"])),
            ]
            for name, one in each
        ),
    )


def tables_of(*below: str) -> Callable[[Found], str]:
    """Tell models and leads, and below them what stands in print."""

    def told(found: Found) -> str:
        first = next(iter(found["seeds"].values()))
        market = first.get("market_roi")
        return parts(
            f"{seeds(found['seeds'])}, {first['users']:,} users"
            + ("" if market is None else f"; ROI of the market {market:.4f}")
            + ("; mean over the seeds (range)." if len(found["seeds"]) > 1 else "."),
            _models_table(found),
            _COLD if "cold_recall_10" in first["models"]["hstu"] else "",
            _leads_table(found),
            *below,
        )

    return told


def told_of(*metrics: str) -> Callable[[Found], str]:
    """Tell these metrics of HSTU, and its lead."""

    def told(found: Found) -> str:
        own = ", ".join(f"{METRICS[name]} {_mean(found, 'hstu', name):.4f}" for name in metrics)
        return f"{own}; {_lead(found)}"

    return told


def _knows_demand(found: Found) -> bool:
    """Whether a baseline was given the knowledge that the model has beside its network."""
    return "demand_leaning" in next(iter(found["seeds"].values()))["models"]


def _told_with_rivals(found: Found) -> str:
    """Tell nDCG and lead, and where no baseline was given the knowledge that the model has."""
    lacks = "" if _knows_demand(found) else "; no baseline of this record knows demand"
    return f"{told_of('ndcg_10')(found)}{lacks}"


def _lead(found: Found) -> str:
    leads = _leads(found)
    if not leads:
        return "lead not told"
    over = "/".join(sorted({model_name(one["of"]) for one in leads}))
    if len(leads) == 1:
        one = leads[0]
        return f"{one['mean']:+.4f} {interval((one['low'], one['high']))} nDCG over {over}"
    means = [one["mean"] for one in leads]
    return f"{min(means):+.4f} to {max(means):+.4f} nDCG over {over} by seed"


def _above(found: Found, baseline: str) -> list[bool]:
    """Return whether HSTU has the better mean nDCG, and whether no interval of its lead holds 0."""
    leads = _leads(found)
    return [
        _mean(found, "hstu", "ndcg_10") > _mean(found, baseline, "ndcg_10"),
        bool(leads) and all(one["low"] > 0 for one in leads),
    ]


def _beats_sasrec(found: Found) -> list[bool]:
    hr, ndcg = (_mean(found, "hstu", name) for name in HITS)
    rivals = [_mean(found, "sasrec", name) for name in HITS]
    return [hr >= 0.295, ndcg >= 0.168, hr >= 1.08 * rivals[0], ndcg >= 1.08 * rivals[1]]


def command_of(name: str, numbers: str = "0 1 2") -> str:
    """Say by which command a set is measured."""
    return f'`make bench-quality SET={name} SEEDS="{numbers}"`, official files in `TESSERA_DATA`'


def _far_trans(year: str, *, published: bool) -> Section:
    """Tell a half-year of FAR-Trans, on what is on sale or by the published protocol."""
    name = f"far-trans-{year}" + ("-published" if published else "")
    title = f"FAR-Trans at {year}-07-01" + (", as published" if published else "")
    return Section(
        f"quality_{name}",
        title,
        "Which assets an investor acquires for the first time in the six months after the day, by "
        f"models that saw everything up to it. {_CATALOGUE if published else _ON_SALE} "
        f"{_WORDS if published else _WORDS.removesuffix(_WHOLE)}{_MONTHLY}",
        command_of(name),
        (
            Figure(
                title,
                "HSTU above EASE and above the best baseline (nDCG: mean and interval)",
                _told_with_rivals,
                lambda found: _above(found, "ease") + [False] * (not _knows_demand(found)),
            ),
        ),
        tables_of(printed.FAR if published else ""),
    )


SECTIONS = (
    Section(
        "quality_movielens",
        "MovieLens-1M",
        "How often the last film of a user is found, by models that saw all the others (leave "
        f"last out), on users 1 to 2999. {_WORDS}",
        command_of("movielens"),
        (
            Figure(
                "MovieLens-1M, leave last out",
                "HSTU at least .295 / .168 (HR / nDCG), and 8 % over SASRec",
                told_of(*HITS),
                _beats_sasrec,
            ),
        ),
        tables_of(printed.ML),
    ),
    Section(
        "quality_movielens-large",
        "MovieLens-1M with HSTU-large",
        "The same with 8 blocks of 2 heads instead of 2 blocks of 1. The trunk is trained alone.",
        command_of("movielens-large", "0"),
        (
            Figure(
                "MovieLens-1M with 8 blocks of 2 heads (HSTU-large)",
                "published on the whole of ML-1M: .3294 / .1893",
                told_of(*HITS),
            ),
        ),
        tables_of(printed.LARGE),
    ),
    Section(
        "quality_beauty",
        "Amazon Beauty",
        "How often the last product of a customer is found, by models that saw all the others "
        f"(leave last out), on the 5-core set of 2014. {_WORDS}",
        command_of("beauty"),
        (
            Figure(
                "Amazon Beauty, leave last out",
                "SASRec HR at least .088, HSTU .0788",
                lambda f: (
                    f"SASRec HR@10 {_mean(f, 'sasrec', 'hr_10'):.4f}, "
                    f"HSTU {_mean(f, 'hstu', 'hr_10'):.4f}; {_lead(f)}"
                ),
                lambda f: [
                    _mean(f, "sasrec", "hr_10") >= 0.088,
                    _mean(f, "hstu", "hr_10") >= 0.0788,
                ],
            ),
        ),
        tables_of(printed.BEAUTY),
    ),
    *(_far_trans(year, published=way) for way in (False, True) for year in ("2020", "2021")),
)
