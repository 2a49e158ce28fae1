"""What stands in print beside our own lists; every source ranks the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.page import NOTHING, parts, table

_FULL_ML = "Published on the whole of MovieLens-1M (6,040 users, so not the same users)"


def _published(title: str, titles: Sequence[str], *rows: Sequence[str]) -> str:
    return parts(f"{title}:", table(titles, rows))


_HITS = ("published", "HR@10", "nDCG@10")
ML = _published(
    _FULL_ML,
    _HITS,
    ("SASRec, authors of HSTU", ".2853", ".1603"),
    ("HSTU, its authors", ".3097", ".1720"),
    ("SASRec, RecTools", ".2877", ".1622"),
    ("HSTU, RecTools", ".3226", ".1880"),
    ("the authors' code, run on these 2,999 users", ".295", ".168"),
)
LARGE = _published(
    _FULL_ML,
    _HITS,
    ("HSTU-large, its authors", ".3294", ".1893"),
    ("HSTU-large, RecTools", ".3642", ".2164"),
)
BEAUTY = _published(
    "Published on the same set and protocol",
    _HITS,
    ("SASRec with sampled softmax (arXiv 2508.06450)", ".0921", ".0531"),
    ("HSTU (arXiv 2508.06450)", ".0788", ".0439"),
    ("TIGER, its paper", ".0648", ".0384"),
)
FAR = _published(
    "Published on the full data at the paper's own dates (arXiv 2407.08692), so not the same users",
    ("published", "nDCG@10", "ROI@10"),
    ("LightGCN", ".3404", ".0004"),
    ("popularity", ".2710", ".0006"),
    ("matrix factorisation", ".1780", ".0038"),
    ("user-kNN", ".1599", ".0119"),
    ("random forest", ".0237", ".0259"),
    ("market", NOTHING, ".0079"),
)
