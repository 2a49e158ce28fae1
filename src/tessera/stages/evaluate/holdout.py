"""Who is tested on what: one protocol for every model, so that no table compares two protocols.

Learn from what was known at the cut; relevant is what an investor acquires in the test period and
never held before; only investors with a known event and a relevant item count; every item that can
be bought at the cut is a candidate, except to those who hold or held it.
Shapes: N test investors, U investors with a known event, I items, R relevant pairs.  Items are
numbered by popularity, then item_id, so that a tie in any score goes to the more popular item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split, known, test
from tessera.shared.features.demand import CLASS_COLUMNS, Acquired, Sale, item_classes
from tessera.stages.evaluate.pairs import (
    among,
    fetch,
    index_of,
    matrix_of,
    moment,
    moments,
    numbered,
)
from tessera.stages.evaluate.params import EvaluateParams

_TICK = timedelta(microseconds=1)


class NobodyToTest(BadInput):
    """Nobody known at a cut acquires anything new later."""


@dataclass(frozen=True, slots=True)
class Dated:
    """What is known of times at a cut that is the same for everybody."""

    acquired: Acquired
    """First acquisitions before the cut, by rows of `acquired_UI` and item numbers."""
    sale: Sale
    now_us: int
    """The cut, microseconds since 1970."""
    before: Holdout | None = None
    """The same asked when validation began, of validation; None if nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """What is known at a cut and what came after it."""

    item_ids: pa.Array
    """Items in order of popularity."""
    user_ids: pa.Array
    """Test investors, sorted."""
    acquired_UI: csr_matrix
    """1 where an investor acquired an item before the cut."""
    row_N: Ints
    """Row of each test investor in `acquired_UI`, which holds everybody with a known event."""
    recent_I: Ints
    """Investors who acquired the item shortly before the cut."""
    held_NI: csr_matrix
    """1 where a test investor holds or held an item: never recommended, never relevant."""
    relevant_user_R: Ints
    relevant_item_R: Ints
    candidate_I: Bools
    """What may be listed: it can be bought at the cut."""
    cold_I: Bools
    """Never acquired before the cut, or offered only since shortly before it."""
    future_I: Bools
    """First offered after the cut; none if each investor has another cut."""
    known_events_N: Ints
    """Events of each test investor before the cut."""
    dated: Dated | None = None
    """None if each investor has another cut."""

    @property
    def holders_I(self) -> Ints:
        """Investors who acquired each item before the cut."""
        return np.bincount(self.acquired_UI.indices, minlength=len(self.item_ids))

    def relevant_N(self, kept_I: Bools | None = None) -> Ints:
        """Count the relevant items of each test investor, among `kept_I` if given."""
        user_R = self.relevant_user_R
        if kept_I is not None:
            user_R = user_R[kept_I[self.relevant_item_R]]
        return np.bincount(user_R, minlength=len(self.user_ids))


Scorer = Callable[[Ints], Float64s]
"""Numbers of C test investors -> CI scores."""
Baseline = Callable[[Holdout, EvaluateParams], Scorer]


def acquisitions(events: ibis.Table, params: EvaluateParams) -> ibis.Table:
    """Keep events that acquire an item."""
    liked = (events.action != "rate") | (events.units.fill_null(np.inf) >= params.least_rating)
    return events.filter(events.action.isin(params.relevant_actions) & liked)


def _by_popularity(items: pa.Table, acquired: pa.Table) -> pa.Table:
    """Sort items: most investors first, then item_id."""
    ids = items["item_id"].combine_chunks()
    holders_I = np.bincount(index_of(acquired["item_id"], ids) + 1, minlength=len(ids) + 1)[1:]
    return items.take(np.argsort(-holders_I, kind="stable"))


