"""Slates as the log has them become columns, many of one version at a time.

Shapes: S slates of a batch, L positions, C candidates, R positions that were filled, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import UNEXPLORED
from tessera.platform.watching.facts import Facts, days_since
from tessera.serve.context_version import ContextVersion
from tessera.serve.events import Record
from tessera.shared.policies.slate import EMPTY, slate_propensities
from tessera.stages.daily.frames import ANSWERS, CHANCE, TOOK

_EDGES = np.logspace(-4, 0, 13)[1:-1]
BINS = len(_EDGES) + 1
"""Of propensities."""
_HOUR_US = 3_600_000_000
_UNIFORM = ("uniform", "new")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some slates of one version, padded to the same length and number of candidates."""

    records: list[Record]
    count_S: Ints
    """Candidates of each."""
    chosen_SL: Ints
    propensity_SL: Float64s
    probability_SLC: Float64s
    score_SC: Float64s
    """Not a number where an older version logged none."""
    greedy_S: Bools

    @classmethod
    def of(cls, slates: list[Record]) -> Batch:
        """Lay slates out side by side."""
        count_S = np.array([len(one["candidate_ids"]) for one in slates], np.int64)
        places = max(len(one["chosen"]) for one in slates)
        size = len(slates)
        chosen_SL = np.full((size, places), EMPTY, np.int64)
        propensity_SL = np.ones((size, places))
        probability_SLC = np.zeros((size, places, int(count_S.max(initial=0))))
        score_SC = np.full((size, int(count_S.max(initial=0))), np.nan)
        for row, one in enumerate(slates):
            length, count = len(one["chosen"]), len(one["candidate_ids"])
            chosen_SL[row, :length] = one["chosen"]
            propensity_SL[row, :length] = one["propensities"]
            if count:
                probability_SLC[row, :length, :count] = one["probabilities"]
                score_SC[row, :count] = one.get("scores", np.nan)
        greedy_S = np.array([str(one["policy_id"]).endswith(UNEXPLORED) for one in slates])
        return cls(slates, count_S, chosen_SL, propensity_SL, probability_SLC, score_SC, greedy_S)

    @property
    def allowed_SC(self) -> Bools:
        """Which columns are candidates."""
        return np.asarray(np.arange(self.score_SC.shape[1]) < self.count_S[:, None])

    def slates(self, version: str, facts: Facts | None) -> dict[str, Any]:
        """Return the columns of the slates that need no other slate."""
        flags = [set(one.get("flags", ())) for one in self.records]
        moments = np.array([one["moment"] for one in self.records], np.int64)
        found: dict[str, Any] = {
            "policy": [version] * len(flags),
            "arm": [_arm(one) for one in self.records],
            "channel": [_channel(one) for one in self.records],
            "greedy": self.greedy_S,
            "sourced": ["sources" in one for one in self.records],
            "candidates": self.count_S,
            "places": [len(one["chosen"]) for one in self.records],
            "hour": moments % DAY_US // _HOUR_US,
            "known": ["cold" not in one for one in flags],
            "weight": self._replayed(facts),
            **self._scores(),
            **_ages(self.records, facts),
            **{TOOK + step: took for step, took in _took(self.records).items()},
        }
        for flag in ("cold", "filled", "degraded", "unlogged"):
            found[flag] = [flag in one for one in flags]
        return found

    def _scores(self) -> dict[str, Any]:
        score_SC = np.ma.masked_invalid(self.score_SC)
        return {
            "score_mean": score_SC.mean(axis=1).filled(np.nan),
            "score_spread": score_SC.std(axis=1).filled(np.nan),
            "score_top": score_SC.max(axis=1).filled(np.nan),
        }

    def _replayed(self, facts: Facts | None) -> Float64s:
        """Return the weight of each slate if it were drawn again by the policy that drew it."""
        size = len(self.records)
        if facts is None or facts.slate is None or not self.score_SC.shape[1]:
            return np.full(size, np.nan)
        scored_S = np.isfinite(np.where(self.allowed_SC, self.score_SC, 0.0)).all(axis=1)
        told_S = scored_S & ~self.greedy_S & (self.count_S > 0)
        again_SL, _ = slate_propensities(
            np.nan_to_num(self.score_SC), self.allowed_SC, facts.slate, self.chosen_SL
        )
        weight_S = np.prod(again_SL / np.maximum(self.propensity_SL, 1e-300), axis=1)
        return np.where(told_S, weight_S, np.nan)

    def positions(self, facts: Facts | None) -> dict[str, Any]:
        """Return the columns of the positions that were filled."""
        row_R, place_R = np.nonzero(self.chosen_SL != EMPTY)
        chosen_R = self.chosen_SL[row_R, place_R]
        score_R = self.score_SC[row_R, chosen_R]
        higher_RC = self.score_SC[row_R] > score_R[:, None]
        ties_RC = (self.score_SC[row_R] == score_R[:, None]) & (
            np.arange(self.score_SC.shape[1]) < chosen_R[:, None]
        )
        ids = [
            self.records[row]["candidate_ids"][one]
            for row, one in zip(row_R.tolist(), chosen_R.tolist(), strict=True)
        ]
        source_R = [
            self.records[row]["sources"][one] if "sources" in self.records[row] else ""
            for row, one in zip(row_R.tolist(), chosen_R.tolist(), strict=True)
        ]
        return {
            "slate": row_R,
            "place": place_R,
            "item_id": ids,
            "propensity": self.propensity_SL[row_R, place_R],
            "even": 1.0 / np.maximum(self.count_S[row_R] - place_R, 1),
            "rank": np.where(np.isfinite(score_R), (higher_RC | ties_RC).sum(axis=1), -1),
            "score": score_R,
            **self._chances(row_R),
            "uniform": np.isin(source_R, _UNIFORM),
            **_of_items(ids, facts),
        }

    def _chances(self, row_R: Ints) -> dict[str, Float64s]:
        """Return what the model expected of the positions that were filled."""
        shown_S = np.bincount(row_R, minlength=len(self.records)).tolist()
        told = [one.get("chances", {}) for one in self.records]
        found = {}
        for name in ANSWERS:
            parts = (
                said if len(said := one.get(name, ())) == shown else [np.nan] * shown
                for one, shown in zip(told, shown_S, strict=True)
            )
            found[CHANCE + name] = np.fromiter(chain.from_iterable(parts), np.float64, len(row_R))
        return found

    def bins(self) -> Float64s:
        """Count the propensities of all candidates that were open, and which were drawn."""
        drawn_SLC = (self.probability_SLC > 0) & ~self.greedy_S[:, None, None]
        chance_M = self.probability_SLC[drawn_SLC]
        hit_SLC = np.zeros_like(drawn_SLC)
        row_R, place_R = np.nonzero(self.chosen_SL != EMPTY)
        hit_SLC[row_R, place_R, self.chosen_SL[row_R, place_R]] = True
        bin_M = np.digitize(chance_M, _EDGES)
        weights = (None, chance_M, chance_M * (1 - chance_M), hit_SLC[drawn_SLC])
        return np.stack([np.bincount(bin_M, one, BINS) for one in weights], axis=1)


