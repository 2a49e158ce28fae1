"""How slates are ordered, and how long a list takes."""

from __future__ import annotations

import statistics

from benchmarks.report.page import Figure, Found, Section, parts, seeds, spread, table
from tessera.model.nn.ranking import TASKS

_RANKERS = {
    "": "ranking head",
    "_dlrm": "DLRM",
    "_wide_deep": "Wide & Deep",
    "_cosine": "cosine",
    "_popularity": "popularity",
}
"""Names of the rankers by the end of their metric."""
_CALIBRATED = 0.02


def _values(found: Found, name: str) -> list[float]:
    return [one[name] for one in found["seeds"].values() if name in one]


def _rankers_table(found: Found) -> str:
    names = [*(f"rank_auc_{task}" for task in TASKS), "rank_ece_click"]
    names = [name for name in names if _values(found, name)]
    titles = [
        f"AUC, {name.removeprefix('rank_auc_')}" if "auc" in name else "calibration error, click"
        for name in names
    ]
    told = [[_values(found, f"{name}{end}") for name in names] for end in _RANKERS]
    rows = [
        [words, *(spread(values) if values else "" for values in row)]
        for words, row in zip(_RANKERS.values(), told, strict=True)
    ]
    epochs = f", {found['epochs']} epochs instead of the profile's" if "epochs" in found else ""
    return parts(f"{seeds(found['seeds'])}{epochs}.", table(["ranker", *titles], rows))


def _rankers_told(found: Found) -> str:
    told = []
    for end in ("", "_dlrm", "_wide_deep"):
        auc, error = (
            statistics.fmean(_values(found, f"{name}{end}"))
            for name in ("rank_auc_click", "rank_ece_click")
        )
        told.append(f"{_RANKERS[end]} AUC {auc:.4f}, error {error:.4f}")
    return "; ".join(told)


def _rankers_checks(found: Found) -> list[bool]:
    ends = ("", "_dlrm", "_wide_deep")
    return [max(_values(found, f"rank_ece_click{end}")) < _CALIBRATED for end in ends]


_MOST_MS = 50


def _recommend_told(found: Found) -> str:
    whole, search = found["recommend"], found["search"]
    return (
        f"p50 {whole['p50_ms']:.1f} ms, p99 {whole['p99_ms']:.1f} ms, {found['ranked']} candidates "
        f"ranked (search alone {search['p99_ms']:.1f} ms); overlap@50 {found['overlap_50']:.3f}"
    )


def _recommend_table(found: Found) -> str:
    told = {
        "recommend": "the whole list, with reasons",
        "rank": f"{found['ranked']} candidates: features, history, ranking head",
        "search": "search",
    }
    rows = [[words, found[key]["p50_ms"], found[key]["p99_ms"]] for key, words in told.items()]
    skew = found["skew"]
    return parts(
        f"{found['calls']:,} calls; {found['users']:,} investors, {found['items']:,} items. To "
        f"read the bundle takes {found['open_s']} s once. The share of the 50 nearest by brute "
        f"force that the search finds is {found['overlap_50']:.3f}: the index is exact, nothing "
        "is approximated.",
        table(["part of a call", "p50, ms", "p99, ms"], rows),
        f"Scores differ from those of the batch, which knows what happened since the cut, by "
        f"{skew['median']:.4f} in the median and {skew['p90']:.4f} at the 90th percentile of the "
        f"first {skew['requests']} requests ({skew['hours']} hours), in units of the spread of "
        "scores; at the cut itself they are equal.",
    )


SECTIONS = (
    Section(
        "rankers",
        "The ranking head and its rivals",
        "How the slates of the market after the cut are ordered by the ranking head, by DLRM and "
        "Wide & Deep, which learnt from the same slates and features and are calibrated on the "
        "validation period, by the cosine of recall, and by popularity. AUC is within a slate, "
        "1 for every answer above the rest; the calibration error is that of the probability of a "
        "click over ten bins of equal width, and the head's is as it was trained.",
        "`make run`, then `make bench-rankers`",
        (
            Figure(
                "the market's slates: ranking head, DLRM, Wide & Deep (clicks)",
                "all in one table; calibration error below .02",
                _rankers_told,
                _rankers_checks,
            ),
        ),
        _rankers_table,
    ),
    Section(
        "recommend",
        "A list from a bundle",
        "How long one investor waits for 50 items with their reasons: the nearest are retrieved, "
        "what is held or unsuitable goes, and the ranking head orders the rest. The bundle is read "
        "once, calls run on one thread.",
        "`make run`, then `make bench-recommend`",
        (
            Figure(
                "one investor's list from a bundle",
                "p99 under 50 ms, overlap@50 with exact search above .95",
                _recommend_told,
                lambda f: [f["recommend"]["p99_ms"] < _MOST_MS, f["overlap_50"] > 0.95],
            ),
        ),
        _recommend_table,
    ),
)
