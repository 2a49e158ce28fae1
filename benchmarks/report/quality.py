"""How good the lists are on real data, beside the baselines of the same harness."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.report.names import METRICS, called
from benchmarks.report.page import Found, Section, lead


def _first(found: Found) -> Found:
    first: Found = next(iter(found["seeds"].values()))
    return first


def _values(found: Found, model: str, metric: str) -> list[float]:
    return [one["models"][model][metric] for one in found["seeds"].values()]


def _mean(found: Found, model: str, metric: str) -> float:
    return statistics.fmean(_values(found, model, metric))


def _metrics(found: Found) -> list[str]:
    """Return what was measured of every model."""
    models = _first(found)["models"].values()
    return [name for name in METRICS if all(name in one for one in models)]


def _ranked(found: Found) -> list[str]:
    """Return the models, the best nDCG first."""
    return sorted(_first(found)["models"], key=lambda model: -_mean(found, model, "ndcg_10"))


def _leads(found: Found) -> list[tuple[str, Found]]:
    """Return the lead of HSTU over the best baseline in nDCG@10: by seed, then pooled if told."""
    each = [
        (f"seed {seed}", one["hstu_ahead"])
        for seed, one in found["seeds"].items()
        if "hstu_ahead" in one
    ]
    if pooled := found.get("ahead"):
        each.append((f"all {pooled['seeds']} seeds, paired by investor", pooled))
    return each


def _counting(found: Found) -> list[Found]:
    """Return the leads that count: the pooled one if it is told, else that of each seed."""
    return [found["ahead"]] if found.get("ahead") else [one for _, one in _leads(found)]


def _headline(found: Found) -> str:
    leads = _counting(found)
    if not leads:
        return "lead not recorded"
    over = "/".join(sorted({called(one["of"]) for one in leads}))
    if len(leads) == 1:
        return f"{lead(leads[0])} nDCG over {over}"
    means = [one["mean"] for one in leads]
    return f"{min(means):+.4f} to {max(means):+.4f} nDCG over {over} by seed"


def _knows_demand(found: Found) -> bool:
    """Whether a baseline was given the knowledge that the model has beside its network."""
    return "demand_leaning" in _first(found)["models"]


def _above_ease(found: Found) -> list[bool]:
    """Return whether HSTU has the better mean nDCG, and whether no interval of its lead holds 0."""
    leads = _counting(found)
    return [
        _mean(found, "hstu", "ndcg_10") > _mean(found, "ease", "ndcg_10"),
        bool(leads) and all(one["low"] > 0 for one in leads),
        *[False] * (not _knows_demand(found)),
    ]


def _beats_sasrec(found: Found) -> list[bool]:
    hr, ndcg = (_mean(found, "hstu", name) for name in ("hr_10", "ndcg_10"))
    rivals = [_mean(found, "sasrec", name) for name in ("hr_10", "ndcg_10")]
    return [hr >= 0.295, ndcg >= 0.168, hr >= 1.08 * rivals[0], ndcg >= 1.08 * rivals[1]]


def _bench(name: str, numbers: str) -> str:
    """Say by which command a set is measured."""
    return f'`make bench-quality SET={name} SEEDS="{numbers}"`, official files in `TESSERA_DATA`'


def _both(found: Found) -> list[tuple[str, Found, Found]]:
    """Return HSTU as it is and as the variant, on the seeds that both results have."""
    full = found["beside"]["figures"]["seeds"] if "beside" in found else {}
    return [
        (seed, full[seed]["models"]["hstu"], one["models"]["hstu"])
        for seed, one in found["seeds"].items()
        if seed in full
    ]


def _lost(found: Found, metric: str) -> list[float]:
    return [bare[metric] - full[metric] for _, full, bare in _both(found)]


def _differing(found: Found) -> list[str]:
    """Name the settings in which a variant differs from what it is laid beside."""
    whole = found["beside"]["figures"]["settings"]
    return [name for name, value in found["settings"].items() if whole.get(name, value) != value]


_GIVEN: dict[str, Any] = {
    "bench": _bench,
    "first": _first,
    "headline": _headline,
    "leads": _leads,
    "mean": _mean,
    "metrics": _metrics,
    "ranked": _ranked,
    "values": _values,
}


def _far_trans(year: str, *, published: bool) -> Section:
    """Tell a half-year of FAR-Trans, on what is on sale or by the published protocol."""
    return Section(
        "quality_far-trans",
        {"above": _above_ease},
        _GIVEN | {"year": year, "published": published, "knows_demand": _knows_demand},
        f"quality_far-trans-{year}" + ("-published" if published else ""),
    )


def _variant(name: str) -> Section:
    return Section(
        "quality_variant",
        {},
        _GIVEN | {"variant": name, "both": _both, "lost": _lost, "differing": _differing},
        f"quality_movielens-{name}",
        beside="quality_movielens",
    )


SECTIONS = (
    Section("quality_movielens", {"beats_sasrec": _beats_sasrec}, _GIVEN),
    Section("quality_movielens-large", {}, _GIVEN),
    Section(
        "quality_beauty",
        {
            "both": lambda f: [
                _mean(f, "sasrec", "hr_10") >= 0.088,
                _mean(f, "hstu", "hr_10") >= 0.0788,
            ]
        },
        _GIVEN,
    ),
    *(_far_trans(year, published=way) for way in (False, True) for year in ("2020", "2021")),
    *map(_variant, ("no-time", "no-weights", "shared")),
)
