"""Whose vectors codes are learnt from, and what is gained by learning them with the decoder."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_DEFAULT, _NONE, _OWN, _READ = "default", "no codes", "own vectors", "own vectors, codes read"
_FORCED = "soft forcing"
_AT_ONCE, _JOINT, _AGAIN = _TOGETHER = ("joint, at once", "joint", "joint, forced again")
_TOPOLOGY = "topology"
_ELSEWHERE = ("rqvae", _TOPOLOGY)
_KINDS = (_DEFAULT, *_ELSEWHERE, _NONE, _OWN, _READ, _FORCED, *_TOGETHER)
_DECODED, _PUBLISHED = "hstu_generative", "hstu"
_MODELS = {_DECODED: "decoded", "hstu_trunk": "trunk alone", _PUBLISHED: "published"}
_METRICS = {
    "ndcg_10": "nDCG@10",
    "recall_10": "Recall@10",
    "recall_50": "Recall@50",
    "cold_ndcg_10": "nDCG@10, cold",
}
_WORLDS = {"market": "small markets", "far-trans-2020": "FAR-Trans at 2020-07-01"}


def _seeds(found: Found, kind: str) -> list[Found]:
    """Return what each seed found with a kind of codes; nothing if one was measured without it.

    What `sid` gives by other params was measured elsewhere, and is told if the default found there
    what it found here, so that nothing else differs.
    """
    own = [one.get(kind) for one in found["seeds"].values()]
    if kind in _ELSEWHERE and "beside" in found:
        there = found["beside"]["figures"]["seeds"]
        own = [
            there.get(seed, {}).get(kind) for seed in found["seeds"] if _same(found, there, seed)
        ]
    return own if len(own) == len(found["seeds"]) and all(own) else []


def _same(found: Found, there: Found, seed: str) -> bool:
    """Tell whether another result's training with the default's codes was this one."""
    here = found["seeds"][seed][_DEFAULT]["models"]
    other = there.get(seed, {}).get(_DEFAULT, {}).get("models", {})
    return all(
        model in other and here[model].get(metric) == other[model].get(metric)
        for model in _MODELS
        for metric in _METRICS
    )


def _kinds(found: Found) -> list[str]:
    """Return the kinds of codes that every seed was measured with, in their order."""
    return [kind for kind in _KINDS if _seeds(found, kind)]


def _models(found: Found, kind: str) -> dict[str, str]:
    """Return the lists of a kind: without codes none is decoded."""
    one = _seeds(found, kind)[0]["models"]
    return {model: word for model, word in _MODELS.items() if model in one}


def _values(found: Found, kind: str, model: str, metric: str) -> list[float]:
    models = [one["models"][model] for one in _seeds(found, kind)]
    return [one[metric] for one in models if metric in one]


def _metrics(found: Found) -> dict[str, str]:
    first = next(iter(found["seeds"].values()))[_DEFAULT]["models"][_DECODED]
    return {metric: word for metric, word in _METRICS.items() if metric in first}


def _pairs(found: Found) -> list[tuple[str, str]]:
    """Return each kind with the default, those of own vectors with topology, and joint with own."""
    kinds = _kinds(found)
    pairs = [(kind, _DEFAULT) for kind in kinds if kind != _DEFAULT]
    more = [(kind, _TOPOLOGY) for kind in (_OWN, _READ)] + [(kind, _READ) for kind in _TOGETHER]
    return pairs + [(kind, rival) for kind, rival in more if kind in kinds and rival in kinds]


def _ahead(found: Found, kind: str, rival: str, model: str, metric: str) -> Found:
    """Return how far one kind of codes is ahead of another: mean and two standard errors."""
    return ahead(*(_values(found, one, model, metric) for one in (kind, rival)))


def _shared(found: Found, kind: str, rival: str) -> dict[str, str]:
    """Return the lists that both kinds have."""
    return {model: word for model, word in _models(found, kind).items()
            if model in _models(found, rival)}  # fmt: skip


def _collisions(found: Found, kind: str) -> list[float]:
    return [one["codes"]["collision_rate"] for one in _seeds(found, kind)]


def _agrees(found: Found, kind: str) -> list[float]:
    """Return by level the mean share of items that have the codeword of their own vector."""
    by_seed = [one["agrees"] for one in _seeds(found, kind)]
    return [statistics.fmean(shares) for shares in zip(*by_seed, strict=True)]


def _own(kind: str) -> Callable[[Found], list[bool]]:
    """Ask of codes of a trunk's vectors whether decoded and published lists are ahead."""
    return lambda found: [
        _ahead(found, kind, _DEFAULT, model, "ndcg_10")["low"] > 0
        for model in (_DECODED, _PUBLISHED)
    ]


def _learnt_together(found: Found) -> list[bool]:
    """Ask whether joint codes find as many as codes of vectors that were learnt before."""
    kinds = _kinds(found)
    return [
        kind in kinds and _ahead(found, kind, _READ, _DECODED, "recall_10")["mean"] >= 0
        for kind in (_JOINT, _AGAIN)
    ]


def _section(world: str, result: str, beside: str) -> Section:
    given = {
        "world": world, "called_world": _WORLDS[world], "kinds": _kinds, "models": _models,
        "values": _values, "metrics": _metrics, "pairs": _pairs, "ahead": _ahead,
        "shared": _shared, "collisions": _collisions, "agrees": _agrees, "DEFAULT": _DEFAULT,
        "NONE": _NONE, "OWN": _OWN, "READ": _READ, "FORCED": _FORCED, "JOINT": _JOINT,
        "AGAIN": _AGAIN, "ELSEWHERE": _ELSEWHERE,
    }  # fmt: skip
    checks = {"read": _own(_READ)}
    if world == "market":
        checks |= {"own": _own(_OWN), "together": _learnt_together}
    return Section("joint_index", checks, given, result, beside)


SECTIONS = (
    _section("market", "joint_index", "sid_worth"),
    _section("far-trans-2020", "joint_index_far-trans-2020", "codes_real_far-trans-2020"),
)
