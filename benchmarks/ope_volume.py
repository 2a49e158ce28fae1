"""Seconds and peak memory of judging 10 million exposures of 10 candidates each, q given.

Usage: python -m benchmarks.ope_volume
A run that finished on this machine is not repeated (data/bench/ope_volume.jsonl): remove it to time
again.
Candidates come in chunks and leave as five numbers a row; making the chunks is not timed, though
its memory counts.  The bootstrap is left out.

Shapes: N units, C candidates.
"""

from __future__ import annotations

import math
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks import intervals
from benchmarks.common import Kept, each, machine, write_result
from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy import bounds, estimators
from tessera.offpolicy.clusters import ClusterLog, single
from tessera.offpolicy.estimators import Log
from tessera.offpolicy.sequences import Wager, betting_lower, stakes

ROWS, CHUNK, CANDIDATES, SAMPLE = 10_000_000, 250_000, 10, 100_000
_USERS, _ALPHA, _FLOOR = 1_000_000, 0.05, 1.0
_MOST = 100.0
"""No weight is larger: no propensity is below .01."""
_CEILING, _SWITCH, _SHRINKAGE = 10.0, 5.0, 100.0


def make_chunk(rng: np.random.Generator, rows: int) -> ClusterLog:
    """Draw requests whose propensities are within a factor of 10 of each other."""
    odds_NC, wanted_NC = (rng.uniform(0.1, 1.0, (rows, CANDIDATES)) for _ in range(2))
    served_NC = odds_NC / odds_NC.sum(axis=1, keepdims=True)
    wanted_NC /= wanted_NC.sum(axis=1, keepdims=True)
    return ClusterLog(
        reward_N=(rng.random(rows) < 0.05).astype(float),
        chosen_N=rng.integers(0, CANDIDATES, rows),
        served_NC=served_NC,
        wanted_NC=wanted_NC,
        guess_NC=rng.uniform(0.0, 0.1, (rows, CANDIDATES)),
        cluster_NC=np.broadcast_to(np.arange(CANDIDATES), (rows, CANDIDATES)),
    )


def judge(log: Log, user_N: Ints) -> dict[str, float]:
    """Give the lower bound by each estimator, and those of the gate's kind."""
    found = {}
    for name, value_N in _values(log):
        found[name] = bounds.clustered_normal(value_N, user_N, _ALPHA).lower
    value_N = estimators.ips(log)
    found["bernstein"] = intervals.empirical_bernstein(value_N, 0.0, _MOST, _ALPHA).lower
    found["sequence"] = betting_lower([Wager(value_N, _FLOOR)], 1.0, _ALPHA)
    return found


def _values(log: Log) -> Iterator[tuple[str, Float64s]]:
    yield "ips", estimators.ips(log)
    yield "clipped", estimators.clipped_ips(log, _CEILING)
    yield "snips", estimators.snips_influence(log)
    yield "dm", estimators.dm(log)
    yield "dr", estimators.dr(log)
    yield "sndr", estimators.sndr_influence(log)
    yield "switch_dr", estimators.switch_dr(log, _SWITCH)
    yield "dros", estimators.dros(log, _SHRINKAGE)


def judge_row_by_row(seen: ClusterLog, user_N: Ints) -> dict[str, float]:
    """Give the same as `single` and `judge` by plain loops over rows and candidates."""
    rows, n = _gathered_rows(seen), len(user_N)
    mean_weight = sum(w for w, *_ in rows) / n
    ratio = sum(w * r for w, r, _, _ in rows) / (n * mean_weight)
    missed = sum(w * (r - q) for w, r, q, _ in rows) / (n * mean_weight)
    values: dict[str, list[float]] = defaultdict(list)
    for w, r, q, v in rows:
        share = w / mean_weight
        values["ips"].append(w * r)
        values["clipped"].append(min(w, _CEILING) * r)
        values["snips"].append(share * (r - ratio) + ratio)
        values["dm"].append(v)
        values["dr"].append(v + w * (r - q))
        values["sndr"].append(v + share * (r - q - missed) + missed)
        values["switch_dr"].append(v + (w * (r - q) if w <= _SWITCH else 0.0))
        values["dros"].append(v + _SHRINKAGE * w / (w * w + _SHRINKAGE) * (r - q))
    found = {name: _clustered_lower(value, user_N) for name, value in values.items()}
    found["bernstein"] = _bernstein_lower(values["ips"])
    found["sequence"] = _sequence_lower(values["ips"])
    return found


