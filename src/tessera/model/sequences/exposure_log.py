"""The exposure log as arrays: slates with their labels, and the facts their features come from.

Legend: R requests, M positions or candidates, S rows of slates, T tasks, F features, I items with
0 for unknown, U people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table
from numpy.typing import NDArray

from tessera.contracts import mapped
from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.ranking import BUY, HOLD
from tessera.model.params import SequenceParams
from tessera.model.sequences.catalogue import Catalogue, microsecond, microseconds, rows_of
from tessera.model.sequences.fact_tables import FactTables, people_of, read_facts, read_trials
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.slates import REQUESTS, Slates
from tessera.shared.features.attribution import reward
from tessera.shared.features.facts import NOBODY, Facts
from tessera.shared.features.ranking import slate_features
from tessera.shared.features.stretches import Clock, Index

MOST_WEIGHT = 10.0
"""An inverse propensity counts at most so much."""
_SELL = ACTIONS.index("sell")


@dataclass(frozen=True, slots=True)
class Sources:
    """The tables of a run that models learn from."""

    events: Table
    codes: Table
    users: Table
    items: Table
    prices: Table
    exposures: Table
    outcomes: Table
    edges: Table
    cate: Table

    def facts(self) -> FactTables:
        """Return what features are computed from."""
        trials = read_trials(self.cate, self.exposures)
        return FactTables(self.users, self.items, self.prices, self.edges, trials)


@dataclass(frozen=True, slots=True)
class Log:
    """Everything logged, and what is known of whom and what."""

    request_ids: pa.Array
    """Sorted, as the slates."""
    slates: Slates
    """Labelled slates of all times, features still to be filled in."""
    matured: tuple[Bools, Bools, Bools]
    """Which of them are for training, validation and test."""
    person_R: Ints
    facts: Facts
    people: list[str]
    """Investors by number; those with events first, as in the histories."""
    folder: Path | None
    """Disk of the slates; see `mapped.blank`."""

    def examples(self, chosen_R: Bools, groups: tuple[str, ...]) -> tuple[tuple[str, ...], Slates]:
        """Return the names of the features and the chosen slates with them."""
        rows, one = np.flatnonzero(chosen_R), self.slates.take(np.zeros(1, np.int64))
        slates = self.slates.on_disk(rows, self.folder)
        names, _ = slate_features(self.facts, self.person_R[:1], one.moment_R, one.item_RM, groups)
        found = mapped.blank((*slates.item_RM.shape, len(names)), np.float32, self.folder)
        for part in mapped.parts(len(rows), REQUESTS):
            person_R, item_RM = self.person_R[rows[part]], slates.item_RM[part]
            _, found[part] = slate_features(
                self.facts, person_R, slates.moment_R[part], item_RM, groups
            )
        return names, replace(slates, feature_RMF=found)


def read_log(
    sources: Sources,
    histories: Histories,
    catalogue: Catalogue,
    code_IL: Ints,
    split: Split,
    params: SequenceParams,
) -> Log | None:
    """Read slates and facts; None if the source never logged what it showed."""
    answers = reward(sources.exposures, sources.outcomes, params.window_days)
    if params.inverse_propensity:
        shown = sources.exposures.select("request_id", "position", "item_id", "propensity")
        answers = answers.join(shown.distinct(on=["request_id", "position", "item_id"]),
                               ["request_id", "position", "item_id"])  # fmt: skip
    rows = answers.order_by("request_id", "position", "item_id").to_pyarrow()
    if not len(rows):
        return None
    people = people_of(histories.user_id_U, sources.users)
    facts = read_facts(sources.facts(), histories, catalogue, code_IL, people)
    slates, person_R = _slates(rows, histories, catalogue, people, split, params)
    ids = rows["request_id"].combine_chunks().unique()
    return Log(
        request_ids=ids,
        slates=slates,
        matured=matured(slates, split, params.window_days),
        person_R=person_R,
        facts=facts,
        people=people,
        folder=histories.folder,
    )


def _slates(
    rows: pa.Table,
    histories: Histories,
    catalogue: Catalogue,
    people: list[str],
    split: Split,
    params: SequenceParams,
) -> tuple[Slates, Ints]:
    """Lay the rows, sorted by request and position, out by request."""
    request = rows["request_id"].combine_chunks()
    fresh_S = np.ones(len(rows), bool)
    fresh_S[1:] = pc.not_equal(request[1:], request[:-1]).to_numpy(zero_copy_only=False)
    first_R, request_S = np.flatnonzero(fresh_S), np.cumsum(fresh_S) - 1
    slot_S = np.arange(len(rows)) - first_R[request_S]
    item_S = rows_of(rows["item_id"], catalogue.vocabulary) + 1
    person_R = rows_of(rows["user_id"], people)[first_R]
    moment_R = microseconds(rows["event_ts"])[first_R]
    first_U, stop_U = histories.first_U1[:-1], histories.first_U1[1:]
    sold_N = histories.within(first_U, stop_U, np.array([_SELL]))
    pairs_N = histories.user_E[sold_N], histories.item_E[sold_N]
    sales = _Sales.of(*pairs_N, histories.moment_E[sold_N], len(catalogue.from_V))
    pair_S = sales.pair(person_R[request_S], item_S)
    label_ST, weight_ST = _labels(rows, sales, pair_S, moment_R[request_S], split, params)

    def spread(value_S: NDArray[Any], dtype: type) -> NDArray[Any]:
        shape = (len(first_R), int(slot_S.max()) + 1, *value_S.shape[1:])
        laid = mapped.blank(shape, dtype, histories.folder)
        laid[request_S, slot_S] = value_S
        return laid

    user_R = np.where(person_R < len(histories.user_id_U), person_R, NOBODY)
    slates = Slates(
        user_R=user_R,
        moment_R=moment_R,
        stop_R=histories.stops_before(user_R, moment_R),
        item_RM=spread(item_S, np.int64),
        position_RM=spread(rows["position"].to_numpy(), np.int64),
        feature_RMF=np.zeros((len(first_R), int(slot_S.max()) + 1, 0), np.float32),
        label_RMT=spread(label_ST, np.float32),
        weight_RMT=spread(weight_ST, np.float32),
    )
    return slates, person_R


@dataclass(frozen=True, slots=True)
class _Sales:
    """When whoever sold what, by pair of investor and item."""

    items: int
    """Of the catalogue: the largest item that was traded depends on what comes later."""
    clock: Clock
    index: Index
    first: int | None
    """Moment of the first sale, None without any."""

    @classmethod
    def of(cls, user_N: Ints, item_N: Ints, moment_N: Ints, items: int) -> _Sales:
        """Index who sold what and when."""
        clock = Clock(moment_N)
        index = Index(user_N * items + item_N, clock.rank(moment_N), clock.span)
        return cls(items, clock, index, int(moment_N.min()) if len(moment_N) else None)

    def pair(self, person_S: Ints, item_S: Ints) -> Ints:
        """Return the number of each pair."""
        return person_S * self.items + item_S

    def count(self, pair_S: Ints, from_S: Ints, until_S: Ints) -> Ints:
        """Count the sales of each pair from a moment to another, both included."""
        before_S = self.index.count(pair_S, self.clock.rank(from_S))
        return self.index.count(pair_S, self.clock.rank(until_S + 1)) - before_S


def _labels(
    rows: pa.Table,
    sales: _Sales,
    pair_S: Ints,
    moment_S: Ints,
    split: Split,
    params: SequenceParams,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the answer of each row to each task, and what it weighs; 0 if it is not known."""
    names = ("clicked", "bought", "dismissed", "bought")
    label_ST = np.column_stack([rows[name].to_numpy() for name in names]).astype(np.float32)
    weight_ST = np.ones_like(label_ST)
    label_ST[:, HOLD], weight_ST[:, HOLD] = _kept(
        sales, pair_S, moment_S, label_ST[:, BUY] > 0, split, params.hold_days
    )
    if params.inverse_propensity:
        weight_ST *= np.minimum(1.0 / rows["propensity"].to_numpy(), MOST_WEIGHT)[:, None]
    return label_ST, weight_ST


