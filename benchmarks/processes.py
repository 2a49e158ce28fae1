"""What processes that share a training gain and hold, and what an item of their tables weighs.

Usage: python -m benchmarks.processes [--rounds 3] [--many 1 2 4] [--users 600]
Each number of processes trains the same made-up market for two epochs, in turns, and the second
epoch counts, so that figures are ratios of one run.  Each process has one thread and one core;
where there are fewer cores than processes, only processor seconds say something.
Memory is that of one process: anonymous, and of files that are mapped.  An item's bytes are the
slope of anonymous memory between two catalogues.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.common import ROOT, write_result
from tessera.contracts.frames import conform
from tessera.contracts.split import Split
from tessera.contracts.tables import EVENTS, ITEMS
from tessera.model.nn.device import threads
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.reading import read_histories
from tessera.model.trainer import parallel
from tessera.model.trainer.loop import Trainer
from tessera.model.training.fit import fit

_START = datetime(2024, 1, 1, tzinfo=UTC)
_EVENTS, _ITEMS, _LEVELS, _CODEWORDS = 40, 2_000, 3, 256
_CATALOGUES = (20_000, 120_000)
"""Items between which memory is compared, both beyond `hstu.full_softmax_items`."""
_PARAMS = HstuParams(
    epochs=2, batch_parts=4, acquired=("buy",), item_weights_width=0, demand_days=0.0
)
"""Nobody buys, so nothing is validated: what is measured is training."""
_STATUS = ("RssAnon", "RssFile", "RssShmem")


def main() -> None:
    """Measure, and write results/processes.json; as one of several processes, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--items", type=int, default=_ITEMS)
    parser.add_argument("--train", type=Path)
    asked = parser.parse_args()
    if asked.train:
        _train(asked.train, asked.users, asked.items)
        return
    runs: dict[int, list[list[dict[str, float]]]] = {many: [] for many in asked.many}
    for _ in range(asked.rounds):
        for many, found in runs.items():
            found.append(_run(many, asked.users, asked.items))
    small, large = (_run(1, asked.users // 4, items)[0] for items in _CATALOGUES)
    between = _CATALOGUES[1] - _CATALOGUES[0]
    grown = (large["anon_mb"] - small["anon_mb"]) * 2**20
    write_result(
        "processes",
        {
            "users": asked.users,
            "rounds": asked.rounds,
            "cores": len(os.sched_getaffinity(0)),
            "width": _PARAMS.width,
            "processes": {str(many): _told(runs[many], runs[1]) for many in runs},
            "bytes_an_item": round(grown / between),
            "catalogues": _CATALOGUES,
        },
    )


def _told(runs: list[list[dict[str, float]]], alone: list[list[dict[str, float]]]) -> Any:
    """Return the medians over rounds of how much more there is done a second, and of the rest."""
    faster = [one[0]["wall_s"] / max(p["wall_s"] for p in run)
              for one, run in zip(alone, runs, strict=True)]  # fmt: skip
    work = [sum(p["cpu_s"] for p in run) / one[0]["cpu_s"]
            for one, run in zip(alone, runs, strict=True)]  # fmt: skip
    own = {name: max(p[name] for run in runs for p in run) for name in runs[0][0] if "mb" in name}
    return {
        "faster": round(statistics.median(faster), 2),
        "efficiency": round(statistics.median(faster) / len(runs[0]), 2),
        "processor_seconds": round(statistics.median(work), 2),
        "loss": runs[0][0]["loss"],
        **own,
    }


def _run(many: int, users: int, items: int) -> list[dict[str, float]]:
    """Train with so many processes; return what each says."""
    with TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                 "--nproc-per-node", str(many), "-m", "benchmarks.processes", "--train", folder,
                 "--users", str(users), "--items", str(items)]  # fmt: skip
        told = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run(words, cwd=ROOT, env=told, check=True)
        paths = [Path(folder) / f"{number}.json" for number in range(many)]
        return [json.loads(path.read_text()) for path in paths]


def _train(folder: Path, users: int, items: int) -> None:
    """Train as one of several processes, on a core of its own if there is one; write figures."""
    cores = sorted(os.sched_getaffinity(0))
    number = int(os.environ.get("LOCAL_RANK", "0"))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    took: list[tuple[float, float]] = []
    whole = Trainer._epoch

    def timed(self: Trainer[Any, Any], bar: Any) -> None:
        wall, own = time.perf_counter(), time.process_time()
        whole(self, bar)
        took.append((time.perf_counter() - wall, time.process_time() - own))

    Trainer._epoch = timed  # type: ignore[method-assign]
    scratch = folder / str(number)
    scratch.mkdir()
    with threads(1), parallel.together(parts=_PARAMS.batch_parts, told=_PARAMS.model_dump()):
        state = fit("hstu", _market(users, items, scratch), _PARAMS, scratch / "kept").state
    wall, own = took[-1]
    figures = {"wall_s": wall, "cpu_s": own, "loss": state.losses[-1], **_memory()}
    (folder / f"{number}.json").write_text(json.dumps(figures))


def _memory() -> dict[str, float]:
    """Return what this process holds, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anon, mapped, shared = (int(lines[name].split()[0]) / 1024 for name in _STATUS)
    text = Path("/proc/self/smaps_rollup").read_text().splitlines()
    proportional = int(next(line for line in text if line.startswith("Pss:")).split()[1])
    return {
        "anon_mb": round(anon + shared, 1),
        "mapped_mb": round(mapped, 1),
        "proportional_mb": round(proportional / 1024, 1),
    }


def _market(users: int, items: int, folder: Path) -> Dataset:
    """Draw clicks, the more of an item the lower its number."""
    rng, events = np.random.default_rng(0), users * _EVENTS
    hour_E = np.sort(rng.integers(0, 24 * 100, events))
    rows = pa.table(
        {
            "event_id": [f"e{number:09d}" for number in range(events)],
            "user_id": [f"u{user:07d}" for user in rng.integers(0, users, events)],
            "item_id": [f"i{item:08d}" for item in (items * rng.random(events) ** 2).astype(int)],
            "action": ["click"] * events,
            "event_ts": [_START + timedelta(hours=int(hour)) for hour in hour_E],
        }
    )
    goods = pa.table({"item_id": [f"i{item:08d}" for item in range(items)]})
    catalogue = read_catalogue(conform(goods, ITEMS, {"name": "unnamed"}))
    done = conform(rows, EVENTS, {"time_kind": "exact"})
    validation, cut, end = (_START + timedelta(days=day) for day in (80, 90, 100))
    split = Split(validation, cut, end)
    histories = read_histories(done, split, catalogue.vocabulary, tied_sets=True, folder=folder)
    codes_VC = torch.from_numpy(1 + rng.integers(0, _CODEWORDS, (items + 1, _LEVELS)))
    codes_VC[0] = 0
    return Dataset(split, catalogue, codes_VC, histories)


if __name__ == "__main__":
    main()
