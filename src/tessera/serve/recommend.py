"""Answer one investor from a bundle: retrieve, filter what is held or unsuitable, say why.

Every reason is read off the evidence that the bundle carries, never invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.tables import RISK_CLASSES
from tessera.index.manifest import read_manifest
from tessera.index.vectors import search
from tessera.policies.serving import read_policy
from tessera.policies.suitability import UNKNOWN_USER, suitable

_EVIDENCE = (
    ("causal", "holding {held} is estimated to raise the chance of buying it"),
    ("transition", "often bought right after {held}, which you hold"),
    ("co_acquired", "held by investors who also hold {held}"),
)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One line of a list."""

    item_id: str
    name: str
    category: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Investor:
    """What the bundle knows of one investor; an unknown one has no vector and the lowest risk."""

    user_id: str
    risk_class: int
    held: tuple[str, ...]
    dismissed: tuple[str, ...]
    vector_D: Any


def investor(bundle: Path, user_id: str) -> Investor:
    """Read one investor; an unknown one counts as new and of the lowest risk class."""
    rows = pq.read_table(bundle / "users.parquet", filters=[("user_id", "=", user_id)]).to_pylist()
    if not rows:
        return Investor(user_id, UNKNOWN_USER, (), (), None)
    row = rows[0]
    vector = row.get("vector")
    return Investor(
        user_id,
        int(row["risk_class"]),
        tuple(row["held"] or ()),
        tuple(row["dismissed"] or ()),
        None if vector is None else np.array(vector, dtype=np.float32),
    )


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
    judged = "not judged, meant as" if sealed.get("decision") == "INVALID" else "judged as"
    policy = read_policy(bundle).told()
    return f"{judged}: {policy}; shown here is its recall, without ranking head or exploration"


def recommend(bundle: Path, user_id: str, k: int) -> list[Recommendation]:
    """Return the k best suitable items that the investor neither holds nor dismissed.

    Parameters
    ----------
    bundle : Path
        A published bundle whose manifest was checked.
    user_id : str
        Investor; an unknown one gets what is popular in the lowest risk class.
    k : int
        Length of the list; shorter if fewer items are suitable.
    """
    who = investor(bundle, user_id)
    items = pq.read_table(bundle / "items.parquet")
    fits = suitable(who.risk_class, items["risk_class"].to_numpy())
    shown = items.filter(pa.array(fits & items["alive"].to_numpy()))
    fact = {row["item_id"]: row for row in shown.to_pylist()}
    for item in (*who.held, *who.dismissed):
        fact.pop(item, None)
    best = [(item, score) for item, score in _retrieve(bundle, who, fact) if item in fact][:k]
    told = _reasons(bundle, who, [item for item, _ in best])
    return [
        Recommendation(
            item,
            fact[item]["name"],
            fact[item]["category"] or "",
            score,
            told.get(item) or _fallback(fact[item], who),
        )
        for item, score in best
    ]


def _retrieve(bundle: Path, who: Investor, fact: dict[str, Any]) -> list[tuple[str, float]]:
    if who.vector_D is not None and (bundle / "vectors.faiss").exists():
        return search(bundle, who.vector_D, most=1_000_000)
    return [
        (item, float(row["popularity"]))
        for item, row in sorted(fact.items(), key=lambda pair: (-pair[1]["popularity"], pair[0]))
    ]


def _reasons(bundle: Path, who: Investor, chosen: list[str]) -> dict[str, str]:
    """Strongest edge from a held item to each chosen one, causal evidence first."""
    path = bundle / "neighbours.parquet"
    if not who.held or not chosen or not path.exists():
        return {}
    wanted = [("source_id", "in", list(who.held)), ("target_id", "in", chosen)]
    rows = pq.read_table(path, filters=wanted).to_pylist()
    names = {row["item_id"]: row["name"] for row in _named(bundle, list(who.held))}
    found: dict[str, str] = {}
    for kind, text in _EVIDENCE:
        edges = sorted(
            (row for row in rows if row["kind"] == kind),
            key=lambda row: (-row["weight"], row["source_id"]),
        )
        for row in edges:
            found.setdefault(row["target_id"], text.format(held=names[row["source_id"]]))
    return found


def _named(bundle: Path, ids: list[str]) -> list[dict[str, Any]]:
    chosen = pq.read_table(bundle / "items.parquet", filters=[("item_id", "in", ids)])
    rows: list[dict[str, Any]] = chosen.select(["item_id", "name"]).to_pylist()
    return rows


def _fallback(fact: dict[str, Any], who: Investor) -> str:
    level = RISK_CLASSES[who.risk_class - 1]
    if who.vector_D is None:  # found by popularity
        return f"bought by {fact['popularity']} investors, suitable for {level} investors"
    return f"nearest to your recent activity, suitable for {level} investors"
