"""What a slate is drawn from: found by the retrievers, new on sale, and drawn evenly from the rest.

Nothing of it does not suit, is not on sale, is held or was dismissed: that is filtered before
anything is searched or drawn.

Shapes: I items of the bundle in the order of its table, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.lookup import distinct_of
from tessera.model.sequences.catalogue import microseconds
from tessera.serve.context import Context
from tessera.serve.evenly import evenly
from tessera.serve.investors import Investor
from tessera.serve.params import ServeParams
from tessera.serve.recommend import Recommender
from tessera.serve.retrieval import Retrievers, mixed, require
from tessera.serve.rules.closing import (
    Closing,
    Opened,
    nothing_closed,
    off_sale,
    opened,
    opened_for,
)
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import affordable

NEW, UNIFORM = "new", "uniform"
"""Sources of the candidates that were drawn: from what is new on sale, and from all that suits."""
DRAWN = (NEW, UNIFORM)
_END = np.iinfo(np.int64).max
_KEPT = 64
"""Classes and times of which it is kept what is open to them."""


class Costs(NamedTuple):
    """What one unit of each item costs, where that is not as of the cut."""

    mark: tuple[int, int]
    """Tells it from what it was before, or on another day."""
    unit_I: Float64s
    """EUR; NaN where nobody knows."""


@dataclass(frozen=True)
class Candidates:
    """A bundle, asked for candidates."""

    recommender: Recommender
    from_I: Ints
    """First microsecond that an item can be bought."""
    to_I: Ints
    """Microsecond from which it no longer can."""
    params: ServeParams
    shares: Mapping[str, float]
    """Of the places of retrieval, by retriever."""
    new: int
    """Candidates that are new on sale, as long as there are so many."""
    unit_I: Float64s
    """What one unit costs in EUR as of the cut; NaN where nobody knows."""
    kept: dict[tuple[int, ...], Opened] = field(default_factory=dict)
    """What is open to a class of investors between two changes: of a million items it takes long
    to work out, and is the same for all of the class."""

    @cached_property
    def change_N(self) -> Ints:
        """When some item comes on sale or leaves it, oldest first."""
        return distinct_of(np.concatenate([self.from_I, self.to_I]))

    @cached_property
    def every_I(self) -> Ints:
        """Rows of all items."""
        return np.arange(len(self.from_I))

    @cached_property
    def by_age_I(self) -> Ints:
        """Rows of the items by when they came on sale, the first one first."""
        return np.argsort(self.from_I, kind="stable")

    @cached_property
    def came_I(self) -> Ints:
        """When they came on sale, in this order."""
        return self.from_I[self.by_age_I]

    @classmethod
    def of(
        cls,
        bundle: Path,
        recommender: Recommender,
        params: ServeParams,
        policy: SlatePolicy,
        unit_I: Float64s,
    ) -> Self:
        """Read when the items of a bundle can be bought.

        Raises
        ------
        BadParams
            If it lacks a retriever that has a share.
        """
        require(recommender.retrievers, params.shares, bundle.name)
        from_I, to_I = _lifetimes(bundle, recommender.shelf.id_I)
        shares = {str(name): share for name, share in params.shares.items()}
        new = new_among(params.new_share, params.retrieved + params.uniform, policy.epsilon)
        return cls(
            recommender,
            from_I,
            to_I,
            params,
            shares,
            min(new, params.uniform),
            unit_I,
        )

    def of_request(
        self, asked: Context, who: Investor, costs: Costs | None = None
    ) -> tuple[Ints, list[str]]:
        """Return rows of the candidates and what found each; without `costs`, as of the cut."""
        found = self._opened(who, asked.moment, asked.k, costs)
        asked.took_away(found.removed, is_filled=found.is_filled)
        return self._among(asked, who, found.open_I)

    def _among(self, asked: Context, who: Investor, eligible_I: Bools) -> tuple[Ints, list[str]]:
        params, retrievers = self.params, self._in_time(asked)
        found = mixed(retrievers, who, eligible_I, params.retrieved, self.shares)
        eligible_I[found.row_F] = False
        lacking = self.new - int(self.is_new_N(found.row_F, asked.moment).sum())
        new_C = evenly(asked.rng, self.new_rows(asked.moment), eligible_I, lacking)
        eligible_I[new_C] = False
        rest_C = evenly(asked.rng, self.every_I, eligible_I, params.uniform - len(new_C))
        sources = [*found.source_F, *[NEW] * len(new_C), *[UNIFORM] * len(rest_C)]
        return np.concatenate([found.row_F, new_C, rest_C]), sources

    def _in_time(self, asked: Context) -> Retrievers:
        """Leave out the dear retrievers if they have a share and there is no time for it."""
        every = self.recommender.retrievers
        dear = {name for name, one in every.items() if getattr(one, "dear", False)}
        if dear.isdisjoint(self.shares) or not asked.skips("retrieve"):
            return every
        return {name: one for name, one in every.items() if name not in dear}

    def eligible_I(self, who: Investor, moment: int) -> Bools:
        """Return what may be shown at a moment."""
        return self._opened(who, moment, 0, None).open_I

    def _opened(self, who: Investor, moment: int, positions: int, costs: Costs | None) -> Opened:
        rows = self.recommender.shelf.rows
        firm = Closing("held", rows(who.held)), Closing("dismissed", rows(who.dismissed))
        known = self._open_to_class(who, moment, costs)
        return opened_for(positions, known, firm, rows(who.capped))

    def _open_to_class(self, who: Investor, moment: int, costs: Costs | None) -> Opened:
        between = int(np.searchsorted(self.change_N, moment, side="right"))
        costs = costs or Costs((0, 0), self.unit_I)
        key = who.risk_class, who.capacity_class, between, *costs.mark
        known = self.kept.get(key)  # another thread may let go of it at any time
        if known is None:
            affordable_I = affordable(who.capacity_class, costs.unit_I, self.params.capacity_eur)
            found = opened(
                nothing_closed(len(self.from_I)),
                (
                    off_sale(self.from_I, self.to_I, moment),
                    Closing("risk", ~self.recommender.suits_I(who)),
                    Closing("capacity", ~affordable_I),
                ),
            )
            if len(self.kept) >= _KEPT:
                self.kept.clear()
            self.kept[key] = known = found
        return known

    def new_rows(self, moment: int) -> Ints:
        """Return what came on sale in the last days before a moment, the first one first."""
        first, stop = np.searchsorted(self.came_I, self._new(moment), side="right")
        return np.asarray(self.by_age_I[first:stop])

    def is_new_N(self, row_N: Ints, moment: int) -> Bools:
        """Tell which of some rows are among them."""
        since, until = self._new(moment)
        return np.asarray((self.from_I[row_N] > since) & (self.from_I[row_N] <= until))

    def _new(self, moment: int) -> tuple[int, int]:
        return moment - self.params.new_days * DAY_US, moment


def new_among(share: float, candidates: int, epsilon: float) -> int:
    """Return how many new candidates have this share of the positions, whatever they score.

    Exploration gives each open candidate epsilon / C of a position.  Without exploration no number
    does, and with too little of it more would be needed than there are candidates.

    >>> new_among(0.01, 50, 0.2)
    3
    """
    if not share or not epsilon:
        return 0
    return min(int(np.ceil(share * candidates / epsilon - 1e-9)), candidates)


def _lifetimes(bundle: Path, id_I: pa.Array) -> tuple[Ints, Ints]:
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its facts cannot be read", "publish it again"
    ):
        columns = ["item_id", "valid_from", "valid_to"]
        rows = pq.read_table(bundle / "facts" / "items.parquet", columns=columns)
        rows = rows.sort_by("item_id")
        if not rows["item_id"].combine_chunks().equals(id_I):
            raise BrokenBundle(f"{bundle.name}: items and facts know other items; publish it again")
        from_I = microseconds(rows["valid_from"].fill_null(0))
        missing = rows["valid_to"].is_null().to_numpy()
        return from_I, np.where(missing, _END, microseconds(rows["valid_to"].fill_null(0)))
