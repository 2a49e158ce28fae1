"""A retraining as `tessera run` does it: learn, judge, publish by the gate; and what it came to.

What is published is taken up by the service itself.  A run that was killed is run again, unless
the history tells that it had ended.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from tessera.contracts.errors import TesseraError
from tessera.platform.release import acts
from tessera.platform.release.history import history
from tessera.platform.release.overrides import Override
from tessera.platform.release.pointer import current_version
from tessera.platform.release.registry import FIRST
from tessera.platform.simulate.guarded import Guarded
from tessera.platform.simulate.place import Place
from tessera.platform.workspace import files
from tessera.serve.slate import at
from tessera.stages.synth.interactions import DAY
from tessera.stages.synth.town import FIRST_US

_ENDS = ("publish", "promote", "wait", "hold")
"""Acts with which a run ends."""
_LEAST_JUDGED = 2.0
_FIRST_SERVED = Override(
    "the first model of a simulation serves whatever the verdict", "the simulation"
)


def retrain(place: Place, day: int, lock: IO[str]) -> dict[str, Any]:
    """Run the pipeline behind a day (-1: before the first), and say what came of it.

    Raises
    ------
    TesseraError
        If it failed; its own line is repeated.
    """
    told = _folder(place, day) / "run.json"
    if told.exists():
        return _read(told)
    before = _begin(place, day)
    if len(_ended(place)) <= before["ended"]:
        _run(place, day, lock)
    if current_version(place.workspace) == FIRST:
        acts.promote(place.workspace, override=_FIRST_SERVED)
    found = _tell(place, day, before)
    _keep_candidate(place, day)
    files.write_json(found, told)
    return found


def runs(place: Place) -> list[dict[str, Any]]:
    """Return what came of each run, oldest first."""
    return [_read(path) for path in sorted((place.played / "runs").glob("*/run.json"))]


def candidate_of(place: Place, day: int) -> Path:
    """Return where the bundle lies that a run trained."""
    return _folder(place, day) / "bundle"


def _begin(place: Place, day: int) -> dict[str, Any]:
    """Write down, once, how many runs had ended before this one, and what was published."""
    begun = _folder(place, day) / "begun.json"
    if not begun.exists():
        champion = current_version(place.workspace)
        files.write_json({"ended": len(_ended(place)), "champion": champion}, begun)
    return _read(begun)


def _ended(place: Place) -> list[dict[str, Any]]:
    return [entry for entry in history(place.workspace) if entry.get("act") in _ENDS]


def _run(place: Place, day: int, lock: IO[str]) -> None:
    words = ["run"]
    if day >= 0:
        words += ["--cut", cut_behind(day, place).isoformat()]
    command = Guarded(place, words, _folder(place, day) / "run.log", lock)
    try:
        code = command.wait()
    finally:
        command.end()
    if code:
        raise TesseraError(f"the run behind day {day + 1} failed: {command.last_line()}")


def cut_behind(day: int, place: Place) -> datetime:
    """Return until when is learnt behind a day: what the last days brought is judged by.

    Behind the first ones half of it is, or nothing of what was served would be learnt from; less
    than two days are no period to measure a return over.
    """
    served_days = day + 1
    judged_days = max(_LEAST_JUDGED, min(float(place.plan.every), served_days / 2))
    moment = at(FIRST_US + place.plan.log_days * DAY)
    return moment + timedelta(days=served_days - judged_days)


def _tell(place: Place, day: int, before: dict[str, Any]) -> dict[str, Any]:
    verdict = files.read_json(place.workspace.artifact("verdict"))
    last = _ended(place)[-1]
    lift = verdict.get("primary") or {}
    return {
        "day": day,
        "champion": before["champion"],
        "learnt_until": cut_behind(day, place).date().isoformat() if day >= 0 else None,
        "decision": verdict["decision"],
        "reason": verdict["reason"],
        "act": last["act"],
        "override": last.get("override_reason"),
        "published": last["to"] if last["to"] != before["champion"] else None,
        "requests": verdict.get("n_requests"),
        "told_lift": lift.get("lift"),
        "lower": lift.get("lower"),
        "upper": lift.get("upper"),
    }


def _keep_candidate(place: Place, day: int) -> None:
    kept = candidate_of(place, day)
    files.remove(kept)
    shutil.copytree(place.workspace.artifact("bundle"), kept)


def _folder(place: Place, day: int) -> Path:
    folder = place.played / "runs" / f"{day + 1:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(path)
    return found
