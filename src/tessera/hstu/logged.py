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
from scipy.sparse import csr_matrix

from tessera.contracts import mapped
from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split
from tessera.contracts.tables import ACTIONS
from tessera.features.attribution import reward
from tessera.features.facts import NOBODY, Facts, Queries, Trials
from tessera.features.ranking import EDGE_KINDS, ranking_features
from tessera.features.stretches import Clock, Index
from tessera.hstu.histories import Bools, Histories, Ints
from tessera.hstu.params import HstuParams
from tessera.hstu.ranking import BUY, HOLD
from tessera.hstu.scoring import windows_before
from tessera.hstu.slates import REQUESTS, Floats32, Slates
from tessera.hstu.world import Catalogue, microsecond, microseconds, read_closes, rows_of

MOST_WEIGHT = 10.0
"""An inverse propensity counts at most so much."""
_SELL = ACTIONS.index("sell")


@dataclass(frozen=True, slots=True)
class Sources:
    """The tables that the ranking head learns from."""

    users: Table
    items: Table
    prices: Table
    exposures: Table
    outcomes: Table
    edges: Table
    cate: Table


@dataclass(frozen=True, slots=True)
class Log:
    """Everything logged, and what is known of whom and what."""

    request_ids: pa.Array
    """Sorted, as the slates."""
    slates: Slates
    """Labelled slates of all times, features still to be filled in."""
    person_R: Ints
    facts: Facts
    people: list[str]
    """Investors by number; those with events first, as in the histories."""
    folder: Path | None
    """Disk of the slates; see `mapped.blank`."""

    def features(
        self, person_R: Ints, moment_R: Ints, item_RM: Ints, groups: tuple[str, ...]
    ) -> tuple[tuple[str, ...], Floats32]:
        """Return the names of the features and feature_RMF of the candidates of requests."""
        requests, slots = item_RM.shape
        request_Q = np.repeat(np.arange(requests), slots)
        asked = Queries(person_R, moment_R, request_Q, item_RM.ravel())
        names, feature_QF = ranking_features(self.facts, asked, groups)
        return names, feature_QF.reshape(requests, slots, len(names))

    def lessons(self, chosen_R: Bools, groups: tuple[str, ...]) -> tuple[tuple[str, ...], Slates]:
        """Return the names of the features and the chosen slates with them."""
        rows, one = np.flatnonzero(chosen_R), self.slates.take(np.zeros(1, np.int64))
        slates = self.slates.on_disk(rows, self.folder)
        names, _ = self.features(self.person_R[:1], one.moment_R, one.item_RM, groups)
        found = mapped.blank((*slates.item_RM.shape, len(names)), np.float32, self.folder)
        for part in mapped.parts(len(rows), REQUESTS):
            person_R, item_RM = self.person_R[rows[part]], slates.item_RM[part]
            _, found[part] = self.features(person_R, slates.moment_R[part], item_RM, groups)
        return names, replace(slates, feature_RMF=found)


