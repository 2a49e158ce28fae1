"""Answer one investor from a bundle: retrieve, filter what is held or unsuitable, rank, say why.

Every reason is read off the evidence that the bundle carries, never invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.tables import MOST_FALSE_SIGNS, RISK_CLASSES
from tessera.shared.policies import serving
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.suitability import PRUDENT, Unknown, suitable

if TYPE_CHECKING:  # torch and FAISS take seconds, and the policy that wrote the log needs neither
    from tessera.bundles.vectors import Search
    from tessera.serve.ranker import Ranker

_CAUSAL = "causal"
_EVIDENCE = (
    (_CAUSAL, "holding {held} is estimated to raise the chance of buying it"),
    ("transition", "often bought right after {held}, which you hold"),
    ("co_acquired", "held by investors who also hold {held}"),
    ("unproven", "bought later by investors who held {held}, as you do"),
)
"""Kinds of edges, the most telling first, and what may be said of each."""


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
    """What the bundle knows of one investor; an unknown one has no vector."""

    user_id: str
    risk_class: int
    held: tuple[str, ...]
    dismissed: tuple[str, ...]
    vector_D: Any
    is_known: bool = True

    @property
    def level(self) -> str:
        """Risk class in words."""
        return RISK_CLASSES[self.risk_class - 1]


def investor(users: pa.Table, user_id: str, unknown: Unknown = PRUDENT) -> Investor:
    """Look up one investor; an unknown one counts as new, and of the class of the unknown."""
    place = pc.index(users["user_id"], user_id).as_py()
    if place < 0:
        return Investor(user_id, unknown.user, (), (), None, is_known=False)
    (row,) = users.slice(place, 1).to_pylist()
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
    from tessera.model.sequences.fact_tables import has_facts
    from tessera.model.trunk.saved import CANDIDATES

    judged = "not judged, meant as" if sealed.get("decision") == "INVALID" else "judged as"
    ranks = has_facts(bundle / "facts")
    shown = f"the {CANDIDATES} nearest, best ranked first" if ranks else "its recall"
    policy = read_policy(bundle).told()
    return f"{judged}: {policy}; shown here: {shown}, without exploration"


@dataclass(frozen=True, slots=True)
class Recommender:
    """A bundle that is read once and answers many, one after the other."""

    users: pa.Table
    items: pa.Table
    neighbours: pa.Table | None
    search: Search | None
    ranker: Ranker | None
    """None orders by recall."""
    unknown: Unknown = PRUDENT
    """Which risk class stands for an unknown one."""

    @classmethod
    def open(cls, bundle: Path) -> Recommender:
        """Read a published bundle whose manifest was checked.

        Raises
        ------
        BrokenBundle
            If model or facts are damaged or do not belong together.
        """
        edges = bundle / "neighbours.parquet"
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its tables cannot be read", "publish it again"
        ):
            users = pq.read_table(bundle / "users.parquet")
            items = pq.read_table(bundle / "items.parquet")
            neighbours = pq.read_table(edges) if edges.exists() else None
        # The policy that wrote the log is published without one.
        unknown = read_policy(bundle).unknown if (bundle / serving.FILE).exists() else PRUDENT
        return cls(users, items, neighbours, _open_search(bundle), _open_ranker(bundle), unknown)

    def recommend(self, user_id: str, k: int) -> list[Recommendation]:
        """Return the k best suitable items that the investor neither holds nor dismissed.

        Parameters
        ----------
        user_id : str
            Investor; an unknown one gets what is popular in the class of the unknown.
        k : int
            Length of the list; shorter if fewer items are suitable, or ranked.
        """
        who = investor(self.users, user_id, self.unknown)
        fact = {row["item_id"]: row for row in self._suiting(who).to_pylist()}
        for item in (*who.held, *who.dismissed):
            fact.pop(item, None)
        best = self._ranked(who, self._retrieved(who, fact), k)
        told = self._reasons(who, [item for item, _ in best])
        return [
            Recommendation(
                item,
                fact[item]["name"],
                fact[item]["category"] or "",
                score,
                told.get(item) or self._without_evidence(fact[item], who),
            )
            for item, score in best
        ]

    def _suiting(self, who: Investor) -> pa.Table:
        fits = suitable(who.risk_class, self.items["risk_class"].to_numpy(), self.unknown)
        return self.items.filter(pa.array(fits & self.items["alive"].to_numpy()))

    def unknown_note(self, user_id: str) -> str | None:
        """Say in one line that an investor is unknown, and as what they are served; else None."""
        who = investor(self.users, user_id, self.unknown)
        if who.is_known:
            return None
        return (
            f"{user_id!r} is unknown: no such investor in events or users before the cut; served "
            f"as a new one of risk class {who.risk_class} ({who.level})"
        )

    def why_empty(self, user_id: str) -> str:
        """Say in one line why nothing can be listed for an investor."""
        who = investor(self.users, user_id, self.unknown)
        alive = self.items.filter(self.items["alive"])
        if not len(alive):
            return "nothing is listed: no item was on sale at the cut"
        if len(self._suiting(who)):
            return "nothing is listed: all that suits is held or was dismissed"
        lowest = pc.min(alive["risk_class"]).as_py()
        whom = f"an investor of risk class {who.risk_class} ({who.level})"
        if lowest > pc.max(self.users["risk_class"]).as_py():
            whom = "anybody"
        return (
            f"nothing suits {whom}: no item on sale is below class {lowest} "
            f"({RISK_CLASSES[lowest - 1]}); unknown items count as {self.unknown.item}, unknown "
            f"investors as {self.unknown.user}: map risk_class, or say what unknown counts as "
            "(ingest.unknown_item_risk, ingest.unknown_user_risk)"
        )

    def _retrieved(self, who: Investor, fact: dict[str, Any]) -> list[tuple[str, float]]:
        if who.vector_D is not None and self.search:
            near = self.search.nearest(who.vector_D, len(self.items))
            return [(item, score) for item, score in near if item in fact]
        liked = {item: float(row["popularity"]) for item, row in fact.items()}
        return sorted(liked.items(), key=lambda pair: (-pair[1], pair[0]))

    def _ranked(
        self, who: Investor, near: list[tuple[str, float]], k: int
    ) -> list[tuple[str, float]]:
        """Put the nearest in the order of the ranking head; whoever has no vector is not ranked."""
        if self.ranker is None or who.vector_D is None or not near:
            return near[:k]
        from tessera.model.trunk.saved import CANDIDATES

        items = [item for item, _ in near[:CANDIDATES]]
        scores = self.ranker.scores(who.user_id, items).tolist()
        return sorted(zip(items, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))[:k]

    def _without_evidence(self, fact: dict[str, Any], who: Investor) -> str:
        """Give the reason of an item that no edge leads to."""
        level = who.level
        if who.vector_D is None:  # found by popularity
            return f"bought by {fact['popularity']} investors, suitable for {level} investors"
        if self.ranker and not self.ranker.has_acted(who.user_id):
            return f"best ranked for a new investor, suitable for {level} investors"
        return f"fits your recent activity, suitable for {level} investors"

    def _reasons(self, who: Investor, chosen: list[str]) -> dict[str, str]:
        """Strongest edge from a held item to each chosen one, causal evidence first.

        A causal edge whose sign may well be wrong is told last, by what was seen and no more.
        """
        if not who.held or not chosen or self.neighbours is None:
            return {}
        wanted = pc.is_in(self.neighbours["source_id"], pa.array(who.held))
        wanted = pc.and_(wanted, pc.is_in(self.neighbours["target_id"], pa.array(chosen)))
        rows = self.neighbours.filter(wanted).to_pylist()
        held = self.items.filter(pc.is_in(self.items["item_id"], pa.array(who.held)))
        names = dict(zip(held["item_id"].to_pylist(), held["name"].to_pylist(), strict=True))
        found: dict[str, str] = {}
        for kind, text in _EVIDENCE:
            edges = sorted(
                (row for row in rows if _evidence_of(row) == kind),
                key=lambda row: (-row["weight"], row["source_id"]),
            )
            for row in edges:
                found.setdefault(row["target_id"], text.format(held=names[row["source_id"]]))
        return found


def _open_search(bundle: Path) -> Search | None:
    if not (bundle / "vectors.faiss").exists():
        return None
    from tessera.bundles.vectors import Search

    return Search.open(bundle)


def _open_ranker(bundle: Path) -> Ranker | None:
    if not (bundle / "facts").is_dir():
        return None
    from tessera.serve.ranker import open_ranker

    return open_ranker(bundle)


def _evidence_of(edge: dict[str, Any]) -> str:
    """Return the kind of evidence that an edge is; bundles of old do not say how sure they are."""
    rate = edge.get("false_sign_rate")
    sure = rate is not None and rate <= MOST_FALSE_SIGNS
    return edge["kind"] if edge["kind"] != _CAUSAL or sure else "unproven"


def recommend(bundle: Path, user_id: str, k: int) -> list[Recommendation]:
    """Read a bundle to answer one investor; see `Recommender`."""
    return Recommender.open(bundle).recommend(user_id, k)
