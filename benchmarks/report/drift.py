"""Whether a promotion means what the page says: under drift, by investor, over a published one."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_WRONG, _POWER, _REJECTED = 0.05, 0.8, 0.95
_LOGS, _WIDE_GB = 200, 6.0
_ASKED_LIFT = "+4%"


def _of_settings(found: Found, words: str, key: str) -> list[float]:
    return [one[key] for name, one in found["settings"].items() if words in name]


def _power(found: Found, rule: str) -> list[float]:
    return _of_settings(found, _ASKED_LIFT, rule)


def _rejected(found: Found) -> float:
    (share,) = _of_settings(found, "over the policy", "rejected")
    return share


def _wrongly(found: Found) -> list[float]:
    return _of_settings(found, "no item better", "rejected at any look")


def _refined(found: Found) -> dict[str, float]:
    """Return the bounds of a refinement on a short log that the champion wrote."""
    rows: dict[str, dict[str, float]] = found["short"]["4000"]
    return rows["champion's log, refined +4%"]


SECTIONS = (
    Section(
        "ope_drift",
        {"wrong": lambda f: [one["gate"] <= _WRONG for one in f["wrong"].values()]},
    ),
    Section(
        "ope_seeds",
        {"counted": lambda f: [f["promoted"]["counted"] <= _WRONG, f["logs"] >= _LOGS]},
    ),
    Section(
        "ope_published",
        {
            "power": lambda f: [share >= _POWER for share in _power(f, "gate")],
            "rejected": lambda f: [
                _rejected(f) >= _REJECTED,
                *(share <= _WRONG for share in _wrongly(f)),
            ],
        },
        {"power": _power, "rejected": _rejected, "wrongly": _wrongly},
    ),
    Section(
        "ope_caps",
        {
            "found": lambda f: [_refined(f)["now"] > 0 >= _refined(f)["before"]],
            "narrow": lambda f: [f["wide"]["peak_gb"] < _WIDE_GB],
        },
        {"refined": _refined},
    ),
)
