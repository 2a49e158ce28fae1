"""Candidate sets with so many uniform ones, and what the gate's score says of each candidate.

Shapes: N requests, I items of the bundle, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.common import ROOT
from benchmarks.serve_truth import Asked
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.offpolicy.paired import paired_scores
from tessera.offpolicy.replay import logging_policy, ratio, replay
from tessera.offpolicy.requests import Requests
from tessera.platform.release.pointer import current_bundle
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace
from tessera.serve.candidates import Candidates
from tessera.serve.context import Context
from tessera.serve.engine import Engine
from tessera.shared.policies.slate import SlatePolicy, step_probabilities


@dataclass(frozen=True, slots=True)
class Sets:
    """Candidate sets of all requests, padded."""

    row_NC: Ints
    """Row I of each candidate, 0 where padded."""
    is_there_NC: Bools
    found_N: Ints
    """How many were retrieved: those stand first."""

    def of(self, value_NI: Float64s) -> Float64s:
        """Take a value of each candidate."""
        return np.take_along_axis(value_NI, self.row_NC, axis=1)


def candidate_sets(engine: Engine, asked: list[Asked], uniform: int) -> Sets:
    """Ask the service's own code for the candidates of each request."""
    params = engine.params.model_copy(update={"uniform": uniform})
    bundle = current_bundle(open_workspace(DEFAULT_PROFILE, ROOT))
    candidates = Candidates.of(
        bundle, engine.recommender, params, engine.slate, engine.candidates.unit_I
    )
    found = [
        candidates.of_request(Context.of(f"{n}", one.user_id, one.moment, 1), one.who)
        for n, one in enumerate(asked)
    ]
    most = max(len(row_C) for row_C, _ in found)
    row_NC, is_there_NC = np.zeros((len(found), most), np.int64), np.zeros((len(found), most), bool)
    for n, (row_C, _) in enumerate(found):
        row_NC[n, : len(row_C)], is_there_NC[n, : len(row_C)] = row_C, True
    drawn = {"new", "uniform"}
    return Sets(row_NC, is_there_NC, np.array([sum(s not in drawn for s in by) for _, by in found]))


@dataclass(frozen=True, slots=True)
class Scored:
    """The paired score of the top position, for every candidate that it could show."""

    chance_NC: Float64s
    """That the log shows it."""
    missed_NC: Float64s
    """Score where it earned nothing."""
    hit_NC: Float64s
    """Score where it earned one."""
    weight_NC: Float64s
    floor: float


def judged(
    now_NI: Float64s, later_NI: Float64s, sets: Sets, policy: SlatePolicy, cap: float, guess: float
) -> Scored:
    """Score each candidate by the gate's own code; `guess` is all that its reward model knows."""
    every_NC = sets.is_there_NC
    chance_NC = step_probabilities(sets.of(now_NI), every_NC, policy)
    wanted_NLC = step_probabilities(sets.of(later_NI), every_NC, policy)[:, None]
    count, none_N = len(chance_NC), np.zeros(len(chance_NC), np.int64)
    guess_NLC = np.full(wanted_NLC.shape, guess)
    found = []
    for column in range(chance_NC.shape[1]):
        log = Requests(
            pa.nulls(count), np.arange(count), none_N, pa.array(["u"]), none_N, none_N,
            sets.row_NC, np.full((count, 1), column), chance_NC[:, None],
            chance_NC[:, column : column + 1], np.zeros((count, 1)), np.zeros((count, 1)),
        )  # fmt: skip
        policies = replay(log, wanted_NLC), logging_policy(log)
        found.append(paired_scores(log, policies, every_NC, guess_NLC, cap, cap))
    missed_NC = np.stack([one.score_N for one in found], axis=1)
    hit_NC = missed_NC + np.concatenate([one.slope_NL for one in found], axis=1)
    weight_NC = ratio(wanted_NLC[:, 0], chance_NC)
    return Scored(chance_NC, missed_NC, hit_NC, weight_NC, found[0].floor)
