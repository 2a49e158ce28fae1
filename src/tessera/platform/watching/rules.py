"""monitoring/alarms.yaml as a typed value: whose an alarm is, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from tessera.contracts.params import STRICT
from tessera.contracts.series import ALL
from tessera.contracts.specs import read_spec
from tessera.platform.workspace.paths import Workspace

Action = Literal["inform", "retrain", "stop_exploration", "roll_back"]
Severity = Literal["note", "warning", "critical"]
FILE = "alarms.yaml"
PAGE = "docs/monitoring.md"
"""Page of the runbooks."""


class Family(BaseModel):
    """Series that have one kind of cause."""

    model_config = STRICT

    series: tuple[str, ...] = Field(min_length=1)
    """Patterns of names, such as `psi.*`."""
    severity: Severity
    """Of its alarms; those that are critical mark the day's task as failed, warnings too."""
    runbook: str = Field(pattern=r"^[a-z0-9-]+$")
    """Heading of docs/monitoring.md that says what to do."""
    owner: str | None = Field(None, min_length=2)
    """Who answers for it; by default the owner of all."""
    action: Action = "inform"
    """What is done beside informing."""
    of_new: Action | None = None
    """What is done instead where it alarms on every day that a version answered, so new that what
    comes of its slates is compared with days of others."""
    slices: tuple[str, ...] = Field((ALL,), min_length=1)
    """Patterns of the slices whose alarms call for the action; others inform."""
    days: int = Field(1, ge=1, le=30)
    """So many days in a row it has to alarm before anything but informing is done."""
    cool_down_days: int = Field(7, ge=1, le=365)
    """After the action it is not taken again for so many days, whatever alarms."""

    @model_validator(mode="after")
    def _acts_of_old(self) -> Self:
        if self.of_new is not None and self.action == "inform":
            raise ValueError("of_new stands in for an action: say `action` too")
        return self

    def calls(self, slice_: str) -> bool:
        """Whether an alarm of a slice calls for the action."""
        return self.action != "inform" and _matches(slice_, self.slices)


class Rules(BaseModel):
    """All that monitoring/alarms.yaml says."""

    model_config = STRICT

    owner: str = Field(min_length=2)
    """Who answers for families that name nobody."""
    act_within_days: int = Field(3, ge=1, le=365)
    """So many days after its end a day is past: what is learnt of it is kept, and nothing done."""
    families: Mapping[str, Family] = Field(min_length=1)
    """By name; of those that match a series the first counts."""

    @model_validator(mode="after")
    def _takes_everything(self) -> Self:
        last = list(self.families)[-1]
        if "*" not in self.families[last].series:
            raise ValueError(f'the last family must take every series: give {last} series ["*"]')
        return self

    def family_of(self, series: str) -> str:
        """Return the name of the family that a series belongs to."""
        return next(n for n, one in self.families.items() if _matches(series, one.series))


def load_rules(workspace: Workspace) -> Rules:
    """Read and check the rules.

    Raises
    ------
    BadParams
        If the file is missing, no YAML, or holds something unknown or out of bounds; one line.
    """
    return read_spec(workspace.root / "monitoring" / FILE, Rules)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, one) for one in patterns)
