"""MovieLens: nine tenths of the ratings are learnt from, the last of those to validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions, at_quantile

if TYPE_CHECKING:
    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

CONVENTIONS = Conventions(
    cut=lambda events, _first, _last: at_quantile(events, 0.9),
    validation_from=lambda events, _, cut: at_quantile(
        events.filter(events.event_ts <= cut), 8 / 9
    ),
    test_until=lambda _events, _cut, last: last,
    unknown_item_risk=1,  # films bear none
    official=("ratings*.dat*", "movies.dat*"),
)


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read whichever of its two formats lies in the folder."""
    from tessera.stages.ingest import movielens

    return movielens.drafts(folder, engine, params)
