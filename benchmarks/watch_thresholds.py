"""Set the limits of monitoring/served.yaml by days on which nothing changes.

Usage: python -m benchmarks.watch_thresholds [--seeds 5] [--days 10] [--write]

A limit is the smallest effect that anybody would act on (`LEAST`), or what one clean day in a
hundred shows by chance where that is more.  Seeds are others than those of
`benchmarks.watch_drift`.  Limits that no day decides (`exact`, and bounds of what may not be) stay.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, Kept, each
from benchmarks.watch_world import Days
from tessera.contracts.series import ALL, Point
from tessera.platform.watching.day import SPEC
from tessera.stages.daily.day import measure
from tessera.stages.daily.spec import Rule, Served, load_spec
from tessera.stages.daily.verdicts import key_of

FIRST_SEED = 1000
LEAST = {
    "propensity.effective_share": 0.2, "exploration_share": 0.2, "click_rate": 0.15,
    "click_auc": 0.03, "buy_rate": 0.2, "dismiss_rate": 0.25, "complaint_rate": 0.5,
    "gini": 0.05, "coverage": 0.15,
    "average_popularity": 0.1, "top_5_share": 0.05, "top_item_share": 0.02, "tail_share": 0.2,
    "amplification": 0.2, "diversity": 0.15, "miscalibration": 0.15, "issuer_gap": 0.05,
    "price.spread": 0.25, "events.orphan_share": 0.01, "events.top_investor_share": 0.02,
    "events.top_item_share": 0.02, "events.log_amount": 0.1, "psi.*": 0.05,
    "wasserstein.*": 0.1, "c2st.auc": 0.6,
}  # fmt: skip
_SHARE = 0.99


def effects(points: list[Point], spec: Served) -> Iterator[tuple[str, float]]:
    """Return how far each judged series lies from what it is compared with."""
    for one in points:
        key = key_of(one.series, spec.series)
        if key not in LEAST or one.slice != ALL or one.threshold is None or one.value is None:
            continue
        yield key, _effect(one.value, one.threshold, str(one.side), spec.series[key])


def _effect(value: float, threshold: float, side: str, rule: Rule) -> float:
    """Return the effect in the unit of the limit.

    >>> _effect(1.3, 1.2, "above", Rule(kind="relative", limit=0.2))
    0.30000000000000004
    """
    if rule.kind == "bound":
        return value
    sign = 1.0 if side == "above" else -1.0
    if rule.kind == "relative":
        return sign * (value / (threshold / (1 + sign * rule.limit)) - 1)
    return sign * (value - (threshold - sign * rule.limit))


def of_seed(days: int, seed: int) -> list[tuple[str, float]]:
    """Measure clean days of one world."""
    spec = load_spec(ROOT / SPEC)
    with tempfile.TemporaryDirectory() as folder:
        world = Days.of(FIRST_SEED + seed, Path(folder), spec)
        found = [world.summary(number) for number in range(spec.window_days + days)]
    return [
        effect
        for last in range(spec.window_days, len(found))
        for effect in effects(
            measure(found[last], found[last - spec.window_days : last], spec).points, spec
        )
    ]


def limits(found: list[tuple[str, float]]) -> dict[str, float]:
    """Return the limit of each series."""
    return {
        key: max(least, float(f"{np.quantile([e for k, e in found if k == key], _SHARE):.2g}"))
        for key, least in LEAST.items()
        if any(k == key for k, _ in found)
    }


def write(limit: dict[str, float], path: Path) -> None:
    """Write limits into the specification, line by line."""
    text = path.read_text()
    for key, value in limit.items():
        line = re.compile(rf"^(  {re.escape(key)}: .*limit: )[0-9.e+-]+", re.MULTILINE)
        text, count = line.subn(rf"\g<1>{value:g}", text)
        assert count == 1, key
    path.write_text(text)


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    kept = Kept("watch_thresholds", {"days": asked.days, "least": LEAST})
    rows = each(partial(of_seed, asked.days), range(asked.seeds), "clean worlds", kept)
    found = limits([(key, effect) for row in rows for key, effect in row])
    print(json.dumps(found, indent=2))
    if asked.write:
        write(found, ROOT / SPEC)


if __name__ == "__main__":
    main()
