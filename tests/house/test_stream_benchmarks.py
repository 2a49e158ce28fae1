"""The benchmarks of streams on a few events: what they compare, and that they see a fault."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import stream_features, stream_taken
from tessera.serve.online.recent import Seen


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(stream_features, "ITEMS", 50)
    monkeypatch.setattr(stream_features, "ASKED", 20)


def test_a_stream_makes_the_features_of_the_batch():
    found = stream_features.sent(3_000)
    assert found["came"] > found["new"] == 3_000
    assert (found["compared"] > 0, found["differ"]) == (True, 0)


def test_a_count_that_forgets_what_came_late_is_found(monkeypatch):
    told = stream_features.drawn(3_000)
    assert (np.diff(told.moment_N) < 0).any()
    count = Seen.item_counts
    monkeypatch.setattr(Seen, "item_counts", lambda self, actions, asked, ago: np.maximum(
        count(self, actions, asked, ago) - 1, 0))  # fmt: skip
    assert stream_features.sent(3_000)["differ"] > 0


def test_what_is_taken_from_files_counts_once(monkeypatch):
    monkeypatch.setattr(stream_taken, "ASKED", 3)
    found = stream_taken.measured(("file", 300))
    assert (found["new"], found["known"], found["conflict"]) == (303, 3, 0)