def _arm(slate: Record) -> str:
    """Name the arm; where no canary stood beside it, all is the champion's."""
    identity = slate.get("canary_identity")
    mine = ContextVersion.read(slate["context_version"]).identity
    return "canary" if identity and str(identity).startswith(mine) else "champion"


def _channel(slate: Record) -> str:
    """Name the channel; what cannot be shown on a page or in a terminal is none."""
    name = str(slate.get("channel") or "")
    return name if name.isprintable() else ""


def _ages(slates: list[Record], facts: Facts | None) -> dict[str, Any]:
    if facts is None:
        return {name: np.full(len(slates), np.nan) for name in ("model_age", "price_age")}
    told = [ContextVersion.read(one["context_version"]).closes for one in slates]
    newest = [max(one, facts.close_us or 0) or None for one in told]
    return {
        "model_age": [days_since(one["moment"], facts.cut_us) for one in slates],
        "price_age": [
            days_since(one["moment"], close) for one, close in zip(slates, newest, strict=True)
        ],
    }


def _took(slates: list[Record]) -> dict[str, list[float]]:
    steps = sorted({step for one in slates for step in one.get("took_ms", ())})
    return {step: [one.get("took_ms", {}).get(step, np.nan) for one in slates] for step in steps}


def _of_items(ids: list[str], facts: Facts | None) -> dict[str, Any]:
    """Return what a bundle says of some items; names stay until all versions are known."""
    if facts is None:
        return {"row": np.full(len(ids), -1), "holders": np.full(len(ids), np.nan)}
    row_R = np.array([facts.row.get(item, -1) for item in ids], np.int64)
    told_R = row_R >= 0
    return {
        "row": row_R,
        "category_name": [facts.category_I[row] if row >= 0 else "" for row in row_R.tolist()],
        "issuer_name": [facts.issuer_I[row] if row >= 0 else "" for row in row_R.tolist()],
        "risk": np.where(told_R, facts.risk_I[row_R], 0),
        "holders": np.where(told_R, facts.share_I[row_R], np.nan),
        "percentile": np.where(told_R, facts.percentile_I[row_R], np.nan),
        "tail": told_R & facts.tail_I[row_R],
    }
