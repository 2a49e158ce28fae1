"""Whether the gate can be believed: its errors, its power, its speed."""

from __future__ import annotations

from benchmarks.report.page import ENVIRONMENT, Found, Section

_WRONG, _POWER, _REJECTED = 0.05, 0.8, 0.95
_LIFT, _RATE = "+20%", "base rate 0.10"
_BETTER = "better"


def _stream(found: Found) -> Found:
    """Return the study of a candidate a day, which stands beside the looks or among them."""
    stream: Found = found["stream"] if "stream" in found else found["looks"]["stream"]
    return stream


def _promotions(found: Found) -> list[bool]:
    one = found["looks"]
    return [
        one["looks"] >= 20 and one["candidates"] >= 10 and one["holm_sequence"] <= _WRONG,
        _stream(found)["promoted"] <= _WRONG,
    ]


def _promoted(scorer: Found) -> int:
    return int(scorer["decisions"].get("PROMOTE", 0))


def _worse(found: Found) -> list[Found]:
    return [one for name, one in found["scorers"].items() if name != _BETTER]


def _rejected(found: Found) -> dict[str, float]:
    """Share of the trials on a long log that reject a worse scorer."""
    long = found.get("long", {"scorers": {}})
    return {
        name: one["decisions"].get("REJECT", 0) / long["trials"]
        for name, one in long["scorers"].items()
    }


def _trials(found: Found) -> list[bool]:
    return [
        *(_promoted(one) == 0 for one in _worse(found)),
        _promoted(found["scorers"][_BETTER]) >= _POWER * found["trials"],
    ]


def _powers(found: Found) -> list[float]:
    return [curve[_LIFT] for name, curve in found["promoted"].items() if _RATE in name]


def _volume(found: Found) -> list[bool]:
    return [
        found["seconds"] < 30,
        found["peak_gb"] < 4,
        found["times_faster_than_a_loop"] >= 20,
    ]


ENVIRONMENT.filters["promoted"] = _promoted
SECTIONS = (
    Section("promotions", {"planted": _promotions}, {"stream_of": _stream}, "ope"),
    Section(
        "promotions",
        {"market": lambda f: [*_promotions(f), f["looks"]["replays"] >= 1000]},
        {"stream_of": _stream},
        "ope_market",
    ),
    Section(
        "ope_trials",
        {
            "trials": _trials,
            "rejected": lambda f: [share >= _REJECTED for share in _rejected(f).values()],
        },
        {"rejected": _rejected, "worse": _worse, "POWER": _POWER, "REJECTED": _REJECTED},
    ),
    Section(
        "ope_power",
        {"power": lambda f: [share >= _POWER for share in _powers(f)]},
        {"powers": _powers},
    ),
    Section("ope_volume", {"volume": _volume}),
)
