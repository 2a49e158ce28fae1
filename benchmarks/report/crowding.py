"""What codes cost where most assets were never traded, and what holding these back regains."""

from __future__ import annotations

import statistics

from benchmarks.report.page import Found, Section

_OFF, _SUM = "off", "sum"
_WAYS = {
    _OFF: "no codes",
    _SUM: "sum of codewords",
    "whole": "no ID dropout",
    "half": "ID dropout of a half",
    "shrink": "own share n / (n + k)",
    "topology": "codes of topology",
}
_LISTS = {
    "trunk": "trunk",
    "trunk_prior": "trunk, prior",
    "hstu": "published",
    "hstu_prior": "published, prior",
    "hstu_never": "published, none of them",
}
_PUBLISHED = "hstu"
_AGAIN = ("half", "hstu_prior")


def _asked(found: Found) -> list[str]:
    """Return the cuts that every way was measured at."""
    return [cut for cut, one in found["cuts"].items() if _SUM in one["test"]]


def _again(found: Found) -> Found:
    """Return what was looked at last, by cut: the lead in the test period."""
    way, name = _AGAIN
    return {cut: one["test"][way][name]["ahead"]["ndcg_10"] for cut, one in found["cuts"].items()}


def _wanted(found: Found, cut: str) -> tuple[str, str]:
    """Return the codes and their published lists that validation likes best."""
    mean = {
        (way, name): statistics.fmean(one["by_seed"]["ndcg_10"])
        for way, lists in found["cuts"][cut]["validation"].items()
        for name, one in lists.items()
        if way != _OFF and name.startswith(_PUBLISHED)
    }
    return max(mean, key=lambda pair: mean[pair])


def _lead(found: Found, cut: str) -> Found:
    """Return how far these are ahead of no codes in the test period."""
    way, name = _wanted(found, cut)
    lead: Found = found["cuts"][cut]["test"][way][name]["ahead"]["ndcg_10"]
    return lead


def _earn(found: Found) -> list[bool]:
    return [_lead(found, cut)["low"] > 0 for cut in _asked(found)]


def _word(lead: Found) -> str:
    return "earns" if lead["low"] > 0 else "costs" if lead["high"] < 0 else "ties"


def _mean_of(found: Found, cut: str, *path: str | int) -> float:
    """Return the mean over the seeds of a figure that says why, of the plain sum."""
    values = []
    for one in found["cuts"][cut]["why"]:
        value = one
        for name in path:
            value = value[name]
        values.append(float(value))
    return statistics.fmean(values)


SECTIONS = (
    Section(
        "crowding",
        {"earns": _earn},
        {
            "lead_of": _lead, "wanted": _wanted, "word": _word, "why": _mean_of,
            "asked": _asked, "again": _again, "ways": _WAYS, "lists": _LISTS,
        },
    ),
)  # fmt: skip
