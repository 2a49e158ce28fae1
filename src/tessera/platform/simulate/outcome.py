"""What a simulation came to: value day by day, promotions as they truly were, drift and recovery.

Shapes: S visits of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.reckoning import Worth, held

Row = dict[str, Any]
_Z = 1.96
_RECOVERED = 0.9
"""Share of what was attained before, of all that could be."""
_MEMORY_DAYS = 3
"""Days that are looked at together when it is asked whether all is as before."""


def outcome(
    plan: Plan,
    days: Sequence[Row],
    runs: Sequence[Row],
    worth: Worth,
    alarms: Mapping[int, Sequence[str]] | None,
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
    alarms : mapping or None
        Alarms by day; None where nothing watched.
    """
    fixed = fixed_policies(days, runs, worth)
    best = max(fixed, key=lambda name: float(np.mean(fixed[name])))
    told = [judge(run, worth, plan) for run in runs]
    course = [
        _day(day, float(fixed[best][n]), (alarms or {}).get(day["day"], ()))
        for n, day in enumerate(days)
    ]
    return {
        "plan": plan.told(),
        "days": course,
        "runs": told,
        "best_fixed": best,
        "total": _total(course),
        "promotions": _promotions(told),
        "change": _change(plan, course, watched=alarms is not None),
        "watched": alarms is not None,
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
    """Say what a candidate truly was beside the champion, over the days until the next run.

    `truth` is better or worse where the interval of the mean of the paired differences says so.
    """
    name = run["published"] or held(run)
    first = run["day"] + 1
    days = [day for day in range(first, first + plan.every) if day in worth.get(name, {})]
    champion = worth.get(run["champion"], {})
    gaps = [worth[name][day] - champion[day] for day in days if day in champion]
    if not gaps:
        return {**run, "true_lift": None, "give_or_take": None, "truth": "not known"}
    gap_S = np.concatenate(gaps)
    mean, give = float(gap_S.mean()), float(_Z * gap_S.std() / math.sqrt(len(gap_S)))
    truth = "better" if mean > give else "worse" if mean < -give else "about equal"
    return {**run, "true_lift": mean, "give_or_take": give, "truth": truth}


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


def _change(plan: Plan, course: Sequence[Row], *, watched: bool) -> Row | None:
    """Tell when what happened was noticed, and when all was as before."""
    if plan.scenario == "calm":
        return None
    day = plan.change_day
    alarmed = [one["day"] for one in course if one["day"] >= day and one["alarms"]]
    return {
        "day": day,
        "days_to_alarm": alarmed[0] - day if watched and alarmed else None,
        "attained_before": _mean([one["attained"] for one in course[:day][-5:]]),
        "attained_after": _mean([one["attained"] for one in course[day:][:5]]),
        "days_to_recovery": days_to_recovery([one["attained"] for one in course], day),
    }


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
