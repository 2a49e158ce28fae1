"""How long `ingest` takes and how much memory it holds, at 2 and 10 million made-up events.

Usage: python -m benchmarks.ingest [--events 2000000 10000000]
Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common import ROOT, write_result
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.columns import Table
from tessera.contracts.tables import EVENTS, EXPOSURES, ITEMS, OUTCOMES, PRICES, USERS

_CHUNK = 1_000_000
_ITEMS, _USERS, _DAYS = 2_000, 100_000, 500
_START = datetime(2024, 1, 1, tzinfo=UTC)
_BROKEN = 1_000
"""One event in so many breaks a rule or repeats its neighbour."""
_CANDIDATES = 10


def made_up_market(folder: Path, events: int, seed: int = 0) -> None:
    """Write the six files of a market without structure, fast; some rows are broken on purpose."""
    rng = np.random.default_rng(seed)
    item_I = _named("i", np.arange(_ITEMS))
    user_U = _named("u", np.arange(_USERS))
    write_table(_items(item_I), ITEMS, folder / "items.parquet")
    write_table(_users(user_U, rng), USERS, folder / "users.parquet")
    for table in (PRICES, OUTCOMES):
        write_table(schema(table).empty_table(), table, folder / f"{table.name}.parquet")
    with pq.ParquetWriter(folder / "events.parquet", schema(EVENTS)) as writer:
        for first in range(0, events, _CHUNK):
            rows = min(_CHUNK, events - first)
            writer.write_table(_events(first, rows, item_I, user_U, rng))
    with pq.ParquetWriter(folder / "exposures.parquet", schema(EXPOSURES)) as writer:
        for first in range(0, events // 10, _CHUNK // 10):
            rows = min(_CHUNK // 10, events // 10 - first)
            writer.write_table(_exposures(first, rows, item_I, user_U, rng))


def _named(prefix: str, number_N: np.ndarray) -> pa.Array:
    digits = pc.utf8_lpad(pc.cast(pa.array(number_N), pa.string()), 10, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def _moments(rng: np.random.Generator, rows: int) -> pa.Array:
    offset_N = rng.integers(0, _DAYS * 86_400, rows) * 1_000_000
    start = int(_START.timestamp()) * 1_000_000
    return pa.array(start + offset_N).cast(pa.timestamp("us", tz="UTC"))


def _nulls(table: Table, rows: int, columns: dict[str, pa.Array]) -> pa.Table:
    wanted = schema(table)
    return pa.Table.from_arrays(
        [columns[f.name] if f.name in columns else pa.nulls(rows, f.type) for f in wanted],
        schema=wanted,
    )


def _items(item_I: pa.Array) -> pa.Table:
    risk_I = pa.array(np.arange(_ITEMS) % 4 + 1)
    return _nulls(ITEMS, _ITEMS, {"item_id": item_I, "name": item_I, "risk_class": risk_I})


def _users(user_U: pa.Array, rng: np.random.Generator) -> pa.Table:
    since_U = pa.array([_START] * _USERS, pa.timestamp("us", tz="UTC"))
    risk_U = pa.array(rng.integers(1, 5, _USERS))
    return _nulls(USERS, _USERS, {"user_id": user_U, "valid_from": since_U, "risk_class": risk_U})


def _events(
    first: int, rows: int, item_I: pa.Array, user_U: pa.Array, rng: np.random.Generator
) -> pa.Table:
    number_N = np.arange(first, first + rows)
    amount_N = rng.gamma(2.0, 500.0, rows)
    amount_N[number_N % _BROKEN == 1] *= -1.0
    number_N[number_N % _BROKEN == 2] -= 1
    columns = {
        "event_id": _named("e", number_N),
        "user_id": user_U.take(rng.integers(0, _USERS, rows)),
        "item_id": item_I.take(rng.integers(0, _ITEMS, rows)),
        "action": pa.array(["view", "click", "buy", "sell"]).take(rng.integers(0, 4, rows)),
        "event_ts": _moments(rng, rows),
        "time_kind": pa.repeat(pa.scalar("exact"), rows),
        "amount_eur": pa.array(amount_N),
        "units": pa.array(np.ceil(np.abs(amount_N) / 50.0)),
        "channel": pa.array(["app", "branch"]).take(rng.integers(0, 2, rows)),
        "request_id": _named("r", number_N // 3),
    }
    return _nulls(EVENTS, rows, columns)


def _exposures(
    first: int, rows: int, item_I: pa.Array, user_U: pa.Array, rng: np.random.Generator
) -> pa.Table:
    number_N = np.arange(first, first + rows)
    candidate_NC = item_I.take(rng.integers(0, _ITEMS, rows * _CANDIDATES))
    bounds = pa.array(np.arange(rows + 1, dtype=np.int32) * _CANDIDATES)
    even_NC = pa.array(np.full(rows * _CANDIDATES, 1.0 / _CANDIDATES))
    columns = {
        "request_id": _named("r", number_N),
        "position": pa.repeat(pa.scalar(1), rows),
        "user_id": user_U.take(rng.integers(0, _USERS, rows)),
        "item_id": candidate_NC.take(np.arange(rows) * _CANDIDATES),
        "event_ts": _moments(rng, rows),
        "policy_id": pa.repeat(pa.scalar("even"), rows),
        "propensity": pa.repeat(pa.scalar(1.0 / _CANDIDATES), rows),
        "candidate_ids": pa.ListArray.from_arrays(bounds, candidate_NC),
        "candidate_propensities": pa.ListArray.from_arrays(bounds, even_NC),
        "context_version": pa.repeat(pa.scalar("0"), rows),
    }
    return _nulls(EXPOSURES, rows, columns)


def measure(source: Path, out: Path) -> dict[str, float]:
    """Run the stage in this process; seconds, peak memory and rows."""
    from tessera.platform.validation.validation import validate_all
    from tessera.stages.ingest.params import IngestParams
    from tessera.stages.ingest.stage import ORDER, run

    request = out / "request.json"
    request.write_text('{"cut": null}')
    names = (*ORDER, "quarantine")
    begun = time.perf_counter()
    metrics = run(
        source=source,
        request=request,
        split=out / "split.json",
        suitability=out / "suitability.json",
        params=IngestParams(),
        **{name: out / f"{name}.parquet" for name in names},
    )
    ingest_seconds = time.perf_counter() - begun
    tables = {name: out / f"{name}.parquet" for name in names}
    validate_all(tables, ROOT / "great_expectations", out / "validation")
    seconds = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 2),
        "ingest_seconds": round(ingest_seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_rss_mb": round(usage.ru_maxrss / 1024, 1),
        "events_per_second": round(metrics["events_in"] / seconds),
        **{name: metrics[name] for name in ("events_in", "events_good", "events_quarantined")},
    }


def _in_a_process(events: int, scratch: Path) -> dict[str, float]:
    source, out = scratch / "source", scratch / "out"
    source.mkdir()
    out.mkdir()
    made_up_market(source, events)
    command = [sys.executable, "-m", "benchmarks.ingest", "--measure", str(source), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure each size and write benchmarks/results/ingest.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[2_000_000, 10_000_000])
    parser.add_argument("--most-mb", type=float, help="fail if the peak is above it")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(*asked.measure)))
        return
    results = {}
    for events in asked.events:
        with TemporaryDirectory() as scratch:
            results[f"{events} events"] = _in_a_process(events, Path(scratch))
    write_result("ingest", results)
    peak_mb = max(found["peak_rss_mb"] for found in results.values())
    if asked.most_mb and peak_mb > asked.most_mb:
        raise SystemExit(f"ingest held {peak_mb} MB, over {asked.most_mb}")


if __name__ == "__main__":
    main()
