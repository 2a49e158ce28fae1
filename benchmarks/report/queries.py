"""What codes that queries bridge tell of a click, beside simpler ways."""

from __future__ import annotations

import statistics

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_NAMES = {
    "text": "text of query and item",
    "mean query": "mean query of the item",
    "text, mean query": "text and mean query",
    "dense": "dense vectors of the bridge",
    "codes": "codes alone",
    "dense, codes": "dense and codes, categories first",
    "dense, free codes": "dense and codes, no level given",
    "dense, mean query": "dense and mean query",
    "sham dense": "dense, queries dealt anew",
    "dense, sham codes": "dense and codes of these",
}
_PARTS = {"all": "AUC of a click", "known": "known phrasings", "new": "new phrasings"}
_TEXT, _DENSE, _CODES, _SHAM = "text", "dense", "dense, codes", "dense, sham codes"
_GAIN, _NOTHING, _KEPT = 0.01, 0.01, 0.7


def _values(found: Found, way: str, part: str = "all") -> list[float]:
    return [one["auc"][way][part] for one in found["seeds"].values()]


def _ahead(found: Found, way: str, other: str) -> Found:
    """Return how far one way is ahead of another, with two standard errors over the seeds."""
    return ahead(_values(found, way), _values(found, other))


def _kept(found: Found) -> list[float]:
    """Return the share of what the bridge gains on text that is left with new phrasings."""
    known, new = (
        [on - off for on, off in zip(_values(found, _DENSE, part), _values(found, _TEXT, part),
                                     strict=True)]
        for part in ("known", "new")
    )  # fmt: skip
    return [one / other for one, other in zip(new, known, strict=True)]


def _sharing(found: Found, name: str) -> list[float]:
    return [one["sharing"][name] for one in found["seeds"].values()]


def _adds(found: Found) -> list[bool]:
    return [statistics.fmean(_values(found, _CODES)) >= statistics.fmean(_values(found, _DENSE))
            + _GAIN]  # fmt: skip


def _bridges(found: Found) -> list[bool]:
    return [_ahead(found, _DENSE, "text, mean query")["low"] > 0]


def _holds_with_new(found: Found) -> list[bool]:
    return [share >= _KEPT for share in _kept(found)]


def _sham(found: Found) -> list[bool]:
    return [
        abs(_ahead(found, _SHAM, _DENSE)["mean"]) < _NOTHING,
        _ahead(found, "sham dense", _TEXT)["high"] < _NOTHING,
    ]


def _shares(found: Found) -> list[bool]:
    return [ahead(_sharing(found, "bridged"), _sharing(found, "text alone"))["low"] > 0]


SECTIONS = (
    Section("query_codes",
            {"adds": _adds, "bridges": _bridges, "new": _holds_with_new, "sham": _sham,
             "shares": _shares},
            {"ahead": _ahead, "values": _values, "kept": _kept, "sharing": _sharing,
             "names": _NAMES, "parts": _PARTS}),
)  # fmt: skip
