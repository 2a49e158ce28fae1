"""What a simulation came to: value day by day, promotions as they truly were, drift and recovery.

Shapes: S visits of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera.platform.simulate.plan import SIGNS, Plan
from tessera.platform.simulate.reckoning import Worth, held

Row = dict[str, Any]
_Z = 1.96
_RECOVERED = 0.9
"""Share of what was attained before, of all that could be."""
_ROLLBACK = "rollback"
_NOT_KNOWN: Row = {"true_lift": None, "give_or_take": None, "truth": "not known"}
_MEMORY_DAYS = 3
"""Days that are looked at together when it is asked whether all is as before."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was noticed, and what was done about it."""

    alarms: Mapping[int, Sequence[str]] | None = None
    """By day; None where nothing watched."""
    acts: Sequence[Row] = ()
    """`day`, `act`, `from`, `to`, `reason`; oldest first."""


def outcome(
    plan: Plan, days: Sequence[Row], runs: Sequence[Row], worth: Worth, watched: Watched
) -> Row:
    """Put together all that is told of a simulation.

    Parameters
    ----------
    plan : Plan
        What was simulated.
    days, runs : sequence of mappings
        What is known of each day, and of each run of the pipeline.
    worth : Worth
        What every version would have earned.
    watched : Watched
        Alarms, and acts that came of them.
    """
    fixed = fixed_policies(days, runs, worth)
    best = max(fixed, key=lambda name: float(np.mean(fixed[name])))
    told = [judge(run, worth, plan) for run in runs]
    course = [
        _day(day, float(fixed[best][n]), (watched.alarms or {}).get(day["day"], ()))
        for n, day in enumerate(days)
    ]
    return {
        "plan": plan.told(),
        "days": course,
        "runs": told,
        "acts": [
            _judged_act(one, worth, _next(one["day"], days, one["to"])) for one in watched.acts
        ],
        "best_fixed": best,
        "total": _total(course),
        "promotions": _promotions(told),
        "change": change_of(plan, course, watched.acts),
        "watched": watched.alarms is not None,
    }


def fixed_policies(
    days: Sequence[Row], runs: Sequence[Row], worth: Worth
) -> dict[str, list[float]]:
    """Return by published version what had been earned, had nothing followed it.

    Before its day all is as it was; from then on the day's value is moved by what it would have
    earned at the sampled visits beyond those who served.
    """
    names = [run["published"] for run in runs if run["published"]]
    found: dict[str, list[float]] = {}
    for name in names:
        found[name] = [
            day["value"] + (_beyond(name, day, worth) if day["day"] in worth[name] else 0.0)
            for day in days
        ]
    return found


def _beyond(name: str, day: Row, worth: Worth) -> float:
    """Return how much more a version would have earned on a day than the mix that served it."""
    shares = {one: count / day["requests"] for one, count in day["versions"].items()}
    mine = worth[name][day["day"]]
    served = sum(share * worth[one][day["day"]] for one, share in shares.items())
    return float(np.mean(mine - served))


def judge(run: Row, worth: Worth, plan: Plan) -> Row:
    """Say what a candidate truly was beside the champion, over as many days as lie between runs.

    `truth` is better or worse where the interval of the mean of the paired differences says so.
    """
    name = run["published"] or held(run)
    days = range(run["day"] + 1, run["day"] + 1 + plan.every)
    return {**run, **_lift(name, run["champion"], days, worth)}


def _judged_act(act: Row, worth: Worth, until: int) -> Row:
    """Say what a rollback truly changed while it lasted; other acts change no model."""
    if act["act"] != _ROLLBACK:
        return {**act, **_NOT_KNOWN}
    return {**act, **_lift(act["to"], act["from"], range(act["day"] + 1, until), worth)}


def _next(behind: int, days: Sequence[Row], version: str) -> int:
    """Return the first day behind one on which another version served all; the end if none did."""
    later = (day["day"] for day in days if day["day"] > behind and version not in day["versions"])
    return next(later, len(days))


