"""A stage that will hardly have memory enough says so before it starts."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.platform.pipeline import memory
from tessera.platform.pipeline.memory import GROWTH, Growth, too_little
from tessera.platform.workspace.catalogue import MARKET, stages

BY_NAME = {stage.name: stage for stage in stages(MARKET)}


@pytest.fixture
def free(monkeypatch):
    def so_much(mb):
        told = SimpleNamespace(available=mb * 2**20)
        monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: told)

    return so_much


@pytest.fixture
def events(workspace):
    path = workspace.artifact("events")
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"n": range(400)}), path)
    return path


def test_a_stage_says_what_it_takes_what_is_free_and_what_lifts_it(
    workspace, events, free, monkeypatch
):
    small = Growth("events", 100, 1000.0, 0.5, "raise the support")
    monkeypatch.setitem(GROWTH, "causal", small)
    free(1999)
    said = too_little(BY_NAME["causal"], workspace)
    assert said == (
        "causal: 400 events take about 2.0 GB of memory (1.0 GB at 100, measured), and 2.0 GB are "
        "free: it may be killed; raise the support, or more memory"
    )
    free(2001)
    assert too_little(BY_NAME["causal"], workspace) is None


def test_below_what_was_measured_it_takes_what_was_measured():
    assert Growth("events", 1000, 50.0, 0.7, "").heap_at(10) == 50.0


def test_who_is_not_known_to_grow_says_nothing_and_a_torn_table_is_told_by_the_stage(
    workspace, events, free
):
    free(0)
    assert too_little(BY_NAME["ingest"], workspace) is None
    assert too_little(BY_NAME["ope"], workspace) is None, "there is no table yet"
    events.write_bytes(events.read_bytes()[:40])
    assert too_little(BY_NAME["causal"], workspace) is None


def test_what_is_said_was_measured(repository):
    found = json.loads((repository / "benchmarks/results/scale.json").read_text())["figures"]
    largest, step = found["16x"], found["growth"]["4x to 16x"]
    for stage, one in GROWTH.items():
        assert (one.heap_mb, one.exponent) == (
            largest[stage]["heap_mb"], step[stage]["heap_mb"],
        )  # fmt: skip
        assert one.rows == {"events": largest["events"], "exposures": 16 * 660_000}[one.table]
