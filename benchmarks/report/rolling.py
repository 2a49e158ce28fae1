"""What every model gives at every cut, on what is on sale: nDCG, profit, and the half-years."""

from __future__ import annotations

from benchmarks.report.page import Figure, Found, Section, interval, parts, seeds, table
from benchmarks.report.quality import model_name

_OWN, _PROFIT = "hstu", "hstu_profit"
_SIMPLER = ("ease", "ease_demand", "demand_leaning")
"""Rivals without a network."""
_NO_MODEL = ("random", "market", "most_popular")


def _rivals(found: Found) -> list[str]:
    return [name for name in found["ndcg"] if not name.startswith(_OWN)]


def _best_rival(found: Found) -> str:
    return max(_rivals(found), key=lambda name: found["ndcg"][name]["mean"])


def _signed(one: Found) -> str:
    return f"{one['mean']:+.4f} {interval((one['low'], one['high']))}"


def _told(found: Found) -> str:
    best = _best_rival(found)
    ahead = {name: found["ndcg"][name]["ahead"]["investors"] for name in (best, "ease")}
    return "; ".join(f"{_signed(one)} over {model_name(name)}" for name, one in ahead.items())


def _earns(found: Found) -> list[bool]:
    """Say whether HSTU is above EASE and above whatever knows as much, by both intervals."""
    ahead = [found["ndcg"][name]["ahead"] for name in _SIMPLER]
    return [one[over]["low"] > 0 for over in ("investors", "dates") for one in ahead]


def _confirmed(found: Found) -> list[bool]:
    """Say the same of the window that nothing was made for."""
    return [found["apart"][name]["ahead"]["investors"]["low"] > 0 for name in _SIMPLER]


def _apart_told(found: Found) -> str:
    ahead = {name: found["apart"][name]["ahead"]["investors"] for name in ("ease_demand", "ease")}
    return "; ".join(f"{_signed(one)} over {model_name(name)}" for name, one in ahead.items())


def _earners(found: Found) -> list[str]:
    """Name the models that return more than the market at every date, and by the interval."""
    return [
        name
        for name, one in found["roi"].items()
        if name not in _NO_MODEL and one["ahead_of_market"]["low"] > 0
    ]


def _roi_told(found: Found) -> str:
    ahead = {name: _signed(found["roi"][name]["ahead_of_market"]) for name in (_PROFIT, _OWN)}
    dates = len(found["roi"][_OWN]["by_window"])
    earners = ", ".join(model_name(name) for name in _earners(found)) or "no model"
    return (
        f"with profit {ahead[_PROFIT]} a month beside the market over {dates} dates, without "
        f"{ahead[_OWN]}; above it by the interval: {earners}"
    )


def _weights_told(found: Found) -> str:
    weights = found["profit_weights"].items()
    return (
        "Profit is what an asset earned in the year before the cut (momentum), added by a weight "
        "to HSTU's mix, in which nothing else changes. How much it counts at a cut is what had "
        "returned most in the windows that had ended by then, and nothing before the first: "
        + ", ".join(f"{weight:g} at {cut}" for cut, weight in weights)
        + ". The rows with a fixed weight are no choice; they show what any choice could have had."
    )


def _ranked(models: Found, figure: str) -> list[str]:
    return sorted(models, key=lambda name: -models[name][figure])


def _ndcg_rows(models: Found) -> list[list[str]]:
    return [
        [
            model_name(name),
            *(f"{value:.4f}" for value in models[name]["by_window"].values()),
            f"{models[name]['mean']:.4f}",
            *_leads(models[name].get("ahead", {})),
        ]
        for name in _ranked(models, "mean")
    ]


def _leads(ahead: Found) -> list[str]:
    return [_signed(ahead[over]) if over in ahead else "" for over in ("investors", "dates")]


def _ndcg_table(models: Found) -> str:
    cuts = next(iter(models.values()))["by_window"]
    over = ["HSTU ahead, 95 % over investors", "95 % over dates"]
    return table(["nDCG@10", *cuts, "pooled", *over], _ndcg_rows(models))


