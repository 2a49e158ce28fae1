"""Whether what is said of causes is true: sentences and intervals beside what is planted."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.report.page import Found, Section

_SAID, _NOW = "false sign rate", "empirical null"
_ASKED_WORDS, _ASKED_INTERVALS = 0.95, 0.93


def _worlds(found: Found) -> list[tuple[str, list[Found]]]:
    """Return how much confounds, and the markets of each seed."""
    worlds = found["worlds"].items()
    return [(world.removeprefix("confounding "), list(of.values())) for world, of in worlds]


def _found(markets: list[Found], figure: str, key: str) -> list[Any]:
    return [one[figure][key] for one in markets]


def _told_and_right(markets: list[Found], how: str) -> tuple[float, float]:
    """Return how many sentences were told in all markets, and how many of them are right."""
    rows = _found(markets, "words", how)
    return sum(row["told"] for row in rows), sum(row["right"] for row in rows)


def _share(markets: list[Found], how: str) -> str:
    told, right = _told_and_right(markets, how)
    return f"{right:.0f} of {told:.0f} ({right / told:.3f})" if told else "none told"


def _said_at(found: Found) -> list[str]:
    _, markets = _worlds(found)[0]
    return [f"said at {name}" for name in markets[0]["words"]][:-1]


def _words(found: Found) -> list[bool]:
    shares = [_told_and_right(markets, _SAID) for _, markets in _worlds(found)]
    return [right >= _ASKED_WORDS * told for told, right in shares]


def _intervals(found: Found) -> list[bool]:
    covered = [_found(markets, "null_coverage", _NOW) for _, markets in _worlds(found)]
    return [statistics.fmean(shares) >= _ASKED_INTERVALS for shares in covered]


SECTIONS = (
    Section(
        "causal_sentences",
        {"words": _words, "intervals": _intervals},
        {
            "found": _found,
            "said_at": _said_at,
            "share": _share,
            "worlds": _worlds,
            "NOW": _NOW,
            "SAID": _SAID,
        },
    ),
)
