"""Sentences about a simulation, for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

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
        f"{told['regret_beside_best_fixed']:+,.0f} beside {best} alone."
    )


def promotions(found: Row) -> str:
    """Say what the gate let through, by what it truly was."""
    told = found["promotions"]
    if not told["judged"]:
        return "No candidate was judged against a model that served."
    candidates = "candidate" if told["judged"] == 1 else "candidates"
    return (
        f"Of {told['judged']} {candidates} judged against a model that served {told['promoted']} "
        f"were promoted: {told['truly_better']} truly better, {told['about_equal']} about equal, "
        f"{told['wrong']} worse. {told['held']} were held, of which {told['held_though_better']} "
        "were truly better."
    )


def change(found: Row) -> str:
    """Say when what happened was noticed, and when all was as before; empty if nothing did."""
    told = found["change"]
    if told is None:
        return ""
    noticed = f"{_after('alarm', told)}, {_after('act', told)}"
    if not found["watched"]:
        noticed = "nothing watched"
    back = told["days_to_recovery"]
    recovered = "was not as before again" if back is None else f"was as before {back} days later"
    return (
        f"It happened on day {told['day'] + 1}: {noticed}; of what can be attained "
        f"{told['attained_before']:.0%} was in the five days before and "
        f"{told['attained_after']:.0%} in the five from then on, and the service {recovered}."
    )


def acts(found: Row) -> str:
    """Say what was done because of alarms; empty where nothing watched."""
    if not found["watched"]:
        return ""
    done = Counter(_CALLED[one["act"]] for one in found["acts"])
    what = ", ".join(f"{act} ({count})" for act, count in done.items()) or "nothing"
    truths = Counter(one["truth"] for one in found["acts"] if one["act"] == "rollback")
    worse = f"; of the rollbacks {truths['worse']} made it truly worse" if truths else ""
    before, days = found["change"], ""
    if before:
        days = (
            f" Of the days before it happened {before['alarmed_before']} alarmed, and "
            f"{before['acted_before']} acts came of that."
        )
    return f"Done because of alarms: {what}{worse}.{days}"


def _after(what: str, told: Row) -> str:
    days = told[f"days_to_{what}"]
    if days is None:
        return f"no {what} came"
    return f"the first {what} came {'1 day' if days == 1 else f'{days} days'} later"
