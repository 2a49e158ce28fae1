"""Sentences about a simulation, for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tessera.platform.simulate.plan import SAYS

Row = Mapping[str, Any]
_CALLED = {
    "retrain": "run asked for",
    "rollback": "rollback",
    "explore-stop": "exploration stopped",
    "explore-resume": "exploration resumed",
}


def total(found: Row) -> str:
    """Say what was earned, beside what could have been."""
    told, best = found["total"], found["best_fixed"]
    return (
        f"A request earned {told['value']:.4f} expected responses: the policy that wrote the log "
        f"would have earned {told['house']:.4f}, {best} alone from its day on "
        f"{told['best_fixed']:.4f}, one who knows {told['oracle']:.4f}; regret "
        f"{told['regret']:,.0f} responses beside one who knows, "
        f"{told['regret_beside_best_fixed']:+,.0f} beside {best} alone, the best of those that "
        "were published."
    )


def promotions(found: Row) -> str:
    """Say what the gate let through, by what it truly was."""
    told = found["promotions"]
    if not told["judged"]:
        return "No candidate was judged against a model that served."
    return (
        f"{_many(told['judged'], 'candidate')} judged against a model that served: "
        f"{told['promoted']} promoted ({told['truly_better']} truly better, "
        f"{told['about_equal']} about equal, {told['wrong']} worse), {told['held']} held, of which "
        f"{told['held_though_better']} truly better."
    )


def change(found: Row) -> str:
    """Say when what happened was noticed, and when all was as before; empty if nothing did."""
    told = found["change"]
    if told is None:
        return ""
    noticed = f"{_after('alarm', told, ' that can tell of it')}, {_after('act', told)}"
    if not found["watched"]:
        noticed = "nothing watched"
    back, date = told["days_to_recovery"], found["days"][told["day"]]["date"]
    recovered = "was not reached again" if back is None else f"was reached {back} days later"
    return (
        f"On day {told['day'] + 1} ({date}) {SAYS[found['plan']['scenario']]}: {noticed}. Of what "
        f"can be gained over the policy of the log {told['attained_before']:.0%} was gained in the "
        f"five days before, {told['attained_after']:.0%} in the five from then on, "
        f"{told['attained_last']:.0%} in the last five; nine tenths of before {recovered}."
    )


def acts(found: Row) -> str:
    """Say what was done because of alarms; empty where nothing watched."""
    if not found["watched"]:
        return ""
    done = Counter(_CALLED[one["act"]] for one in found["acts"])
    what = ", ".join(f"{act} ({count})" for act, count in done.items()) or "nothing"
    truths = Counter(one["truth"] for one in found["acts"] if one["act"] == "rollback")
    worse = f"; {truths['worse']} of the rollbacks made it truly worse" if truths else ""
    before, days = found["change"], ""
    if before:
        days = (
            f" Before it happened {_many(before['alarmed_before'], 'day')} alarmed, and "
            f"{_many(before['acted_before'], 'act')} came of that."
        )
    return f"Done because of alarms: {what}{worse}.{days}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _after(what: str, told: Row, of: str = "") -> str:
    days = told[f"days_to_{what}"]
    if days is None:
        return f"no {what}{of} came"
    return f"the first {what}{of} came {_many(days, 'day')} later"
