"""How well codes use their codebook, what topology adds to them, what that is worth, how fast."""

from __future__ import annotations

import statistics

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_USED, _COARSE, _DEEPER, _COLLISIONS = 0.8, 0.7, 0.5, 0.01
_DEFAULT, _TEXT, _TOPOLOGY = "default", "text", "topology"
_COARSELY = "topology at level 1"
_FOUR, _SHUFFLED = ", four levels", ", edges shuffled"
_BY_TEXT = (
    "default", "fields", "price", "second hop", "behaviour", _TOPOLOGY, _COARSELY,
)  # fmt: skip
"""Kinds whose rival is text alone; that of the others is what is on by default, but for one."""
_RIVALS = dict.fromkeys(_BY_TEXT, _TEXT) | {"rqvae, order kept": "rqvae"}
_METRICS = {
    "ndcg_10": "nDCG@10",
    "recall_50": "Recall@50",
    "cold_ndcg_10": "nDCG@10, cold",
}
_MODELS = {"hstu_generative": "decoded", "hstu": "published"}
_MINUTES = 5.0


def well_used(one: Found) -> list[bool]:
    """Return whether one quantizer uses its codebook as it is asked to."""
    coarse, *deeper = one["perplexity"]
    return [
        min(one["used"]) >= _USED,
        coarse >= _COARSE,
        min(deeper) >= _DEEPER,
        one["collisions_balanced"] < _COLLISIONS,
    ]


def _real(found: Found) -> str:
    """Return the catalogue that is told first: the real one, if it was measured."""
    return "beauty" if "beauty" in found["use"] else "market"


def _nmi(found: Found, name: str) -> list[float]:
    return [one[name]["nmi"][0] for one in found["planted"].values()]


def _text_lost(found: Found, name: str, plain: str = "") -> list[float]:
    """Return the share of what codes explain of text that is lost.

    Against `plain`, by default codes of text alone with as many levels.
    """
    plain = plain or _TEXT + (_FOUR if name.endswith(_FOUR) else "")
    return [
        1.0 - one[name]["text_explained"] / one[plain]["text_explained"]
        for one in found["planted"].values()
    ]


def _planted(found: Found) -> list[bool]:
    mean = statistics.fmean
    return [
        mean(_nmi(found, _TEXT)) < 0.1 and mean(_nmi(found, _COARSELY)) > 0.5,
        mean(_text_lost(found, _COARSELY)) < 0.05,
        mean(_nmi(found, _COARSELY + _SHUFFLED)) < 0.1,
    ]


def _values(found: Found, kind: str, model: str, metric: str) -> list[float]:
    return [one[kind]["models"][model][metric] for one in found["seeds"].values()]


def _rival(kind: str) -> str:
    return _RIVALS.get(kind, _DEFAULT)


def _ahead(found: Found, kind: str, model: str, metric: str) -> Found:
    """Return how far one kind of codes is ahead of its rival: mean and two standard errors."""
    return ahead(*(_values(found, one, model, metric) for one in (kind, _rival(kind))))


def _largest(found: Found, quantizer: str) -> Found:
    rows = [row for row in found["rows"] if row["quantizer"] == quantizer]
    largest: Found = max(rows, key=lambda row: row["items"])
    return largest


SECTIONS = (
    Section(
        "sid_codes",
        {
            "used": lambda f: well_used(f["use"][_real(f)]["rkmeans"]),
            "planted": _planted,
        },
        {"nmi": _nmi, "real": _real, "text_lost": _text_lost, "well_used": well_used},
    ),
    Section(
        "sid_worth",
        {
            "worth": lambda f: [
                _ahead(f, _TOPOLOGY, model, "ndcg_10")["low"] > 0 for model in _MODELS
            ]
        },
        {
            "ahead": _ahead,
            "metrics": _METRICS,
            "models": _MODELS,
            "rival": _rival,
            "values": _values,
        },
    ),
    Section(
        "sid_rates",
        {
            "fast": lambda f: [
                row["learn_s"] + row["encode_s"] < 60 * _MINUTES
                for row in f["rows"]
                if row["items"] == 100_000
            ],
            "million": lambda f: [
                _largest(f, "minibatch")["own_mb"] < _largest(f, "minibatch")["vectors_mb"]
            ],
        },
        {"largest": _largest},
    ),
)
