"""The Hillstrom e-mail trial: who is moved by which e-mail, and what mailing those is worth.

Usage: TESSERA_DATA=... python -m benchmarks.uplift
64,000 customers, a third each got the men's e-mail, the women's or none; the outcome is a visit
within two weeks (Hillstrom, MineThatData challenge, 2008).  Learners never see the customer that
they score.  Policies are valued by our own off-policy estimators, with the known propensity.
Guesses are cross-fitted, learnt from later customers too, so the confidence sequence is shown for
its width and is not proven to hold here.

Shapes: N customers, F features, A arms (none, men's, women's).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks import intervals
from benchmarks.common import write_result
from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy import estimators
from tessera.stages.uplift.curves import Arms, ate
from tessera.stages.uplift.folds import folds_of, ranks
from tessera.stages.uplift.learner import cross_fit, predict
from tessera.stages.uplift.params import Kind, UpliftParams
from tessera.stages.uplift.report import Predicted, summary
from tessera.stages.uplift.trials import Trials

ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
MAILS = {1: "men", 2: "women"}
PARAMS = UpliftParams(folds=5, bootstrap=500, permutations=499)
KINDS: tuple[Kind, ...] = ("s", "t", "x", "dr")
ALPHA = 0.05
"""Error rate of each bound of a policy's value."""
_PROPENSITY = 1 / 3
_FLOOR = 2.0
"""A doubly robust value with outcomes and guesses in [0, 1] and weights of at most 3 is never below
1 - 3 times the guess."""
_RIVALS = (
    ("the e-mail that the model picks", "men's to all"),
    ("men's to the half moved most", "men's to a random half"),
    ("women's to the half moved most", "women's to a random half"),
)
_NUMBERS = ("recency", "mens", "womens", "newbie")
_WORDS = ("zip_code", "channel")


@dataclass(frozen=True, slots=True)
class Customers:
    """Everybody in the trial, in order of the file."""

    feature_NF: npt.NDArray[np.float32]
    arm_N: Ints
    visit_N: Float64s
    fold_N: Ints

    def trials(self, arm: int) -> Trials:
        """Return everybody as trials of one e-mail; who got the other one has no weight."""
        is_in_N = (self.arm_N == arm) | (self.arm_N == 0)
        return Trials(
            rows=pa.table({"user_id": _ids(len(self.arm_N))}),
            feature_RF=self.feature_NF,
            treated_R=self.arm_N == arm,
            weight_R=np.where(is_in_N, 2.0, 0.0),
            chance_R=np.full(len(is_in_N), 0.5),
            bought_R=self.visit_N,
        )


def read_customers(folder: Path) -> Customers:
    """Read the trial below the folder of official files."""
    rows = pd.read_csv(folder / "hillstrom" / "hillstrom_email.csv.gz")
    columns = [rows[name].to_numpy(float) for name in _NUMBERS]
    columns += [rows[name].astype("category").cat.codes.to_numpy(float) for name in _WORDS]
    columns.append(np.log1p(rows["history"].to_numpy(float)))
    return Customers(
        np.column_stack(columns).astype(np.float32),
        rows["segment"].map({name: arm for arm, name in enumerate(ARMS)}).to_numpy(np.int64),
        rows["visit"].to_numpy(float),
        folds_of(_ids(len(rows)), PARAMS.folds, PARAMS.seed),
    )


def _ids(count: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([f"c{row:05d}" for row in range(count)])])


def effect(customers: Customers, arm: int) -> float:
    """Difference of mean visits between one e-mail and none."""
    trials = customers.trials(arm)
    return ate(Arms(trials.treated_R, trials.weight_R, trials.bought_R))


def learned(customers: Customers, arm: int) -> tuple[dict[str, Any], Predicted]:
    """Return the table of one e-mail, and what is predicted of everybody, out of fold."""
    trials, fold_N = customers.trials(arm), customers.fold_N
    in_N = trials.weight_R > 0
    two, two_N = trials.where(in_N), fold_N[in_N]
    learners = {kind: cross_fit(kind, two, two_N, PARAMS) for kind in KINDS}
    table = summary(two, predict(learners, two, two_N), two_N, PARAMS)
    return table, predict(learners, trials, fold_N)


