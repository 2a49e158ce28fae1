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
from tessera.contracts.arrays import Bools
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.tables import MOST_FALSE_SIGNS, RISK_CLASSES
from tessera.serve.investors import Investor, investor
from tessera.serve.retrieval import NOTHING, Found, Retrievers, first_heard, open_retrievers
from tessera.serve.shelf import Shelf
from tessera.shared.policies import serving
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.suitability import PRUDENT, UNKNOWN, Unknown, suitable

if TYPE_CHECKING:  # torch takes seconds, and the policy that wrote the log needs none
    from tessera.serve.ranker import Ranker

_BY_RECALL = ("dense", "popular")
"""Who finds the items of a list; the first that answers is heard."""
_CAUSAL = "causal"
_EVIDENCE = (
    (_CAUSAL, "holding {held} is estimated to raise the chance of buying it"),
    ("transition", "often bought right after {held}, which you hold"),
    ("co_acquired", "held by investors who also hold {held}"),
    ("unproven", "bought later by investors who held {held}, as you do"),
)
"""Kinds of edges, the most telling first, and what may be said of each."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What leads from something held to an item."""

    kind: str
    held: str
    """Name of what is held."""
    weight: float
    false_sign_rate: float | None
    """How often the sign of such an effect is wrong; None where nothing is claimed of it."""
    support: int | None
    """How many rows it was seen in."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One line of a list."""

    item_id: str
    name: str
    category: str
    score: float
    reason: str


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
    shelf: Shelf
    alive_I: Bools
    """Whether an item was on sale at the cut."""
    suits_KI: Bools
    """Whether an item suits the investors of each risk class."""
    neighbours: pa.Table | None
    retrievers: Retrievers
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
        shelf = Shelf.of(items)
        return cls(
            users,
            shelf,
            items["alive"].to_numpy().astype(np.bool_),
            _suits(items, unknown),
            neighbours,
            open_retrievers(bundle, shelf),
            _open_ranker(bundle),
            unknown,
        )

    @property
    def items(self) -> pa.Table:
        """Facts of the items."""
        return self.shelf.table

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
        best = self._best(who, k)
        chosen = [self.shelf.ids[row] for row in best.row_F.tolist()]
        fact, told = self._facts(chosen), self.reasons(who, chosen)
        return [
            Recommendation(
                item, fact[item]["name"], fact[item]["category"] or "", score, told[item]
            )
            for item, score in zip(chosen, best.score_F.tolist(), strict=True)
        ]

    def reasons(self, who: Investor, chosen: list[str]) -> dict[str, str]:
        """Say of each item why: by the strongest evidence, or by how it was found."""
        fact, told = self._facts(chosen), self._evidence(who, chosen)
        return {item: told.get(item) or self._without_evidence(fact[item], who) for item in chosen}

    def evidence(self, who: Investor, chosen: list[str]) -> dict[str, list[Edge]]:
        """Return all that leads from what is held to each item, the most telling first."""
        rows, names = self._edges(who, chosen)
        found: dict[str, list[Edge]] = {item: [] for item in chosen}
        order = [kind for kind, _ in _EVIDENCE]
        known = [row for row in rows if _evidence_of(row) in order]
        for row in sorted(known, key=lambda row: (order.index(_evidence_of(row)), -row["weight"])):
            found[row["target_id"]].append(
                Edge(
                    _evidence_of(row),
                    names[row["source_id"]],
                    row["weight"],
                    row.get("false_sign_rate"),
                    row.get("support"),
                )
            )
        return found

    def _edges(
        self, who: Investor, chosen: list[str]
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Return the edges from what is held to items, and the names of what is held."""
        if not who.held or not chosen or self.neighbours is None:
            return [], {}
        wanted = pc.is_in(self.neighbours["source_id"], pa.array(who.held))
        wanted = pc.and_(wanted, pc.is_in(self.neighbours["target_id"], pa.array(chosen)))
        rows = self.neighbours.filter(wanted).to_pylist()
        held = self.items.take(self.shelf.rows(who.held))
        return rows, dict(zip(held["item_id"].to_pylist(), held["name"].to_pylist(), strict=True))

    def _suits_I(self, who: Investor) -> Bools:
        risk = who.risk_class if who.risk_class > UNKNOWN else self.unknown.user
        return np.asarray(self.suits_KI[risk - 1], np.bool_)

    def open_I(self, who: Investor) -> Bools:
        """Return which items suit an investor and are neither held nor dismissed."""
        open_I = self._suits_I(who).copy()
        open_I[self.shelf.rows((*who.held, *who.dismissed))] = False
        return open_I

    def _facts(self, chosen: list[str]) -> dict[str, Any]:
        rows = self.items.take(self.shelf.rows(chosen))
        return {row["item_id"]: row for row in rows.to_pylist()}

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
        if not self.alive_I.any():
            return "nothing is listed: no item was on sale at the cut"
        if (self._suits_I(who) & self.alive_I).any():
            return "nothing is listed: all that suits is held or was dismissed"
        lowest = int(self.items["risk_class"].to_numpy()[self.alive_I].min())
        whom = f"an investor of risk class {who.risk_class} ({who.level})"
        if lowest > pc.max(self.users["risk_class"]).as_py():
            whom = "anybody"
        return (
            f"nothing suits {whom}: no item on sale is below class {lowest} "
            f"({RISK_CLASSES[lowest - 1]}); unknown items count as {self.unknown.item}, unknown "
            f"investors as {self.unknown.user}: map risk_class, or say what unknown counts as "
            "(ingest.unknown_item_risk, ingest.unknown_user_risk)"
        )

    def _best(self, who: Investor, k: int) -> Found:
        """Find items, and put the first of them in the order of the ranking head if there is one.

        Whoever has no vector is not ranked.
        """
        eligible_I = self.open_I(who) & self.alive_I
        asked = [self.retrievers[name] for name in _BY_RECALL if name in self.retrievers]
        if self.ranker is None or who.vector_D is None:
            return first_heard(asked, who, eligible_I, k)
        from tessera.model.trunk.saved import CANDIDATES

        row_C = first_heard(asked, who, eligible_I, CANDIDATES).row_F
        if not len(row_C):
            return NOTHING
        items = [self.shelf.ids[row] for row in row_C.tolist()]
        score_C = np.asarray(self.ranker.scores(who.user_id, items), np.float64)
        return Found.best(row_C, score_C, self.shelf.rank_I, k)

    def _without_evidence(self, fact: dict[str, Any], who: Investor) -> str:
        """Give the reason of an item that no edge leads to."""
        level = who.level
        if who.vector_D is None:  # found by popularity
            return f"bought by {fact['popularity']} investors, suitable for {level} investors"
        if self.ranker and not self.ranker.has_acted(who.user_id):
            return f"best ranked for a new investor, suitable for {level} investors"
        return f"fits your recent activity, suitable for {level} investors"

    def _evidence(self, who: Investor, chosen: list[str]) -> dict[str, str]:
        """Strongest edge from a held item to each chosen one, causal evidence first.

        A causal edge whose sign may well be wrong is told last, by what was seen and no more.
        """
        rows, names = self._edges(who, chosen)
        found: dict[str, str] = {}
        for kind, text in _EVIDENCE:
            edges = sorted(
                (row for row in rows if _evidence_of(row) == kind),
                key=lambda row: (-row["weight"], row["source_id"]),
            )
            for row in edges:
                found.setdefault(row["target_id"], text.format(held=names[row["source_id"]]))
        return found


def _suits(items: pa.Table, unknown: Unknown) -> Bools:
    risk_I = items["risk_class"].to_numpy()
    every_K = range(1, len(RISK_CLASSES) + 1)
    return np.stack([suitable(risk, risk_I, unknown) for risk in every_K])


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
