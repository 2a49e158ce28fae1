"""What decoding codes and topology in codes are worth on real data, beside what is in print."""

from __future__ import annotations

import math

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_DEFAULT, _TEXT, _TOPOLOGY = "default", "text", "topology"
_DECODED, _TRUNK, _PUBLISHED = "hstu_generative", "hstu_trunk", "hstu"
_TIGER = {"recall_10": 0.0648, "ndcg_10": 0.0384}
_MODELS = {_DECODED: "decoded", _TRUNK: "trunk alone", _PUBLISHED: "published"}
_METRICS = {
    "ndcg_10": "nDCG@10",
    "recall_10": "Recall@10",
    "recall_50": "Recall@50",
    "coverage_10": "coverage@10",
    "cold_ndcg_10": "nDCG@10, cold",
    "cold_recall_10": "Recall@10, cold",
}
_TOLD = {"ndcg_10": "nDCG@10", "recall_10": "Recall@10", "recall_50": "Recall@50"}
"""Metrics of which differences are told."""
_SIMPLE = ("sasrec", "ease")
"""Rivals in the other result of the same set that need no codes."""
WORLDS = {
    "beauty": "Amazon Beauty",
    "movielens-100k": "MovieLens-100k",
    "far-trans-2020": "FAR-Trans at 2020-07-01",
}


def _kinds(found: Found) -> list[str]:
    """Return the kinds of codes that were measured, in the order in which they are explained."""
    return [kind for kind in found["codes"]["kinds"] if _of(found, kind)]


def _of(found: Found, kind: str) -> dict[str, Found]:
    """Return seed -> what was measured of a kind."""
    return {seed: one[kind] for seed, one in found["seeds"].items() if kind in one}


def _values(found: Found, kind: str, model: str, metric: str) -> list[float]:
    models = [one["models"][model] for one in _of(found, kind).values()]
    return [one[metric] for one in models if metric in one]


def _mean(found: Found, kind: str, model: str, metric: str) -> float:
    """Return the mean over the seeds; no number where none was measured."""
    values = _values(found, kind, model, metric)
    return sum(values) / len(values) if values else math.nan


def _metrics(found: Found) -> dict[str, str]:
    """Return what was measured of every list."""
    return {
        one: word for one, word in _METRICS.items() if _values(found, _any(found), _DECODED, one)
    }


def _any(found: Found) -> str:
    return _kinds(found)[0]


def _by_seed(found: Found, kind: str, model: str, metric: str, rival: str = _TEXT) -> Found:
    """Return how far codes of a kind are ahead of a rival's, over the seeds of both."""
    both = [one for one in found["seeds"].values() if kind in one and rival in one]
    on, off = ([one[of]["models"][model][metric] for one in both] for of in (kind, rival))
    return ahead(on, off)


def _decoding(found: Found, kind: str, metric: str) -> Found:
    """Return how far decoding is ahead of the cosine of the same trunk, over the seeds."""
    return ahead(*(_values(found, kind, model, metric) for model in (_DECODED, _TRUNK)))


def _pooled(found: Found, table: str, kind: str, model: str, metric: str) -> Found:
    """Return a lead of the mean over the seeds, with its bounds over the investors."""
    told: Found = found["leads"][table][kind][model][metric]
    return told


def _worth(found: Found) -> list[bool]:
    """Ask of decoded and published lists whether topology is ahead by both intervals."""
    if _TOPOLOGY not in found["leads"]["over text"]:
        return [False]
    return [
        one["low"] > 0
        for model in (_DECODED, _PUBLISHED)
        for one in (
            _by_seed(found, _TOPOLOGY, model, "ndcg_10"),
            _pooled(found, "over text", _TOPOLOGY, model, "ndcg_10"),
        )
    ]


def _usual(found: Found) -> str:
    """Return the codes that are given by default, or the first that were measured."""
    return _DEFAULT if _of(found, _DEFAULT) else _any(found)


def _decoded(found: Found) -> list[bool]:
    return [
        one["low"] > 0
        for one in (
            _decoding(found, _usual(found), "ndcg_10"),
            _pooled(found, "over cosine", _usual(found), _DECODED, "ndcg_10"),
        )
    ]


def _tiger(found: Found) -> list[bool]:
    """Ask of every kind of codes whether decoding alone finds what is in print."""
    return [
        _mean(found, kind, _DECODED, metric) >= asked
        for kind in _kinds(found)
        for metric, asked in _TIGER.items()
    ]


def _blended(found: Found) -> list[bool]:
    """Ask whether what is published is above the best rival without codes, for any codes."""
    best = _simple(found).get(_SIMPLE[0])
    if best is None:
        return [False]
    return [
        any(
            _mean(found, kind, _PUBLISHED, metric) > sum(best[metric]) / len(best[metric])
            for kind in _kinds(found)
        )
        for metric in _TIGER
    ]


def _cold(found: Found) -> list[bool]:
    """Ask whether items that nobody acquired before are found in every seed, by codes of text."""
    return [value > 0 for value in _values(found, _TEXT, _DECODED, "cold_recall_10")]


def _simple(found: Found) -> dict[str, dict[str, list[float]]]:
    """Return rival -> metric -> values by seed, of those that the other result has."""
    if "beside" not in found:
        return {}
    seeds = [one["models"] for one in found["beside"]["figures"]["seeds"].values()]
    return {
        rival: {
            metric: [one[rival][metric] for one in seeds if metric in one[rival]]
            for metric in _METRICS
        }
        for rival in _SIMPLE
        if all(rival in one for one in seeds)
    }


def _section(world: str, beside: str | None) -> Section:
    checks = {"decoded": _decoded, "worth": _worth}
    if world == "beauty":
        checks = {"tiger": _tiger, "blended": _blended, "cold": _cold, **checks}
    given = {
        "world": world, "called_world": WORLDS[world], "kinds": _kinds, "of": _of,
        "values": _values, "mean": _mean, "metrics": _metrics, "models": _MODELS, "told": _TOLD,
        "by_seed": _by_seed, "decoding": _decoding, "pooled": _pooled, "simple": _simple,
        "usual": _usual, "isnan": math.isnan,
        "first": lambda found: next(iter(_of(found, _any(found)).values())),
    }  # fmt: skip
    return Section("codes_real", checks, given, f"codes_real_{world}", beside)


SECTIONS = (
    _section("beauty", "quality_beauty"),
    _section("movielens-100k", None),
    _section("far-trans-2020", "quality_far-trans-2020"),
)
