"""How the nearest vectors are found where there are more than a process should hold."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_FOUND, _LEAST, _MOST_MS, _OWN = 0.95, 0.5, 50, 1 / 8


def rows(found: Found) -> list[Found]:
    """Return what was measured of each index, of the larger catalogue too."""
    more = found["beside"]["figures"]["rows"] if "beside" in found else []
    return [*found["rows"], *more]


def largest(found: Found, index: str) -> Found | None:
    """Return what was measured of an index at the most vectors it was built for."""
    some = [row for row in rows(found) if row["index"] == index]
    return max(some, key=lambda row: row["vectors"], default=None)


def told(found: Found, index: str) -> str:
    """Say the worst of an index under any filter; nothing if it was not measured."""
    row = largest(found, index)
    if row is None:
        return ""
    recall, least = (min(one[name] for one in row["searches"]) for name in ("recall", "least"))
    p99_ms = max(one["p99_ms"] for one in row["searches"])
    own = f"{row['own_mb']:,} MB of its own beside {vectors_mb(found, row):,.0f} MB of vectors"
    return f"{row['vectors']:,}: {recall:.3f}, least {least:.2f}, p99 {p99_ms:.0f} ms, {own}"


def vectors_mb(found: Found, row: Found) -> float:
    """Return what the vectors of a row take whole."""
    return float(row["vectors"] * found["width"] * 4 / 2**20)


def _holds(found: Found, index: str) -> list[bool]:
    row = largest(found, index)
    if row is None:
        return []
    searches = row["searches"]
    return [
        all(one["recall"] >= _FOUND for one in searches),
        all(one["least"] >= _LEAST for one in searches),
        all(one["p99_ms"] < _MOST_MS for one in searches),
        row["own_mb"] < _OWN * vectors_mb(found, row),
    ]


SECTIONS = (
    Section(
        "vector_indexes",
        {
            "lists": lambda f: _holds(f, "lists"),
            "pq": lambda f: _holds(f, "pq"),
        },
        {"rows": rows, "told": told},
        beside="vector_indexes_disk",
    ),
    Section(
        "vector_graph",
        {"hnsw": lambda f: _holds(f, "hnsw")},
        {"rows": rows, "told": told},
    ),
)