def _roi_table(models: Found) -> str:
    cuts = next(iter(models.values()))["by_window"]
    rows = [
        [
            model_name(name),
            *(f"{value:+.4f}" for value in models[name]["by_window"].values()),
            f"{models[name]['mean']:+.4f}",
            _signed(models[name]["ahead_of_market"]) if name != "market" else "",
        ]
        for name in _ranked(models, "mean")
    ]
    return table(["ROI@10 a month", *cuts, "mean", "beside the market, 95 % over dates"], rows)


def _half_year(cut: str, protocol: str, one: Found) -> str:
    models = one["models"]
    rows = [
        [
            model_name(name),
            f"{models[name]['ndcg_10']:.4f}",
            _signed(models[name]["ahead"]) if "ahead" in models[name] else "",
            "" if models[name]["roi_10"] is None else f"{models[name]['roi_10']:+.4f}",
        ]
        for name in _ranked(models, "ndcg_10")
    ]
    market = "" if one["market_roi"] is None else f", ROI of the market {one['market_roi']:+.4f}"
    words = _PROTOCOL_WORDS.get(protocol, "")
    return parts(
        f"The half-year after {cut}, {protocol}: {one['users']:,} users{market}. {words}",
        table(["model", "nDCG@10", "HSTU ahead, 95 %", "ROI@10"], rows),
    )


_PROTOCOL_WORDS = {
    "all assets, as published": "What goes on sale only after the cut may be listed, too, and that "
    "it stands in the catalogue tells that it will be issued. Whoever counts what new assets of a "
    "class gained finds it, with a network or without; so this table compares knowledge of the "
    "catalogue, and is kept because others publish it."
}


def _windows_told(found: Found) -> str:
    told = (
        f"{cut} ({one['test_days']} days, {one['users']:,} users)"
        for cut, one in found["windows"].items()
        if not one["apart"]
    )
    return f"{seeds(found['seeds'])}; cuts and what is tested: {', '.join(told)}."


def _tables(found: Found) -> str:
    (apart,) = (cut for cut, one in found["windows"].items() if one["apart"])
    users = found["windows"][apart]["users"]
    halves = [
        _half_year(cut, protocol, one)
        for protocol in _protocols(found)
        for cut, by_protocol in found["half_years"].items()
        for name, one in by_protocol.items()
        if name == protocol
    ]
    return parts(
        _windows_told(found),
        _ndcg_table(found["ndcg"]),
        "HSTU as such is mixed as the stage does it: the least trend, then demand, that is at most "
        "one standard error below the best mix of the validation period. That rule was made after "
        "the tests of these windows had been seen with the best mix, and before that of the window "
        "set apart.",
        f"Set apart before any figure was seen: {apart}, {users:,} users.",
        _ndcg_table(found["apart"]),
        "What the lists return, over every cut with prices near both ends, the last one too. Dates "
        "are few, and all assets move together at each.",
        _roi_table(found["roi"]),
        _weights_told(found),
        *halves,
    )


def _protocols(found: Found) -> list[str]:
    return list(next(iter(found["half_years"].values())))


SECTIONS = (
    Section(
        "rolling",
        "FAR-Trans on sale, by rolling cuts",
        "The primary table of FAR-Trans: which assets *on sale at the cut* an investor acquires "
        "for the first time before the next cut, by models that saw everything up to it. Every "
        "baseline may know what the model knows beside its network: what each asset is expected "
        "to gain (demand) and how much an investor leans to its class. Mixes are chosen on "
        "validation periods alone.",
        "`make bench-rolling`, official files in `TESSERA_DATA`",
        (
            Figure(
                "FAR-Trans on sale, rolling cuts",
                "HSTU above EASE, EASE + demand and demand x leaning (pooled nDCG, intervals over "
                "investors and over dates)",
                _told,
                _earns,
            ),
            Figure(
                "FAR-Trans on sale, the window set apart",
                "the same, with nothing chosen or made for it",
                _apart_told,
                _confirmed,
            ),
            Figure(
                "FAR-Trans, return beside the market's over rolling dates",
                "interval over the dates of HSTU with profit above 0",
                _roi_told,
                lambda found: [found["roi"][_PROFIT]["ahead_of_market"]["low"] > 0],
            ),
        ),
        _tables,
    ),
)
