"""What acting changes: effects planted in the market, and those of a trial with customers."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_OURS, _BEFORE, _RIVAL = "doubly robust, both ways", "doubly robust, shrunk", "co-occurrence"
_KNOWN = {"men": 0.076590, "women": 0.045233}


def _worlds(found: Found) -> list[tuple[str, str, Found]]:
    return [
        (size, world.removeprefix("confounding "), one)
        for size, worlds in found["sizes"].items()
        for world, one in worlds.items()
    ]


def _ours(found: Found) -> str:
    """Name the estimate that counts; results of old know one direction alone."""
    _, _, one = _worlds(found)[0]
    return _OURS if _OURS in one["mean"]["scores"] else _BEFORE


def _pearson(found: Found, score: str) -> list[float]:
    return [one["mean"]["scores"][score]["pearson"] for _, _, one in _worlds(found)]


def _above(found: Found) -> list[bool]:
    pairs = zip(_pearson(found, _ours(found)), _pearson(found, _RIVAL), strict=True)
    return [ours > rival for ours, rival in pairs]


def _learner(name: str) -> str:
    first, _, rest = name.partition("_")
    return f"{first.upper()}-learner" if rest == "learner" else name.replace("_", " ")


def _best(orders: Found) -> Found:
    """Return name and Qini of the best order of customers."""
    name, row = max(orders["rows"].items(), key=lambda pair: pair[1]["qini"]["value"])
    return {"name": _learner(name), "qini": row["qini"]["value"]}


def _held(tenths: list[Found]) -> int:
    """Count tenths whose foretold effect lies in the interval of the measured one."""
    return sum(
        one["measured"]["low"] <= one["predicted"] <= one["measured"]["high"] for one in tenths
    )


SECTIONS = (
    Section("causal", {"above": _above}, {"ours": _ours, "pearson": _pearson, "worlds": _worlds}),
    Section(
        "uplift",
        {"known": lambda f: [abs(f["ate"][mail] - one) <= 1e-6 for mail, one in _KNOWN.items()]},
        {"best": _best, "held": _held, "known": _KNOWN, "learner": _learner},
    ),
)
