"""monitoring/served.yaml as a typed value: windows, and from which effect on a series alarms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, FiniteFloat, model_validator

from tessera.contracts.params import STRICT
from tessera.contracts.specs import read_spec

Kind = Literal["exact", "bound", "relative", "absolute"]


class Rule(BaseModel):
    """When a series alarms."""

    model_config = STRICT

    kind: Kind
    """`exact` is a limit that nothing may pass, `bound` one that nothing may surely pass;
    `relative` and `absolute` limit how far a value lies from the mean of the reference days."""
    limit: FiniteFloat
    """Value, share of the mean, or distance from it."""
    side: Literal["above", "below", "both"] = "both"
    """Where it is bad."""
    slices: Literal["all", "every"] = "all"
    """Whether slices are judged too; all of them are measured."""
    across: Literal["same", "below", "above", "never"] = "same"
    """Beside reference days that other versions answered: judged as ever, where it lies on one side
    alone, or never.  Days that the same versions answered are compared with where there are enough,
    unless this is `same`."""
    across_limit: FiniteFloat | None = Field(default=None, ge=0)
    """Limit beside days of other versions, where one side is judged: a publication promised no
    loss.  None is `limit`."""

    @model_validator(mode="after")
    def _is_one(self) -> Rule:
        if self.kind in ("exact", "bound") and self.side == "both":
            raise ValueError("a bound says side: above or below")
        if self.kind in ("relative", "absolute") and self.limit < 0:
            raise ValueError("a distance is not negative")
        if self.kind == "exact" and self.across != "same":
            raise ValueError("an exact limit holds for every version: leave `across` out")
        if self.across_limit is not None and self.across not in ("below", "above"):
            raise ValueError("across_limit is of one side: say `across: below` or `above`")
        if self.across in ("below", "above") and self.side not in ("both", self.across):
            raise ValueError(f"it is bad {self.side}, so beside other versions it is not judged "
                             f"{self.across}: say `same` or `never`")  # fmt: skip
        return self


class Served(BaseModel):
    """All that monitoring/served.yaml says."""

    model_config = STRICT

    reference_days: int = Field(ge=2, le=365)
    """Days that a day is compared with."""
    gap_days: int = Field(ge=0, le=90)
    """Days between them and the day, so that a fault of yesterday does not hide itself."""
    least_days: int = Field(ge=2, le=365)
    """Days with slates among them without which nothing is compared."""
    outcome_days: int = Field(ge=1, le=90)
    """How long after a slate something counts as its outcome; a day tells of the slates shown so
    many days before."""
    false_discoveries: float = Field(gt=0, le=0.2)
    """Share of false alarms among all alarms of a day, and chance of any on a day without fault."""
    sample_investors: int = Field(ge=100, le=1_000_000)
    """Investors of a day of whom distributions are compared."""
    skew_slates: int = Field(ge=0, le=100_000)
    """Slates of a day that are scored again from their bundle; 0 scores none."""
    tail_head_share: float = Field(gt=0, lt=1)
    """The long tail lies outside the smallest head with this share of acquisitions."""
    acquired: tuple[str, ...] = Field(min_length=1)
    """Actions after which an item counts as had."""
    series: Mapping[str, Rule]
    """Series that are judged; all others are only measured."""

    @model_validator(mode="after")
    def _compares(self) -> Served:
        if self.least_days > self.reference_days:
            raise ValueError("least_days is more than reference_days: nothing would be compared")
        if self.outcome_days > self.window_days:
            raise ValueError("outcome_days is more than reference_days and gap_days: no rate "
                             "would be measured")  # fmt: skip
        return self

    @property
    def window_days(self) -> int:
        """How many days before a day are read."""
        return self.reference_days + self.gap_days


def load_spec(path: Path) -> Served:
    """Read and check the specification.

    Raises
    ------
    BadParams
        If it is missing, no YAML, or holds something unknown or out of bounds; one line.
    """
    return read_spec(path, Served)
