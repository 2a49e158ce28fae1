"""What every model gives at every cut, on what is on sale: nDCG, profit, and the half-years."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_SIMPLER = ("ease", "ease_demand", "demand_leaning")
"""Rivals without a network."""
_NO_MODEL = ("random", "market", "most_popular")


def _best_rival(found: Found) -> str:
    rivals: list[str] = [name for name in found["ndcg"] if not name.startswith("hstu")]
    return max(rivals, key=lambda name: found["ndcg"][name]["mean"])


def _earns(found: Found) -> list[bool]:
    """Say whether HSTU is above EASE and above whatever knows as much, by both intervals."""
    ahead = [found["ndcg"][name]["ahead"] for name in _SIMPLER]
    return [one[over]["low"] > 0 for over in ("investors", "dates") for one in ahead]


def _confirmed(found: Found) -> list[bool]:
    """Say the same of the window that nothing was made for."""
    return [found["apart"][name]["ahead"]["investors"]["low"] > 0 for name in _SIMPLER]


def _earners(found: Found) -> list[str]:
    """Name the models that return more than the market at every date, and by the interval."""
    return [
        name
        for name, one in found["roi"].items()
        if name not in _NO_MODEL and one["ahead_of_market"]["low"] > 0
    ]


def _ranked(models: Found, figure: str) -> list[str]:
    return sorted(models, key=lambda name: -models[name][figure])


def _cuts(models: Found) -> list[str]:
    return list(next(iter(models.values()))["by_window"])


def _half_years(found: Found) -> list[tuple[str, str, Found]]:
    """Return protocol, cut and figures: all cuts of the first protocol, then of the next."""
    cuts = found["half_years"]
    protocols = next(iter(cuts.values()))
    return [(protocol, cut, cuts[cut][protocol]) for protocol in protocols for cut in cuts]


SECTIONS = (
    Section(
        "rolling",
        {
            "earns": _earns,
            "confirmed": _confirmed,
            "profit": lambda f: [f["roi"]["hstu_profit"]["ahead_of_market"]["low"] > 0],
        },
        {
            "best_rival": _best_rival,
            "earners": _earners,
            "ranked": _ranked,
            "cuts": _cuts,
            "half_years": _half_years,
        },
    ),
)