def policies(predicted: dict[int, Predicted], fold_N: Ints) -> dict[str, Float64s]:
    """Return wanted_NA of each policy: P(arm | customer)."""
    effect_NA = np.column_stack(
        [np.zeros(len(fold_N)), *(predicted[arm].effect_R[PARAMS.learner] for arm in MAILS)]
    )
    rng, one_AA = np.random.default_rng(PARAMS.seed), np.eye(len(ARMS))
    found = {
        "nobody": np.tile(one_AA[0], (len(fold_N), 1)),
        "the e-mail that the model picks": one_AA[effect_NA.argmax(axis=1)],
    }
    for arm, name in MAILS.items():
        is_moved_N = ranks(effect_NA[:, arm], fold_N, rng) > 0.5
        found |= {
            f"{name}'s to all": np.tile(one_AA[arm], (len(fold_N), 1)),
            f"{name}'s to a random half": np.tile((one_AA[0] + one_AA[arm]) / 2, (len(fold_N), 1)),
            f"{name}'s to the half moved most": one_AA[np.where(is_moved_N, arm, 0)],
        }
    return found


def values(customers: Customers, predicted: dict[int, Predicted]) -> dict[str, Any]:
    """Value each policy in visits per customer, and the lifts that the learner is there for."""
    guess_NA = np.column_stack(
        [predicted[1].control_R, *(predicted[arm].treated_R for arm in MAILS)]
    ).clip(0.0, 1.0)
    here_N = np.arange(len(customers.arm_N))
    times_BG = intervals.redraw(len(here_N), np.random.default_rng(PARAMS.seed))
    logs = {
        name: estimators.Log(
            reward_N=customers.visit_N,
            served_N=np.full(len(here_N), _PROPENSITY),
            wanted_N=wanted_NA[here_N, customers.arm_N],
            guess_N=guess_NA[here_N, customers.arm_N],
            baseline_N=(wanted_NA * guess_NA).sum(axis=1),
        )
        for name, wanted_NA in policies(predicted, customers.fold_N).items()
    }
    dr = {name: estimators.dr(log) for name, log in logs.items()}

    def told(name: str, log: estimators.Log) -> dict[str, Any]:
        rest_N = estimators.dr(estimators.complement(log))
        bca = intervals.bca(dr[name], here_N, times_BG, ALPHA)
        sequence = intervals.betting_interval(dr[name], rest_N, _FLOOR, ALPHA)
        return {
            "dr": round(bca.mean, 6),
            "snips": round(float(estimators.snips(log).mean()), 6),
            "bca": _rounded(bca.lower, bca.upper),
            "sequence": _rounded(sequence.lower, sequence.upper),
            "mailed": round(float(1 - (log.wanted_N[customers.arm_N == 0]).mean()), 4),
        }

    def lift(name: str, over: str) -> dict[str, Any]:
        bca = intervals.bca(dr[name] - dr[over], here_N, times_BG, ALPHA)
        return {"dr": round(bca.mean, 6), "bca": _rounded(bca.lower, bca.upper)}

    return {
        "policies": {name: told(name, log) for name, log in logs.items()},
        "lifts": {f"{name} over {over}": lift(name, over) for name, over in _RIVALS},
    }


def _rounded(*numbers: float) -> list[float]:
    return [round(number, 6) for number in numbers]


def measure(folder: Path) -> dict[str, Any]:
    """Return effects, tables of the learners and values of policies."""
    customers = read_customers(folder)
    with threadpool_limits(limits=1):
        found = {arm: learned(customers, arm) for arm in MAILS}
        worth = values(customers, {arm: predicted for arm, (_, predicted) in found.items()})
    return {
        "customers": len(customers.arm_N),
        "folds": PARAMS.folds,
        "ate": {name: round(effect(customers, arm), 6) for arm, name in MAILS.items()},
        "tables": {MAILS[arm]: table for arm, (table, _) in found.items()},
        "learner": PARAMS.learner,
        **worth,
    }


def main() -> None:
    """Measure the trial in the folder that TESSERA_DATA names."""
    named = os.environ.get("TESSERA_DATA")
    if not named:
        sys.exit("TESSERA_DATA must name the folder of official files, which holds hillstrom/")
    write_result("uplift", measure(Path(named)))


if __name__ == "__main__":
    main()
