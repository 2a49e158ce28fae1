"""Where a candidate stands: the k-th one ever weighed on a log gets the k-th share of alpha.

A stream of candidates without end would promote a tie sooner or later at any fixed error rate; the
shares of `holm.share_of` add up to alpha.  Who was weighed before stands in the ledger of looks,
which stages do not see: the runner reads it and hands over a file.  The same candidate on a longer
log is another look, which the sequence allows for: it keeps its share.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tessera.stages.ope.params import OpeParams


@dataclass(frozen=True, slots=True)
class Standing:
    """Which candidate stands at the gate."""

    candidate: str
    """Hash of what is judged, how and against what."""
    k: int
    """Place among the candidates ever weighed on this log, from 1."""
    look: int = 1
    """Place among the states of the log that this candidate was judged on, from 1."""
    alpha: float = 0.05
    """Error rate that all candidates of this log share; less if the params ask for less."""
    loosened: tuple[str, ...] = ()
    """Params that are looser than the floors of the registry: nothing is weighed then."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Sections of the verdict: `profile`; `look`, what was spent on this log; `judged`, hashes of
    all that it is about; `loosened`."""


def read_standing(told: Path, params: OpeParams) -> Standing:
    """Read what the runner found out.

    Parameters
    ----------
    told : Path
        JSON; an empty object outside a registry, where every candidate is the first.
    params : OpeParams
        Section `ope`.
    """
    found: dict[str, Any] = json.loads(told.read_text())
    look = found.get("look", {})
    facts: dict[str, Any] = {
        name: found[name] for name in ("profile", "look", "judged", "loosened") if name in found
    }
    return Standing(
        str(found.get("candidate", "unregistered")),
        int(look.get("k", 1)),
        int(look.get("look", 1)),
        min(float(look.get("alpha", params.alpha)), params.alpha),
        tuple(found.get("loosened", ())),
        facts,
    )
