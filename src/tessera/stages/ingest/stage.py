"""The entry point of `ingest`: raw files in, sifted and sorted tables and the split out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tessera.contracts.progress import progress_bar
from tessera.contracts.split import save_split
from tessera.shared.policies.suitability import write_unknown
from tessera.stages.ingest.engine import open_engine
from tessera.stages.ingest.joins import joins, require_joined
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.past import read_past
from tessera.stages.ingest.periods import plan, read_asked
from tessera.stages.ingest.reach import reach
from tessera.stages.ingest.reader import drafts
from tessera.stages.ingest.served import of_source
from tessera.stages.ingest.source import BASE, SERVED, conventions
from tessera.stages.ingest.write import Quarantine, write_good

ORDER = ("items", "users", "prices", "events", "exposures", "outcomes", "links", "queries")
"""Items come first: what refers to an unknown item is quarantined."""


def run(
    *,
    source: Path,
    request: Path,
    served: Path | None = None,
    events: Path,
    items: Path,
    users: Path,
    prices: Path,
    exposures: Path,
    outcomes: Path,
    links: Path,
    queries: Path,
    quarantine: Path,
    split: Path,
    suitability: Path,
    params: IngestParams,
) -> dict[str, float]:
    """Turn the files of a source into tables; rows in = good + quarantined, exactly.

    What the service logged lies in `served`, and is read by the source of that name alone.

    Raises
    ------
    LostRows
        If a table lost more than the params allow, or a join finds too little; the quarantine is
        written then.
    """
    asked = read_asked(request)
    past = read_past(params, asked.today)
    paths = (items, users, prices, events, exposures, outcomes, links, queries)
    targets = dict(zip(ORDER, paths, strict=True))
    with (
        TemporaryDirectory(dir=events.parent, prefix=".ingest-") as spill,
        open_engine(params, Path(spill)) as engine,
        progress_bar("ingest", len(ORDER) + 1) as bar,
        Quarantine(quarantine, engine) as bad,
    ):
        found = drafts(_beside(source, served, Path(spill), params), engine, params)
        bar.advance()
        for name, path in targets.items():
            bar.note(name)
            write_good(name, found.get(name), path, bad, past)
            bad.require(name, params)
            if name == "events":  # before what is larger: a cut that cannot be is told at once
                all_of_them = engine.read(events, "events")
                own = of_source(all_of_them, _log_of(served, params), engine)
                when = plan(all_of_them, params, asked, own)
                save_split(when, split)
                found_out = reach(targets, engine, when, params.unknown)
                write_unknown(params.unknown, found_out, suitability)
            bar.advance()
        joined = joins(bad.filled(), events.parent, engine)
        bad.joined(joined)
        require_joined(joined, params)
    return bad.metrics()


def _log_of(served: Path | None, params: IngestParams) -> Path | None:
    """Return the log, if it is read."""
    return served if conventions(params.source).goes_on else None


def _beside(source: Path, served: Path | None, spill: Path, params: IngestParams) -> Path:
    """Lay source and served log out as the source `served` reads them."""
    log = _log_of(served, params)
    if log is None:
        return source
    folder = spill / "mixed"
    folder.mkdir()
    (folder / BASE).symlink_to(source.resolve(), target_is_directory=True)
    (folder / SERVED).symlink_to(log.resolve(), target_is_directory=True)
    return folder
