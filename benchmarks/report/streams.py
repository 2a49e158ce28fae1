"""Features that a stream gives beside those of the batch, and what a stream is taken in at."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_MOST_MS = 10
"""Of the features of a request: a fifth of what a request may take."""


def _last(found: Found) -> Found:
    """Return what was measured of the longest stream."""
    row: Found = max(found["rows"], key=lambda row: row["events"])
    return row


SECTIONS = (
    Section(
        "stream_features",
        {
            "same": lambda found: [row["differ"] == 0 for row in found["rows"]],
            "flat": lambda found: [_last(found)["last_p99_ms"] < _MOST_MS],
        },
        {"last": _last},
    ),
    Section(
        "stream_taken",
        {"once": lambda found: [row["new"] == row["events"] + found["asked"]
                                and row["conflict"] == 0 for row in found["rows"]]},
    ),
)  # fmt: skip
