"""Who is to stand beside the published bundle, as whoever keeps the registry says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tessera.contracts.errors import TesseraError

Role = Literal["current", "canary", "shadow"]
ROLES: tuple[Role, ...] = ("current", "canary", "shadow")


@dataclass(frozen=True, slots=True)
class Challenger:
    """A bundle that is not published, or no longer."""

    path: Path
    version: str
    """Goes into the policy ids of its slates."""
    identity: str
    """Of its manifest: another bundle may bear the same name one day, and this one another."""
    check: Callable[[], None]
    """Raises BrokenBundle unless its files are what was sealed."""


@dataclass(frozen=True, slots=True)
class Unfound:
    """A bundle that is wanted by its name and is not there."""

    name: str
    error: TesseraError


@dataclass(frozen=True, slots=True)
class Challengers:
    """Which bundles are to stand beside the published one now."""

    canary: Challenger | None = None
    share: float = 0.0
    """Of the investors, whom the canary answers."""
    shadow: Challenger | None = None
    unfound: Mapping[Role, Unfound] = field(default_factory=dict)
    """What is wanted and cannot be found: what stands there now stays."""


class Registry(Protocol):
    """Keeps what is published and tried; each change of it is an act in its history."""

    def challengers(self) -> Challengers:
        """Return what is to stand beside the published bundle."""
        ...

    def explores(self) -> bool:
        """Return whether slates are to be drawn; else the best are shown."""
        ...

    def began(self, role: Role, challenger: Challenger) -> None:
        """Record that a bundle begins to be tried; once, whoever says it how often."""
        ...

    def ended(self, canary: Challenger, reason: str) -> None:
        """End a canary for good; once, whoever says it how often."""
        ...
