"""Answer one investor from a bundle: retrieve, filter what is held or unsuitable, rank, say why.

Every reason is read off the evidence that the bundle carries, never invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.bundles.words import CodeWords, Shared
from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.tables import RISK_CLASSES
from tessera.serve.erased import Erased
from tessera.serve.evidence import WORDS, Edge, Evidence
from tessera.serve.found_by import how_found
from tessera.serve.investors import Investor, Investors, stranger
from tessera.serve.params import ServeParams
from tessera.serve.retrieval import (
    NOTHING,
    Found,
    Retrievers,
    first_heard,
    open_retrievers,
    require,
)
from tessera.serve.shelf import Shelf
from tessera.shared.erased import NEVER
from tessera.shared.policies import serving
from tessera.shared.policies.serving import read_policy
from tessera.shared.policies.suitability import (
    PRUDENT,
    UNKNOWN,
    Unknown,
    affordable,
    suitable,
)

if TYPE_CHECKING:  # torch takes seconds, and the policy that wrote the log needs none
    from tessera.serve.ranker import Ranker

_BY_RECALL = ("dense", "popular")
"""Who finds the items of a list; the first that answers is heard."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What leads from something held to an item."""

    kind: str
    held: str
    """Name of what is held."""
    weight: float
    false_sign_rate: float | None
    """How often the sign of such an effect is wrong; None where nothing is claimed of it."""
    support: int
    """Investors behind it; 0 where the bundle does not say."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One line of a list."""

    item_id: str
    name: str
    category: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Recommender:
    """A bundle that is read once and answers many, one after the other."""

    investors: Investors
    shelf: Shelf
    alive_I: Bools
    """Whether an item was on sale at the cut."""
    suits_KI: Bools
    """Whether an item suits the investors of each risk class."""
    evidence: Evidence
    retrievers: Retrievers
    ranker: Ranker | None
    """None orders by recall."""
    unknown: Unknown = PRUDENT
    """Which risk class stands for an unknown one."""
    unit_I: Float64s | None = None
    """What one unit costs in EUR as of the cut; None where the bundle knows no prices."""
    capacity_eur: Sequence[float] = ()
    """See `ServeParams`."""
    erased: Erased | None = None
    words: CodeWords | None = None
    """What the codes mean; None where the bundle does not say."""

    @classmethod
    def open(cls, bundle: Path, params: ServeParams | None = None) -> Recommender:
        """Read a published bundle whose manifest was checked; `params` say who can buy what.

        Raises
        ------
        BrokenBundle
            If model or facts are damaged or do not belong together.
        """
        with translate_errors(
            BrokenBundle, f"{bundle.name}: its tables cannot be read", "publish it again"
        ):
            users = pq.read_table(bundle / "users.parquet")
            items = pq.read_table(bundle / "items.parquet")
        # The policy that wrote the log is published without one.
        unknown = read_policy(bundle).unknown if (bundle / serving.FILE).exists() else PRUDENT
        shelf = Shelf.of(items)
        ranker = _open_ranker(bundle, shelf)
        return cls(
            Investors.of(users, unknown),
            shelf,
            items["alive"].to_numpy().astype(np.bool_),
            _suits(items, unknown),
            Evidence.of(shelf.edges(bundle), shelf),
            open_retrievers(bundle, shelf),
            ranker,
            unknown,
            ranker.unit_eur(shelf.id_I) if ranker else None,
            (params or ServeParams()).capacity_eur,
            Erased.beside(bundle),
            CodeWords.open(bundle, shelf),
        )

    @property
    def items(self) -> pa.Table:
        """Facts of the items."""
        return self.shelf.table

    def recommend(self, user_id: str, k: int, source: str | None = None) -> list[Recommendation]:
        """Return the k best suitable items that the investor neither holds nor dismissed.

        Whoever was erased since the cut is a stranger.  What was shown before does not count.

        Parameters
        ----------
        user_id : str
            Investor; an unknown one gets what is popular in the class of the unknown.
        k : int
            Length of the list; shorter if fewer items are suitable, or ranked.
        source : str, optional
            The one retriever that is asked, whose order and scores the list has; none is listed if
            it can say nothing of the investor.

        Raises
        ------
        BadParams
            If the bundle has no such retriever.
        """
        who = self.who(user_id)
        best = self._best(who, k) if source is None else self._found(who, k, source)
        chosen = [self.shelf.ids[row] for row in best.row_F.tolist()]
        found_by = dict.fromkeys(chosen, source) if source else {}
        fact = self._facts(chosen)
        told = self.reasons(who, chosen, self.edges(who, chosen), found_by)
        return [
            Recommendation(
                item, fact[item]["name"], fact[item]["category"] or "", score, told[item]
            )
            for item, score in zip(chosen, best.score_F.tolist(), strict=True)
        ]

    def who(self, user_id: str) -> Investor:
        """Return what the bundle may say of an investor."""
        until = NEVER if self.erased is None else self.erased.until(user_id)
        if until == NEVER or (self.ranker and until < self.ranker.moment - 1):
            return self.investors.known(user_id)
        return stranger(user_id, self.unknown)

    def reasons(
        self,
        who: Investor,
        chosen: list[str],
        edges: Mapping[str, Edge],
        found_by: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Say of each item why: by the strongest edge, by its codes, or by what found it."""
        alike = self._alike(who, [item for item in chosen if item not in edges])
        by = found_by or {}
        return {
            item: self._told(edges[item])
            if item in edges
            else alike.get(item) or self._without_evidence(item, who, by.get(item))
            for item in chosen
        }

    def _alike(self, who: Investor, items: list[str]) -> dict[str, str]:
        """Say of what is coded like something held what both are, by the words of their codes."""
        if self.words is None:
            return {}
        rows = self.shelf.rows
        shared = self.words.shared(rows(who.held), rows(items))
        return {self.shelf.ids[row]: self._coded_alike(found) for row, found in shared.items()}

    def _coded_alike(self, found: Shared) -> str:
        held, codes = self.items["name"][found.held].as_py(), "code" + "s" * (found.levels > 1)
        return f"shares the {codes} {', '.join(found.words)} with {held}, which you hold"

    def edges(self, who: Investor, chosen: list[str]) -> dict[str, Edge]:
        """Return the most telling edge from what is held to each item that one leads to."""
        rows = self.shelf.rows
        found = self.evidence.strongest(rows(who.held), rows(chosen))
        return {self.shelf.ids[row]: edge for row, edge in found.items()}

    def leads(self, who: Investor, chosen: list[str]) -> dict[str, list[Lead]]:
        """Return all that leads from what is held to each item, the most telling first."""
        rows = self.shelf.rows
        every = self.evidence.every(rows(who.held), rows(chosen))
        return {
            item: [self._lead(one) for one in every.get(self.shelf.row[item], ())]
            for item in chosen
        }

    def _lead(self, edge: Edge) -> Lead:
        rate = None if np.isnan(edge.false_sign_rate) else edge.false_sign_rate
        held = self.items["name"][edge.source].as_py()
        return Lead(edge.kind, held, edge.weight, rate, edge.support)

    def _told(self, edge: Edge) -> str:
        return WORDS[edge.words].format(held=self.items["name"][edge.source].as_py())

    def suits_I(self, who: Investor) -> Bools:
        """Return which items are not too risky for an investor."""
        risk = who.risk_class if who.risk_class > UNKNOWN else self.unknown.user
        return np.asarray(self.suits_KI[risk - 1], np.bool_)

    def affordable_I(self, who: Investor) -> Bools:
        """Return of which items an investor can buy one unit."""
        if self.unit_I is None:
            return np.ones(len(self.shelf.ids), np.bool_)
        return affordable(who.capacity_class, self.unit_I, self.capacity_eur)

    def open_I(self, who: Investor) -> Bools:
        """Return which items suit an investor, can be paid and are neither held nor dismissed."""
        open_I = self.suits_I(who) & self.affordable_I(who)
        open_I[self.shelf.rows((*who.held, *who.dismissed))] = False
        return open_I

    def _facts(self, chosen: list[str]) -> dict[str, Any]:
        rows = self.items.take(self.shelf.rows(chosen))
        return {row["item_id"]: row for row in rows.to_pylist()}

    def unknown_note(self, user_id: str) -> str | None:
        """Say in one line that an investor is unknown, and as what they are served; else None."""
        who = self.who(user_id)
        if who.is_known:
            return None
        return (
            f"{user_id!r} is unknown: no such investor in events or users before the cut; served "
            f"as a new one of risk class {who.risk_class} ({who.level})"
        )

    def why_empty(self, user_id: str) -> str:
        """Say in one line why nothing can be listed for an investor."""
        who = self.who(user_id)
        if not self.alive_I.any():
            return "nothing is listed: no item was on sale at the cut"
        if (suits_I := self.suits_I(who) & self.alive_I).any():
            dear = not self.affordable_I(who)[suits_I].all()
            why = ", was dismissed or costs more a unit than they can invest" if dear else None
            return f"nothing is listed: all that suits is held{why or ' or was dismissed'}"
        lowest = int(self.items["risk_class"].to_numpy()[self.alive_I].min())
        whom = f"an investor of risk class {who.risk_class} ({who.level})"
        if lowest > pc.max(self.investors.people["risk_class"]).as_py():
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

    def _found(self, who: Investor, k: int, source: str) -> Found:
        require(self.retrievers, [source], "the bundle")
        eligible_I = self.open_I(who) & self.alive_I
        return self.retrievers[source].retrieve(who, eligible_I, k) or NOTHING

    def _without_evidence(self, item: str, who: Investor, source: str | None) -> str:
        """Give the reason of an item that no edge leads to."""
        count = self.items["popularity"][self.shelf.row[item]].as_py()
        is_known = who.vector_D is not None
        acted = is_known and (self.ranker is None or self.ranker.has_acted(who.user_id))
        source = source or (None if is_known else "popular")
        return how_found(source, who.level, count, acted=acted)


def _suits(items: pa.Table, unknown: Unknown) -> Bools:
    risk_I = items["risk_class"].to_numpy()
    every_K = range(1, len(RISK_CLASSES) + 1)
    return np.stack([suitable(risk, risk_I, unknown) for risk in every_K])


def _open_ranker(bundle: Path, shelf: Shelf) -> Ranker | None:
    if not (bundle / "facts").is_dir():
        return None
    from tessera.serve.ranker import open_ranker

    return open_ranker(bundle, shelf)


def recommend(bundle: Path, user_id: str, k: int) -> list[Recommendation]:
    """Read a bundle to answer one investor; see `Recommender`."""
    return Recommender.open(bundle).recommend(user_id, k)
