"""How the nearest vectors are found where there are more than a process should hold."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_FOUND, _LEAST, _MOST_MS, _OWN = 0.95, 0.5, 50, 1 / 8


def largest(found: Found, index: str) -> Found:
    """Return what was measured of an index at the most vectors it was built for."""
    rows: list[Found] = [row for row in found["rows"] if row["index"] == index]
    return max(rows, key=lambda row: row["vectors"])


def told(found: Found, index: str) -> str:
    """Say the worst of an index under any filter."""
    row = largest(found, index)
    recall, least = (min(one[name] for one in row["searches"]) for name in ("recall", "least"))
    p99_ms = max(one["p99_ms"] for one in row["searches"])
    return f"recall {recall:.3f}, least {least:.2f}, p99 {p99_ms:.0f} ms at {row['vectors']:,}"


def _holds(found: Found, index: str) -> list[bool]:
    searches = largest(found, index)["searches"]
    return [
        all(one["recall"] >= _FOUND for one in searches),
        all(one["least"] >= _LEAST for one in searches),
        all(one["p99_ms"] < _MOST_MS for one in searches),
    ]


def _codes(found: Found) -> list[bool]:
    row = largest(found, "pq")
    vectors_mb = row["vectors"] * found["width"] * 4 / 2**20
    return [*_holds(found, "pq"), row["own_mb"] < _OWN * vectors_mb]


SECTIONS = (
    Section(
        "vector_indexes",
        {
            "lists": lambda f: _holds(f, "lists"),
            "pq": _codes,
            "hnsw": lambda f: _holds(f, "hnsw"),
        },
        {"largest": largest, "told": told},
    ),
)
