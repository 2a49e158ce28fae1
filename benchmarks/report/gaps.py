"""How far one thing is ahead of its rival, over seeds that both were measured with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.report.page import Found


def ahead(on: Sequence[float], off: Sequence[float]) -> Found:
    """Return mean and two standard errors of the differences by seed, and what they come to.

    >>> ahead([0.3, 0.5], [0.1, 0.3])["word"], ahead([0.1], [0.3])["word"]
    ('earns', 'ties')
    """
    gap = [one - other for one, other in zip(on, off, strict=True)]
    mean = statistics.fmean(gap)
    spread = 2 * statistics.stdev(gap) / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
    low, high = mean - spread, mean + spread
    word = "earns" if low > 0 else "costs" if high < 0 else "ties"
    return {"mean": mean, "low": low, "high": high, "word": word}
