"""What a bundle says for people to read, beside the slates that it draws."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tessera.bundles.vectors import Search
from tessera.serve.figures import behind, fees
from tessera.serve.investors import Investor
from tessera.serve.recommend import Lead, Recommender
from tessera.serve.slate import Figure, Slate


@dataclass(frozen=True, slots=True)
class ForPeople:
    """The items of a bundle in words."""

    recommender: Recommender
    search: Search

    def facts(self, item_id: str) -> dict[str, str]:
        """Return name and category of an item."""
        row, items = self.recommender.shelf.row[item_id], self.recommender.items
        return {
            "name": items["name"][row].as_py(),
            "category": items["category"][row].as_py() or "",
        }

    def explained(
        self,
        who: Investor,
        found_by: dict[str, str],
        closes: list[tuple[Figure, ...]],
        cut: datetime,
    ) -> tuple[dict[str, str], dict[str, tuple[Figure, ...]]]:
        """Return the reason of each item shown, and the figures that it rests on.

        Parameters
        ----------
        who : Investor
            For whom.
        found_by : dict
            Which retriever found each item, in the order of the slate.
        closes : list
            Figures of its prices, item by item.
        cut : datetime
            Until when the bundle knows.
        """
        told, shown = self.recommender, list(found_by)
        edges = told.edges(who, shown)
        paid = fees(told.shelf.table, told.shelf.rows(shown), cut)
        read = zip(shown, closes, paid, strict=True)
        figures = {item: (*close, *fee) for item, close, fee in read}
        for item, edge in edges.items():
            figures[item] = (*behind(edge, told.shelf.ids[edge.source], cut), *figures[item])
        return told.reasons(who, shown, edges, found_by), figures

    def evidence(self, who: Investor, slate: Slate) -> dict[str, list[Lead]]:
        """Return what leads to each item of a slate from what the investor holds."""
        shown = [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()]
        return self.recommender.leads(who, shown)

    def similar(self, item_id: str, k: int) -> list[dict[str, object]] | None:
        """Return the nearest items by their vectors; None if there is no such item.

        One without a vector has none.
        """
        if item_id not in self.recommender.shelf.row:
            return None
        found = self.search.like(item_id, k)
        return [{"item_id": item, "score": score, **self.facts(item)} for item, score in found]