def _on_sale(items: pa.Table, split: Split, future_too: bool) -> Bools:
    """Tell which items can be bought at the cut; all of them if each investor has another cut."""
    if split.protocol == "leave_last_out":
        return np.ones(len(items), dtype=np.bool_)
    # NaT compares false, which stands for "without end".
    gone_I = moments(items["valid_to"]) <= moment(split.cut)
    return ~gone_I if future_too else ~gone_I & ~_future(items, split)


def _future(items: pa.Table, split: Split) -> Bools:
    """Tell which items are first offered after the cut; none if each investor has another cut."""
    if split.protocol == "leave_last_out":
        return np.zeros(len(items), dtype=np.bool_)
    # NaT compares false, which stands for "since ever".
    return moments(items["valid_from"]) > moment(split.cut)


def _young(items: pa.Table, split: Split, days: int) -> Bools:
    """Tell which items are offered only since shortly before the cut."""
    if split.ordinal:
        return np.zeros(len(items), dtype=np.bool_)
    return moments(items["valid_from"]) > moment(split.cut - timedelta(days=days))


def _recent(past: ibis.Table, item_ids: pa.Array, split: Split, days: int) -> Ints:
    """Count investors who acquired each item shortly before the cut."""
    late = past.filter(past.event_ts > split.cut - timedelta(days=days))
    counts = late.group_by("item_id").agg(users=late.user_id.nunique()).to_pyarrow()
    number_C = index_of(counts["item_id"], item_ids)
    recent_I = np.zeros(len(item_ids) + 1, dtype=np.int64)
    recent_I[number_C] = np.asarray(counts["users"], dtype=np.int64)
    return recent_I[:-1]


def build_holdout(
    events: ibis.Table, items: ibis.Table, split: Split, params: EvaluateParams
) -> Holdout:
    """Split events at the cut and find the test investors with their relevant items.

    Raises
    ------
    NobodyToTest
        If nobody known at the cut acquires anything new later.
    """
    holdout = _at_cut(events, items, split, params)
    if holdout.dated is None:
        return holdout
    begun = split.validation_from - _TICK
    earlier = replace(split, validation_from=begun, cut=begun, test_until=split.cut)
    try:
        before = _at_cut(events, items, earlier, params)
    except BadInput:
        return holdout
    return replace(holdout, dated=replace(holdout.dated, before=before))


def sample(holdout: Holdout, most: int) -> Holdout:
    """Return the same asked of at most so many of the test investors, evenly spaced."""
    count = len(holdout.user_ids)
    if count <= most:
        return holdout
    kept = np.linspace(0, count - 1, most).astype(np.int64)
    place_N = np.full(count, -1, dtype=np.int64)
    place_N[kept] = np.arange(most)
    user_R = place_N[holdout.relevant_user_R]
    return replace(
        holdout,
        user_ids=holdout.user_ids.take(kept),
        row_N=holdout.row_N[kept],
        held_NI=holdout.held_NI[kept],
        relevant_user_R=user_R[user_R >= 0],
        relevant_item_R=holdout.relevant_item_R[user_R >= 0],
        known_events_N=holdout.known_events_N[kept],
    )


def _dated(acquired: pa.Table, users: pa.Array, catalogue: pa.Table, split: Split) -> Dated | None:
    """Return first acquisitions and sales by number; None if each investor has another cut."""
    if split.protocol == "leave_last_out" or split.ordinal:
        return None
    ids = catalogue["item_id"].combine_chunks()
    user_R, item_R, good_R = numbered(acquired, users, ids)
    moment_R = moments(acquired["event_ts"]).astype(np.int64)
    # NaT is the smallest number, which stands for "since ever".
    since_I = moments(catalogue["valid_from"]).astype(np.int64)
    return Dated(
        Acquired(user_R[good_R], item_R[good_R], moment_R[good_R]),
        Sale(since_I, item_classes(catalogue)),
        int(moment(split.cut).astype(np.int64)),
    )


