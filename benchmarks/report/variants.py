"""What changes on MovieLens when one part of HSTU is another."""

from __future__ import annotations

import statistics

from benchmarks.report.page import Figure, Found, Section, parts, seeds, table
from benchmarks.report.quality import HITS, METRICS, command_of, tables_of, told_of


def _both(found: Found) -> list[tuple[str, Found, Found]]:
    """Return HSTU as it is and as the variant, on the seeds that both results have."""
    full = found["beside"]["figures"]["seeds"] if "beside" in found else {}
    return [
        (seed, full[seed]["models"]["hstu"], one["models"]["hstu"])
        for seed, one in found["seeds"].items()
        if seed in full
    ]


def _beside_table(found: Found) -> str:
    """Lay the variant beside HSTU as it is."""
    both = _both(found)
    if not both:
        return ""
    rows = [
        [f"seed {seed}"]
        + [f"{full[n]:.4f} / {bare[n]:.4f} / {bare[n] - full[n]:+.4f}" for n in HITS]
        for seed, full, bare in both
    ]
    whole = found["beside"]["figures"]["settings"]
    differ = [name for name, value in found["settings"].items() if whole.get(name, value) != value]
    return parts(
        table(["HSTU", *(f"{METRICS[n]}: as it is / so / difference" for n in HITS)], rows),
        f"As it is: commit {found['beside']['commit']}. Settings that differ: {', '.join(differ)}.",
    )


def _beside_told(found: Found) -> str:
    both = _both(found)
    if not both:
        return told_of(*HITS)(found)
    lost = {n: statistics.fmean(bare[n] - full[n] for _, full, bare in both) for n in HITS}
    told = ", ".join(f"{METRICS[name]} {value:+.4f}" for name, value in lost.items())
    return f"{told} ({seeds(both)})"


def _section(name: str, title: str, purpose: str, asked: str) -> Section:
    return Section(
        f"quality_{name}",
        title,
        f"{purpose} The trunk is trained alone.",
        command_of(name, "0"),
        (Figure(title, asked, _beside_told),),
        lambda found: parts(_beside_table(found), tables_of()(found)),
        beside="quality_movielens",
    )


SECTIONS = (
    _section(
        "movielens-no-time",
        "MovieLens-1M without the time bias",
        "The same with attention that does not see when events happened.",
        "what the time bias is worth",
    ),
    _section(
        "movielens-no-weights",
        "MovieLens-1M without item weights",
        "The same without the closed-form weights between items that are a part of every vector.",
        "what the trunk alone is worth",
    ),
    _section(
        "movielens-shared",
        "MovieLens-1M with shared negatives",
        "The same with 512 negatives for every 512 targets instead of the whole catalogue, the "
        "faster way to train.",
        "what the faster loss costs",
    ),
)