def _lift(to: str, before: str, days: range, worth: Worth) -> Row:
    """Compare two versions at the sampled visits of some days."""
    course, other = worth.get(to, {}), worth.get(before, {})
    gaps = [course[day] - other[day] for day in days if day in course and day in other]
    if not gaps:
        return _NOT_KNOWN
    gap_S = np.concatenate(gaps)
    mean, give = float(gap_S.mean()), float(_Z * gap_S.std() / math.sqrt(len(gap_S)))
    truth = "better" if mean > give else "worse" if mean < -give else "about equal"
    return {"true_lift": mean, "give_or_take": give, "truth": truth}


def _day(day: Row, fixed: float, alarms: Sequence[str]) -> Row:
    kept = {name: value for name, value in day.items() if name != "shown"}
    return {
        **kept,
        "best_fixed": fixed,
        "regret": day["oracle"] - day["value"],
        "attained": _attained(day),
        "alarms": list(alarms),
    }


def _attained(day: Row) -> float:
    """Return which part of what lies between the house and one who knows is attained."""
    room = day["oracle"] - day["house"]
    return float((day["value"] - day["house"]) / room) if room > 0 else 0.0


def _total(course: Sequence[Row]) -> dict[str, float]:
    """Return means a request over all days, and the regret that adds up."""
    weight = np.array([day["requests"] for day in course], np.float64)
    names = ("value", "house", "best_fixed", "oracle")
    told = {name: float(np.average([day[name] for day in course], weights=weight))
            for name in names}  # fmt: skip
    regret = sum(day["regret"] * day["requests"] for day in course)
    beside = sum((day["best_fixed"] - day["value"]) * day["requests"] for day in course)
    return {**told, "regret": float(regret), "regret_beside_best_fixed": float(beside)}


def _promotions(runs: Sequence[Row]) -> dict[str, int]:
    """Count what the gate let through by what it truly was; overrides are no word of the gate."""
    mine = [run for run in runs if run["champion"] not in (None, "v0")]
    through = [run for run in mine if run["published"] and not run["override"]]
    stayed = [run for run in mine if not run["published"]]
    return {
        "judged": len(mine),
        "promoted": len(through),
        "truly_better": sum(run["truth"] == "better" for run in through),
        "about_equal": sum(run["truth"] == "about equal" for run in through),
        "wrong": sum(run["truth"] == "worse" for run in through),
        "held": len(stayed),
        "held_though_better": sum(run["truth"] == "better" for run in stayed),
    }


def change_of(plan: Plan, course: Sequence[Row], acts: Sequence[Row]) -> Row | None:
    """Tell when what happened was noticed, and when all was as before; None where nothing did.

    Parameters
    ----------
    plan : Plan
        What was simulated.
    course, acts : sequence of mappings
        Days as `outcome` tells them, and what was done because of alarms.
    """
    if plan.scenario == "calm":
        return None
    day, signs = plan.change_day, SIGNS[plan.scenario]
    alarmed = [one["day"] for one in course if one["alarms"]]
    noticed = [one["day"] for one in course if any(_is(signs, name) for name in one["alarms"])]
    acted = [one["day"] for one in acts]
    return {
        "day": day,
        "alarmed_before": sum(one < day for one in alarmed),
        "days_to_alarm": _days_from(day, noticed),
        "acted_before": sum(one < day for one in acted),
        "days_to_act": _days_from(day, acted),
        "attained_before": _mean([one["attained"] for one in course[:day][-5:]]),
        "attained_after": _mean([one["attained"] for one in course[day:][:5]]),
        "attained_last": _mean([one["attained"] for one in course[day:][-5:]]),
        "days_to_recovery": days_to_recovery([one["attained"] for one in course], day),
    }


def _is(signs: tuple[str, ...], alarm: str) -> bool:
    return alarm.startswith(signs)


def _days_from(day: int, days: Sequence[int]) -> int | None:
    return min((one - day for one in days if one >= day), default=None)


def days_to_recovery(attained: Sequence[float], day: int) -> int | None:
    """Return after how many days the mean of three is again nearly what it was; None if never.

    >>> days_to_recovery([0.5, 0.5, 0.1, 0.2, 0.5, 0.5, 0.5], 2)
    2
    """
    before = _mean(attained[:day][-5:])
    for first in range(day, len(attained) - _MEMORY_DAYS + 1):
        if _mean(attained[first : first + _MEMORY_DAYS]) >= _RECOVERED * before:
            return first - day
    return None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