def _gathered_rows(seen: ClusterLog) -> list[tuple[float, float, float, float]]:
    rows = []
    for n, chosen in enumerate(seen.chosen_N):
        baseline = 0.0
        for c in range(CANDIDATES):
            baseline += seen.wanted_NC[n, c] * seen.guess_NC[n, c]
        weight = seen.wanted_NC[n, chosen] / seen.served_NC[n, chosen]
        rows.append((float(weight), float(seen.reward_N[n]), float(seen.guess_NC[n, chosen]),
                     float(baseline)))  # fmt: skip
    return rows


def _clustered_lower(value: list[float], user_N: Ints) -> float:
    mean = sum(value) / len(value)
    sums: dict[int, float] = defaultdict(float)
    for one, user in zip(value, user_N, strict=True):
        sums[user] += one - mean
    squares = sum(one * one for one in sums.values()) * len(sums) / (len(sums) - 1)
    return mean - NormalDist().inv_cdf(1 - _ALPHA) * math.sqrt(squares) / len(value)


def _bernstein_lower(value: list[float]) -> float:
    n, surprise = len(value), math.log(2 / _ALPHA)
    mean = sum(value) / n
    spread = sum((one - mean) ** 2 for one in value) / (n - 1)
    return mean - math.sqrt(2 * spread * surprise / n) - 7 * _MOST * surprise / (3 * (n - 1))


def _sequence_lower(value: list[float]) -> float:
    """Bisect for the mean at which the wealth of the bettor is one over alpha."""
    shares = [float(stake) for stake in stakes(_FLOOR)]

    def wealth(mean: float) -> float:
        logs = [sum(math.log1p(share * (one - mean)) for one in value) for share in shares]
        most = max(logs)
        return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))

    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if wealth(middle) > math.log(1 / _ALPHA) else (low, middle)
    return low


class _Watch:
    """Adds up wall-clock and processor seconds of the blocks it is held over."""

    wall = busy = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._begun[0]
        self.busy += time.process_time() - self._begun[1]


def _judge_all(rng: np.random.Generator) -> _Watch:
    """Gather every chunk into its place and judge them as one log."""
    watch, user_N = _Watch(), rng.integers(0, _USERS, ROWS)
    with watch:
        whole = {field.name: np.empty(ROWS) for field in fields(Log)}
    for start in range(0, ROWS, CHUNK):
        chunk = make_chunk(rng, CHUNK)
        with watch:
            gathered = single(chunk)
            for name, value_N in whole.items():
                value_N[start : start + CHUNK] = getattr(gathered, name)
    with watch:
        judge(Log(**whole), user_N)
    return watch


def measure(_: str) -> dict[str, Any]:
    """Time both ways; they must find the same bounds on the sample.

    Seconds are wall-clock; the ratio is of processor seconds, which others on the machine lengthen
    less.
    """
    rng = np.random.default_rng(0)
    sample = make_chunk(rng, SAMPLE)
    user_N = np.unique(rng.integers(0, SAMPLE // 10, SAMPLE), return_inverse=True)[1]
    loop = _Watch()
    with loop:
        slow = judge_row_by_row(sample, user_N)
    fast = judge(single(sample), user_N)
    if not all(math.isclose(fast[name], slow[name], abs_tol=1e-9) for name in slow):
        raise SystemExit(f"arrays give {fast}, a loop {slow}")
    watch = _judge_all(rng)
    return {
        "exposures": ROWS,
        "candidates": CANDIDATES,
        "seconds": round(watch.wall, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "loop_sample": SAMPLE,
        "times_faster_than_a_loop": round(loop.busy / SAMPLE * ROWS / watch.busy, 1),
    }


if __name__ == "__main__":
    kept = Kept("ope_volume", machine())
    write_result("ope_volume", each(measure, ["all"], "volume", kept)[0])
