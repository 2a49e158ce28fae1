"""Compare what is with what was, and recommendations with what investors chose themselves."""

from __future__ import annotations

from pathlib import Path

import ibis

from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.stages.monitor import bias, frames, page
from tessera.stages.monitor.params import MonitorParams
from tessera.stages.monitor.spec import load_watch


def run(
    *,
    events: ibis.Table,
    exposures: ibis.Table,
    items: ibis.Table,
    users: ibis.Table,
    lists: ibis.Table,
    baseline_lists: ibis.Table,
    split: Path,
    watch: Path,
    spec: Path,
    params: MonitorParams,
) -> dict[str, float]:
    """Write the folder `watch`: index.html, summary.json and one Evidently report a comparison."""
    window = frames.Window(load_split(split), load_watch(spec), params)
    rules = window.watch.drift
    watch.mkdir(parents=True)
    with progress_bar("monitor", 4) as bar:
        pairs = frames.interactions(events, window)
        known = frames.catalogue(items, pairs, window)
        mine = lists if params.model == "hstu" else baseline_lists
        top = frames.top_lists(mine, window)
        top_NK = frames.numbered(top, known, window.watch.list_length)
        users_known = int(pairs.user_id.nunique().execute())
        found = bias.figures(top_NK, known.holders_I, users_known, window.watch)
        bar.advance()
        from tessera.stages.monitor.report import drift_report, list_report  # seconds to import

        did = frames.event_frames(events, users, known, window)
        drifted = drift_report("events", did, rules.events, watch / "events.html")
        bar.advance()
        shown = frames.exposure_frames(exposures, users, known, window)
        drifted += drift_report("exposures", shown, rules.exposures, watch / "exposures.html")
        bar.advance()
        listed = frames.list_frames(top, pairs, known, window)
        size = (window.watch.list_length, len(known.item_ids))
        drifted += list_report(listed, rules.lists, *size, watch / "lists.html")
        bar.advance()
    rows = {"events": did.rows, "exposures": shown.rows, "lists": listed.rows}
    page.write_summary(watch / "summary.json", window.split, drifted, found, rows)
    page.write_page(watch / "index.html", window, drifted, found, rows)
    return page.metrics(drifted, found)
