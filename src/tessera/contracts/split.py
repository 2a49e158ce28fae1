"""Where the past ends: one definition of train, validation and test for every stage.

By time: train < validation_from <= validation <= cut < test <= test_until.  Snapshot rows carry
the snapshot's date and belong to the past of a cut on that date, hence `<=`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import ibis
from ibis import Table

Protocol = Literal["time", "leave_last_out"]
TRAIN, VALIDATION, TEST = 0, 1, 2
LATER = 3
"""After the test period."""


@dataclass(frozen=True, slots=True)
class Split:
    """The periods of one run; all times UTC."""

    validation_from: datetime
    """First moment of the validation period, inside the training side of the cut."""
    cut: datetime
    """Last moment that any stage may learn from."""
    test_until: datetime
    """Last moment of the test period."""
    protocol: Protocol = "time"
    """`leave_last_out` only for comparison with published tables."""
    ordinal: bool = False
    """Times are only an order: no time bias, no half-life."""
    folds: tuple[datetime, ...] = ()
    """Further cuts for rolling time cross-validation, oldest first."""


def usual_validation(first: datetime, cut: datetime) -> datetime:
    """Return where validation begins if nobody says so: 28 days before, or a fifth of the past."""
    return cut - min(timedelta(days=28), (cut - first) / 5)


def load_split(path: Path) -> Split:
    """Read what `save_split` wrote."""
    raw = json.loads(path.read_text())
    for name in ("validation_from", "cut", "test_until"):
        raw[name] = datetime.fromisoformat(raw[name])
    raw["folds"] = tuple(datetime.fromisoformat(fold) for fold in raw["folds"])
    return Split(**raw)


def save_split(split: Split, path: Path) -> None:
    """Write a split as JSON."""
    raw = asdict(split)
    for name in ("validation_from", "cut", "test_until"):
        raw[name] = raw[name].isoformat()
    raw["folds"] = [fold.isoformat() for fold in split.folds]
    path.write_text(json.dumps(raw, indent=2) + "\n")


def _from_the_end(events: Table) -> ibis.expr.types.IntegerColumn:
    """0 for a user's last event, 1 for the one before; ties in source order."""
    newest_first = ibis.window(
        group_by=events.user_id, order_by=[events.event_ts.desc(), events.event_id.desc()]
    )
    return ibis.row_number().over(newest_first)


def phased(events: Table, split: Split) -> Table:
    """Say of each event in which period it lies, as `phase`; in ascending order of time."""
    if split.protocol == "leave_last_out":
        back = _from_the_end(events)
        return events.mutate(phase=back.cases((0, TEST), (1, VALIDATION), else_=TRAIN))
    moment = events.event_ts
    return events.mutate(
        phase=ibis.cases(
            (moment > split.test_until, LATER),
            (moment > split.cut, TEST),
            (moment >= split.validation_from, VALIDATION),
            else_=TRAIN,
        )
    )


def known(events: Table, split: Split) -> Table:
    """Keep everything a stage may learn from: train and validation."""
    found = phased(events, split)
    return found.filter(found.phase <= VALIDATION).drop("phase")


def validation(events: Table, split: Split) -> Table:
    """Keep what decides when to stop; weights are fitted on what comes before it."""
    found = phased(events, split)
    return found.filter(found.phase == VALIDATION).drop("phase")


def test(events: Table, split: Split) -> Table:
    """Keep what nobody has seen."""
    found = phased(events, split)
    return found.filter(found.phase == TEST).drop("phase")