def _at_cut(events: ibis.Table, items: ibis.Table, split: Split, params: EvaluateParams) -> Holdout:
    known_events, pair = known(events, split), ("user_id", "item_id")
    past = acquisitions(known_events, params)
    acquired = fetch(past.group_by(pair).agg(event_ts=ibis._.event_ts.min()), *pair)
    sold = known_events.filter(known_events.action == "sell").select(*pair)
    held = fetch(past.select(*pair).union(sold, distinct=True), *pair)
    wanted = fetch(acquisitions(test(events, split), params).select(*pair).distinct(), *pair)
    activity = fetch(known_events.group_by("user_id").agg(events=ibis._.count()), "user_id")
    told = ("item_id", "valid_from", "valid_to", *(n for n in CLASS_COLUMNS if n in items))
    catalogue = _by_popularity(fetch(items.select(*told), "item_id"), acquired)
    ids, candidate_I = (
        catalogue["item_id"].combine_chunks(),
        _on_sale(catalogue, split, params.future_items),
    )

    active = activity["user_id"].combine_chunks()
    user_R, item_R, good_R = numbered(wanted, active, ids)
    good_R &= candidate_I[item_R]
    good_R &= ~among(user_R, item_R, matrix_of(held, active, ids))
    tested_N, relevant_user_R = np.unique(user_R[good_R], return_inverse=True)
    if len(tested_N) == 0:
        message = "nobody known at the cut acquires anything new later; choose an earlier cut"
        raise NobodyToTest(message)
    users = active.take(tested_N)
    acquired_UI = matrix_of(acquired, active, ids)
    holders_I = np.bincount(acquired_UI.indices, minlength=len(ids))
    return Holdout(
        item_ids=ids,
        user_ids=users,
        acquired_UI=acquired_UI,
        row_N=tested_N,
        recent_I=_recent(past, ids, split, params.recent_days),
        held_NI=matrix_of(held, users, ids),
        relevant_user_R=relevant_user_R,
        relevant_item_R=item_R[good_R],
        candidate_I=candidate_I,
        cold_I=(holders_I == 0) | _young(catalogue, split, params.cold_days),
        future_I=_future(catalogue, split),
        known_events_N=np.asarray(activity["events"], dtype=np.int64)[tested_N],
        dated=_dated(acquired, active, catalogue, split),
    )


def read_lists(lists: ibis.Table, holdout: Holdout, depth: int) -> dict[str, Ints]:
    """Read the lists of each model, without items held, gone or unknown.

    Returns
    -------
    dict of str to Ints
        Model name to NK item numbers, -1 where a list is shorter; an investor without a list has
        an empty one.
    """
    rows = fetch(lists.select("model", "user_id", "rank", "item_id"), "model", "user_id", "rank")
    user_R, item_R, good_R = numbered(rows, holdout.user_ids, holdout.item_ids)
    good_R &= holdout.candidate_I[item_R]
    good_R &= ~among(user_R, item_R, holdout.held_NI)
    model_R = np.asarray(rows["model"].combine_chunks().dictionary_encode().indices)
    names: Sequence[str] = rows["model"].combine_chunks().dictionary_encode().dictionary.to_pylist()
    tops = {}
    for number, name in enumerate(names):
        chosen_R = good_R & (model_R == number)
        tops[name] = _fill(user_R[chosen_R], item_R[chosen_R], len(holdout.user_ids), depth)
    return tops


def _fill(user_R: Ints, item_R: Ints, users: int, depth: int) -> Ints:
    """Lay sorted (user, item) rows out as lists of `depth`, -1 behind the end."""
    order_R = np.argsort(user_R, kind="stable")
    user_R, item_R = user_R[order_R], item_R[order_R]
    first_N = np.searchsorted(user_R, np.arange(users))
    rank_R = np.arange(len(user_R)) - first_N[user_R]
    top_NK = np.full((users, depth), -1, dtype=np.int64)
    kept_R = rank_R < depth
    top_NK[user_R[kept_R], rank_R[kept_R]] = item_R[kept_R]
    return top_NK