def read_log(
    sources: Sources,
    histories: Histories,
    catalogue: Catalogue,
    code_IL: Ints,
    split: Split,
    params: HstuParams,
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
    known = set(histories.user_id_U)
    listed = sources.users.select("user_id").distinct().to_pyarrow()["user_id"].to_pylist()
    people = [*histories.user_id_U, *sorted(set(listed) - known)]
    facts = _facts(sources, histories, catalogue, code_IL, people)
    slates, person_R = _slates(rows, histories, catalogue, people, split, params)
    ids = rows["request_id"].combine_chunks().unique()
    return Log(ids, slates, person_R, facts, people, histories.folder)


def _slates(
    rows: pa.Table,
    histories: Histories,
    catalogue: Catalogue,
    people: list[str],
    split: Split,
    params: HstuParams,
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
    pair_S = person_R[request_S] * len(catalogue.from_V) + item_S
    label_ST, weight_ST = _labels(rows, histories, pair_S, moment_R[request_S], split, params)

    def spread(value_S: NDArray[Any], dtype: type) -> NDArray[Any]:
        shape = (len(first_R), int(slot_S.max()) + 1, *value_S.shape[1:])
        laid = mapped.blank(shape, dtype, histories.folder)
        laid[request_S, slot_S] = value_S
        return laid

    user_R = np.where(person_R < len(histories.user_id_U), person_R, NOBODY)
    slates = Slates(
        user_R=user_R,
        moment_R=moment_R,
        stop_R=windows_before(histories, user_R, moment_R, params.length).stop_W,
        item_RM=spread(item_S, np.int64),
        position_RM=spread(rows["position"].to_numpy(), np.int64),
        feature_RMF=np.zeros((len(first_R), int(slot_S.max()) + 1, 0), np.float32),
        label_RMT=spread(label_ST, np.float32),
        weight_RMT=spread(weight_ST, np.float32),
    )
    return slates, person_R


def _labels(
    rows: pa.Table,
    histories: Histories,
    pair_S: Ints,
    moment_S: Ints,
    split: Split,
    params: HstuParams,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the answer of each row to each task, and what it weighs; 0 if it is not known."""
    names = ("clicked", "bought", "dismissed", "bought")
    label_ST = np.column_stack([rows[name].to_numpy() for name in names]).astype(np.float32)
    weight_ST = np.ones_like(label_ST)
    label_ST[:, HOLD], weight_ST[:, HOLD] = _kept(
        histories, pair_S, moment_S, label_ST[:, BUY] > 0, split, params
    )
    if params.inverse_propensity:
        weight_ST *= np.minimum(1.0 / rows["propensity"].to_numpy(), MOST_WEIGHT)[:, None]
    return label_ST, weight_ST


def _kept(
    histories: Histories,
    pair_S: Ints,
    moment_S: Ints,
    bought_S: Bools,
    split: Split,
    params: HstuParams,
) -> tuple[Bools, Bools]:
    """Return what was bought and not sold within the horizon, and where that is known.

    The horizon must end in the period of the request; a source without sales knows nothing.
    """
    sells = histories.where(lambda event_Q: histories.action_E[event_Q] == _SELL)
    pair_E = histories.user_E[sells] * (int(histories.item_E.max(initial=0)) + 1)
    pair_E = pair_E + histories.item_E[sells]
    clock = Clock(histories.moment_E[sells])
    sold = Index(pair_E, clock.rank(histories.moment_E[sells]), clock.span)
    end_S = moment_S + int(params.hold_days * DAY_US)
    count_S = sold.count(pair_S, clock.rank(end_S + 1)) - sold.count(pair_S, clock.rank(moment_S))
    begins = microsecond(split.validation_from)
    bounds = np.array([begins, microsecond(split.cut) + 1, microsecond(split.test_until) + 1])
    period_S = np.searchsorted(bounds, moment_S, side="right")
    ends_S = np.append(bounds, np.iinfo(np.int64).max)[period_S]
    first_sale = histories.moment_E[sells].min() if len(sells) else None
    has_sales = first_sale is not None and first_sale < bounds[0]
    return bought_S & (count_S == 0), has_sales & (~bought_S | (end_S < ends_S))


def ripe(slates: Slates, split: Split, params: HstuParams) -> tuple[Bools, Bools, Bools]:
    """Return which slates are for training, validation and test.

    A slate whose attribution window reaches out of its period belongs to none.
    """
    window = timedelta(days=params.window_days)
    moment_R = slates.moment_R
    begins, answered = microsecond(split.validation_from), microsecond(split.cut - window)
    learn_R = moment_R < microsecond(split.validation_from - window)
    check_R = (moment_R >= begins) & (moment_R <= answered)
    known = min(microsecond(split.test_until), int(moment_R.max(initial=0)))
    last = known - int(window.total_seconds() * 1e6)
    later_R = (moment_R > microsecond(split.cut)) & (moment_R <= last)
    return learn_R, check_R, later_R


def _facts(
    sources: Sources, histories: Histories, catalogue: Catalogue, code_IL: Ints, people: list[str]
) -> Facts:
    versions = sources.users.select("user_id", "valid_from", "risk_class").to_pyarrow()
    items = sources.items.select("item_id", "risk_class", "category").to_pyarrow()
    items = items.sort_by("item_id")
    category = pc.fill_null(items["category"].combine_chunks(), "").dictionary_encode()
    blank = np.asarray(category.dictionary.to_pylist()) == ""
    number_I = np.where(blank[category.indices.to_numpy()], NOBODY, category.indices.to_numpy())
    unborn = catalogue.from_V == np.iinfo(np.int64).min
    return Facts(
        user_E=histories.user_E,
        item_E=histories.item_E,
        action_E=histories.action_E,
        moment_E=histories.moment_E,
        user_U=rows_of(versions["user_id"], people),
        since_U=microseconds(versions["valid_from"]),
        risk_U=pc.fill_null(versions["risk_class"], 0).to_numpy(),
        risk_I=np.append(0, pc.fill_null(items["risk_class"], 0).to_numpy()),
        category_I=np.append(NOBODY, number_I),
        born_I=np.where(
            unborn | (catalogue.from_V == catalogue.from_V[0]), NOBODY, catalogue.from_V
        ),
        code_IL=code_IL,
        closes=read_closes(sources.prices, catalogue.vocabulary),
        edges=_edges(sources.edges, catalogue.vocabulary),
        trials=_trials(sources, catalogue.vocabulary, people),
        folder=histories.folder,
    )


def _trials(sources: Sources, vocabulary: list[str], people: list[str]) -> Trials:
    asked = sources.exposures.select("request_id", "user_id", "event_ts")
    found = sources.cate.inner_join(asked.distinct(on="request_id"), "request_id")
    rows = found.select("user_id", "event_ts", "item_id", "effect").to_pyarrow()
    return Trials(
        rows_of(rows["user_id"], people),
        microseconds(rows["event_ts"]),
        rows_of(rows["item_id"], vocabulary) + 1,
        rows["effect"].to_numpy(),
    )


def _edges(edges: Table, vocabulary: list[str]) -> dict[str, csr_matrix]:
    rows = edges.select("source_id", "target_id", "kind", "weight").to_pyarrow()
    source, target = (rows_of(rows[name], vocabulary) + 1 for name in ("source_id", "target_id"))
    kind, weight = np.asarray(rows["kind"].to_pylist()), rows["weight"].to_numpy()
    shape = (len(vocabulary) + 1, len(vocabulary) + 1)
    found = {}
    for wanted in EDGE_KINDS:
        is_wanted = (kind == wanted) & (source > 0) & (target > 0)
        entries = (weight[is_wanted], (source[is_wanted], target[is_wanted]))
        found[wanted] = csr_matrix(entries, shape=shape)
    return found
