"""The door of `ingest`: raw files in, sifted and sorted tables and the split out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tessera.contracts.progress import progress_bar
from tessera.contracts.split import save_split
from tessera.ingest.engine import open_engine
from tessera.ingest.params import IngestParams
from tessera.ingest.periods import plan
from tessera.ingest.sources import drafts
from tessera.ingest.write import Quarantine, write_good

ORDER = ("items", "users", "prices", "events", "exposures", "outcomes")
"""Items come first: what refers to an unknown item is quarantined."""


def run(
    *,
    source: Path,
    request: Path,
    events: Path,
    items: Path,
    users: Path,
    prices: Path,
    exposures: Path,
    outcomes: Path,
    quarantine: Path,
    split: Path,
    params: IngestParams,
) -> dict[str, float]:
    """Turn the files of a source into tables; rows in = good + quarantined, exactly."""
    targets = dict(zip(ORDER, (items, users, prices, events, exposures, outcomes), strict=True))
    with (
        TemporaryDirectory(dir=events.parent, prefix=".ingest-") as spill,
        open_engine(params, Path(spill)) as engine,
        progress_bar("ingest", len(ORDER) + 1) as bar,
        Quarantine(quarantine, engine) as bad,
    ):
        found = drafts(source, engine, params)
        bar.advance()
        for name, path in targets.items():
            bar.note(name)
            write_good(name, found.get(name), path, engine, bad)
            if name == "events":  # before what is larger: a cut that cannot be is told at once
                save_split(plan(engine.read(events, "events"), params, request), split)
            bar.advance()
    return bad.metrics()
