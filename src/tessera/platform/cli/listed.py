"""What `tessera recommend` lists, beside what was judged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.bundles.manifest import read_manifest
from tessera.serve.recommend import Recommender
from tessera.shared.policies.serving import read_policy

_INVESTORS = 200
"""Asked, evenly spread over those who have judged requests: a list takes milliseconds."""


def judged_candidates(exposures: Path, cut: datetime) -> dict[str, set[str]]:
    """Read which items could have been shown to each investor in the requests after the cut."""
    after = (pc.field("event_ts") > cut) & (pc.field("position") == 1)
    rows = pq.read_table(exposures, columns=["user_id", "candidate_ids"], filters=after)
    found: dict[str, set[str]] = {}
    for user, items in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        found.setdefault(user, set()).update(items)
    return found


def judged_share(recommender: Recommender, candidates: dict[str, set[str]], k: int) -> float | None:
    """Return the share of listed items that were candidates of the same investor's requests.

    Parameters
    ----------
    recommender : Recommender
        Of the published bundle.
    candidates : dict
        Items that could have been shown to each investor, as read from the log.
    k : int
        Length of a list.

    Returns
    -------
    float or None
        None if nobody has a judged request, or nothing is listed.
    """
    users = sorted(candidates)[:: max(1, len(candidates) // _INVESTORS)][:_INVESTORS]
    among = [
        line.item_id in candidates[user]
        for user in users
        for line in recommender.recommend(user, k)
    ]
    return sum(among) / len(among) if among else None


def judged_as(bundle: Path) -> str:
    """Say in one line under which slate policy the bundle was judged, and what a list shows of it.

    Parameters
    ----------
    bundle : Path
        A published bundle whose manifest was checked.
    """
    sealed = read_manifest(bundle)
    if sealed["kind"] == "logging":
        return "never judged: the policy that wrote the log; shown here by popularity"
    from tessera.model.sequences.fact_tables import has_facts
    from tessera.model.trunk.saved import CANDIDATES

    judged = "not judged, meant as" if sealed.get("decision") == "INVALID" else "judged as"
    ranks = has_facts(bundle / "facts")
    shown = f"the {CANDIDATES} nearest, best ranked first" if ranks else "its recall"
    policy = read_policy(bundle).told()
    return f"{judged}: {policy}; shown here: {shown}, without exploration"
