"""Floors: how loose the params of the gate may be, pinned by the first run and moved by acts alone.

A profile's floors stand in its history.  The first run pins the stricter of its own params and the
values below, so that a loose profile cannot bring loose floors along; whatever is looser than a
floor makes the verdict INVALID.  To loosen a floor takes a reason and an approver, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.release.history import history
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.pointer import current_version
from tessera.platform.workspace.params import check_section
from tessera.platform.workspace.paths import Workspace
from tessera.stages.ope.params import OpeParams

ACT = "floors"
Floors = dict[str, float]


@dataclass(frozen=True, slots=True)
class Floor:
    """Which direction of a param is stricter, and how loose it is by default."""

    stricter: Literal["lower", "higher"]
    default: float | None = None
    """None is the default of the params class."""

    def is_looser(self, value: float, floor: float) -> bool:
        """Whether a value asks for less than the floor."""
        return value > floor if self.stricter == "lower" else value < floor

    def strictest(self, *values: float) -> float:
        """Return the one that asks for most."""
        return min(values) if self.stricter == "lower" else max(values)


FLOORS: Mapping[str, Floor] = {
    "alpha": Floor("lower"),
    "margin": Floor("lower"),
    "epsilon": Floor("lower", 0.2),  # share of uniform slates that the market is served with
    "min_ess": Floor("higher"),
    "max_dropped": Floor("lower"),
    "min_as_served": Floor("higher"),
    "max_duplicates": Floor("lower"),
    "max_z": Floor("lower"),
    "max_share": Floor("lower"),
    "max_dismissals_rise": Floor("lower"),
    "max_roi_loss": Floor("lower"),
    "max_gini": Floor("lower"),
    "max_top_share": Floor("lower"),
    "min_coverage": Floor("higher"),
    "min_sid_capacity": Floor("higher"),
    "max_sid_collisions": Floor("lower"),
    "min_sid_use": Floor("higher"),
    "min_sid_told_apart": Floor("higher"),
    "min_sid_survival": Floor("higher"),
    "max_calibration_error": Floor("lower"),
    "max_mflops": Floor("lower"),
    "permutations": Floor("higher"),
}
"""Every param of the gate by which a verdict could be had for less."""
FREE: Mapping[str, str] = {
    "candidate": "the champion against itself is never promoted",
    "temperature": "part of the candidate: another one is another candidate",
    "further_temperatures": "held to Holm within the share of one candidate",
    "top_k": "part of the candidate",
    "window_days": "what counts as an answer; one for all stages",
    "caps": "what lies beyond is moved or paid for: the score stays a lower bound, its floor known",
    "ceiling": "an estimator that must agree; the bound does not use it",
    "reward_rows": "the score stays unbiased whatever the reward model says",
    "reward_trees": "the score stays unbiased whatever the reward model says",
    "seed": "part of the candidate: another one is another candidate",
}
"""The other params of the gate, and why they need no floor."""


def read(word: str) -> tuple[str, float]:
    """Read a floor that is written like `min_ess=50`.

    Raises
    ------
    BadParams
        If it is not.
    """
    name, _, value = word.partition("=")
    try:
        return name.strip().removeprefix("ope."), float(value)
    except ValueError as error:
        raise BadParams(f"no floor {word!r}: write it like min_ess=50") from error


def default(name: str) -> float:
    """Return how loose a param may be where nothing else was recorded."""
    given = FLOORS[name].default
    return float(OpeParams.model_fields[name].default if given is None else given)


def pinned(workspace: Workspace) -> Floors:
    """Return the floors of a profile: as the last act left them, the defaults before the first."""
    acts = [entry for entry in history(workspace) if entry.get("act") == ACT]
    told: Mapping[str, float] = acts[-1]["floors"] if acts else {}
    return {name: float(told.get(name, default(name))) for name in FLOORS}


def pin(workspace: Workspace, ope: Mapping[str, Any]) -> None:
    """Pin the floors of a profile that has none: the stricter of its params and the defaults."""
    if any(entry.get("act") == ACT for entry in history(workspace)):
        return
    found = {
        name: floor.strictest(float(ope[name]), default(name)) for name, floor in FLOORS.items()
    }
    with one_act(workspace):
        if not any(entry.get("act") == ACT for entry in history(workspace)):
            _record(workspace, found, "pinned by the first run", None)


def loosened(workspace: Workspace, ope: Mapping[str, Any]) -> list[str]:
    """Say which params are looser than their floor, one phrase each."""
    floors = pinned(workspace)
    return [
        f"ope.{name} {float(ope[name]):g} is looser than the floor {floors[name]:g}"
        for name, floor in FLOORS.items()
        if floor.is_looser(float(ope[name]), floors[name])
    ]


def move(workspace: Workspace, values: Mapping[str, float], reason: str, approver: str) -> Floors:
    """Move floors, as an act that is recorded for ever; return all of them.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    values : Mapping[str, float]
        New floor by param of section `ope`.
    reason, approver : str
        Why, and who answers for it; checked by the caller.

    Raises
    ------
    BadParams
        If a param has no floor, or a value is none that the param could have.
    GateClosed
        If nothing would move.
    """
    for name, value in values.items():
        _check(name, value)
    with one_act(workspace):
        before = pinned(workspace)
        after = {**before, **values}
        if after == before:
            raise GateClosed("the floors have these values already: nothing was moved")
        _record(workspace, after, reason, approver)
    return after


def _check(name: str, value: float) -> None:
    if name not in FLOORS:
        raise BadParams(f"ope.{name} has no floor: choose one of {', '.join(FLOORS)}")
    whole = OpeParams.model_fields[name].annotation is int
    check_section("ope", {name: int(value) if whole and value == int(value) else value})


def _record(workspace: Workspace, floors: Floors, reason: str, approver: str | None) -> None:
    stays = current_version(workspace)
    facts = {"act": ACT, "from": stays, "to": stays, "floors": floors}
    told = {"override_reason": reason if approver else None, "approver": approver}
    commit(workspace, {**facts, **told, "reason": reason})