def _kept(
    sales: _Sales,
    pair_S: Ints,
    moment_S: Ints,
    bought_S: Bools,
    split: Split,
    hold_days: float,
) -> tuple[Bools, Bools]:
    """Return what was bought and not sold within the horizon, and where that is known.

    The horizon must end in the period of the request; a source without sales knows nothing.
    """
    end_S = moment_S + int(hold_days * DAY_US)
    count_S = sales.count(pair_S, moment_S, end_S)
    begins = microsecond(split.validation_from)
    bounds = np.array([begins, microsecond(split.cut) + 1, microsecond(split.test_until) + 1])
    period_S = np.searchsorted(bounds, moment_S, side="right")
    ends_S = np.append(bounds, np.iinfo(np.int64).max)[period_S]
    has_sales = sales.first is not None and sales.first < bounds[0]
    known_S = has_sales & (~bought_S | (end_S < ends_S))
    return bought_S & (count_S == 0) & known_S, known_S


def matured(slates: Slates, split: Split, window_days: float) -> tuple[Bools, Bools, Bools]:
    """Return which slates are for training, validation and test.

    A slate whose attribution window reaches out of its period belongs to none.
    """
    window = timedelta(days=window_days)
    moment_R = slates.moment_R
    begins, answered = microsecond(split.validation_from), microsecond(split.cut - window)
    learn_R = moment_R < microsecond(split.validation_from - window)
    check_R = (moment_R >= begins) & (moment_R <= answered)
    known = min(microsecond(split.test_until), int(moment_R.max(initial=0)))
    last = known - int(window.total_seconds() * 1e6)
    later_R = (moment_R > microsecond(split.cut)) & (moment_R <= last)
    return learn_R, check_R, later_R
