"""The slate policy of a bundle as one small file: judged, published and replayed as the same.

Softmax, and epsilon-greedy as the softmax over a single best (`top_k` 1).  Thompson sampling may
log but is neither judged nor served: its replay would need the standard deviation of every score as
it was at the request, and rankers give scores alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BadParams, BrokenBundle
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import PRUDENT, Unknown

FILE = "policy.json"
"""Its name in a bundle."""
_UNKNOWN = ("unknown_user", "unknown_item")
SUITABLE = "suitable candidates"
"""The only candidate rule so far: what may be shown of what could have been shown."""


@dataclass(frozen=True, slots=True)
class ServingPolicy:
    """How scores become the slate that is shown."""

    slate: SlatePolicy
    slate_size: int | None
    """Positions of a slate; None where no log showed any."""
    candidates: str = SUITABLE
    """What the softmax ranges over."""
    unknown: Unknown = PRUDENT
    """Which risk class stands for an unknown one, in what suits."""

    def facts(self) -> dict[str, Any]:
        """Lay it out for JSON; what unknown counts as only where a bank has said it."""
        facts = {
            **asdict(self.slate),
            "slate_size": self.slate_size,
            "candidates": self.candidates,
        }
        said = {"unknown_user": self.unknown.user, "unknown_item": self.unknown.item}
        return facts if self.unknown == PRUDENT else facts | said

    def told(self) -> str:
        """Say it in one line."""
        size = "" if self.slate_size is None else f", slates of {self.slate_size}"
        said = (
            f" (unknown investors count as class {self.unknown.user}, items as {self.unknown.item})"
        )
        return (
            f"softmax temperature {self.slate.temperature:g}, epsilon {self.slate.epsilon:g} "
            f"over the top {self.slate.top_k} {self.candidates}"
            f"{'' if self.unknown == PRUDENT else said}{size}"
        )


def from_facts(facts: dict[str, Any]) -> ServingPolicy:
    """Read what `ServingPolicy.facts` laid out.

    Raises
    ------
    ValueError
        If a value is missing or none that can be served.
    """
    try:
        slate = SlatePolicy(*(facts[name] for name in ("temperature", "epsilon", "top_k")))
        unknown = Unknown(
            facts.get("unknown_user", PRUDENT.user), facts.get("unknown_item", PRUDENT.item)
        )
        policy = ServingPolicy(slate, facts["slate_size"], facts["candidates"], unknown)
    except (KeyError, TypeError, BadParams) as error:
        raise ValueError(f"no serving policy: {error}") from error
    strange = sorted(set(facts) - set(policy.facts()) - set(_UNKNOWN))
    if strange:
        raise ValueError(f"nobody can serve what {', '.join(strange)} says")
    if policy.candidates != SUITABLE:
        raise ValueError(f"unknown candidate rule {policy.candidates!r}")
    return policy


def write_policy(policy: ServingPolicy, bundle: Path) -> None:
    """Write the policy into a bundle."""
    (bundle / FILE).write_text(json.dumps(policy.facts(), indent=2) + "\n")


def read_policy(bundle: Path) -> ServingPolicy:
    """Read the policy that was published with a bundle.

    Raises
    ------
    BrokenBundle
        If there is none or it cannot be served: nobody knows then what the bundle would show.
    """
    try:
        return from_facts(json.loads((bundle / FILE).read_text()))
    except (OSError, ValueError) as error:
        raise BrokenBundle(
            f"{bundle.name} carries no readable {FILE}, so it cannot be replayed as it serves: "
            "remove the registry of the profile and run again"
        ) from error
