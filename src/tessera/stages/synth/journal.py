"""The log of the house as it grows: events with a little dirt, exposures without, outcomes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tessera.contracts.arrow import schema
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, QUERIES
from tessera.stages.synth import files, searches
from tessera.stages.synth.behaviour import Market
from tessera.stages.synth.dirt import EVENT_FAULTS, OUTCOME_FAULTS, soil
from tessera.stages.synth.explorer import logging_policy, policy_ids
from tessera.stages.synth.interactions import CLICK, DISMISS
from tessera.stages.synth.log import Chunk
from tessera.stages.synth.truth import FOLDER


class Journal:
    """Growing Parquet files and the counts of what was broken on purpose."""

    def __init__(self, market: Market, source: Path, rng: np.random.Generator) -> None:
        self._market = market
        self._source = source
        self._rng = rng
        self._events = files.Sink(source / "events.parquet", files.raw_schema(EVENTS))
        self._exposures = files.Sink(source / "exposures.parquet", schema(EXPOSURES))
        self._outcomes = files.Sink(source / "outcomes.parquet", files.raw_schema(OUTCOMES))
        self._searches: tuple[files.Sink, ...] = ()
        if market.params.queries:
            self._searches = self._sinks_of_searches()
        self._dirt: dict[str, Counter[str]] = {"events": Counter(), "outcomes": Counter()}
        self._did: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        """Write what a chunk of visits saw and did."""
        share, market = self._market.params.dirty_rows, self._market
        rows = files.events(chunk, self._events.rows, self._rng)
        rows, dirt = soil(rows, EVENT_FAULTS, share, self._rng)
        self._events.add(rows)
        self._dirt["events"].update(dirt)
        rows, dirt = soil(files.outcomes(chunk), OUTCOME_FAULTS, share, self._rng)
        self._outcomes.add(rows)
        self._dirt["outcomes"].update(dirt)
        self._exposures.add(files.exposures(market, chunk))
        self._count(chunk)

    def add_searches(self, found: searches.Searches) -> None:
        """Write queries, what is true of them, and the clicks that they led to; all of it clean."""
        asked, told = self._searches
        asked.add(searches.queries(found))
        told.add(searches.answers(found, self._market.params.items))
        self._events.add(searches.clicks(found, self._events.rows))

    def close(self) -> dict[str, float]:
        """Finish the files; return rows and rates per position shown."""
        for sink in (self._events, self._exposures, self._outcomes, *self._searches):
            sink.close()
        self._describe()
        shown = max(self._exposures.rows, 1)
        return {
            "events": self._events.rows,
            "exposures": self._exposures.rows,
            "outcomes": self._outcomes.rows,
            **({"queries": self._searches[0].rows} if self._searches else {}),
            "dirty_rows": sum(counts.total() for counts in self._dirt.values()),
            **{f"{what}_rate": count / shown for what, count in sorted(self._did.items())},
        }

    def _sinks_of_searches(self) -> tuple[files.Sink, files.Sink]:
        name = f"{QUERIES.name}.parquet"
        return (
            files.Sink(self._source / name, files.raw_schema(QUERIES)),
            files.Sink(self._source / FOLDER / name, searches.TRUTH),
        )

    def _count(self, chunk: Chunk) -> None:
        interactions = chunk.interactions
        action_M = interactions.action_M[interactions.from_slate_M]
        self._did["click"] += int((action_M == CLICK).sum())
        self._did["dismiss"] += int((action_M == DISMISS).sum())
        self._did["buy"] += int(((action_M != CLICK) & (action_M != DISMISS)).sum())

    def _describe(self) -> None:
        """Write what the house says about its policy, and what we know about the dirt."""
        params = self._market.params
        days = params.window_days
        said = {
            "policy_id": policy_ids(params)[0],
            **asdict(logging_policy(params)),
            "slate_size": params.positions,
            "candidates": params.candidates,
            "attribution_days": int(days) if days.is_integer() else days,
            "explore_per_day": params.explore_per_day,
        }
        (self._source / "logging_policy.json").write_text(json.dumps(said, indent=2) + "\n")
        dirt = {table: dict(counts) for table, counts in self._dirt.items()}
        (self._source / FOLDER / "dirt.json").write_text(json.dumps(dirt, indent=2) + "\n")
