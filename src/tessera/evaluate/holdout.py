"""Who is tested on what: one protocol for every model, so that no table compares two protocols.

Learn from what was known at the cut; relevant is what an investor acquires in the test period and
never held before; only investors with a known event and a relevant item count; every item that can
be bought at the cut is a candidate, except to those who hold or held it.
Shapes: N test investors, U investors with a known event, I items, R relevant pairs.  Items are
numbered by popularity, then item_id, so that a tie in any score goes to the more popular item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split, known, test
from tessera.evaluate.params import EvaluateParams

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
    unborn_I: Bools
    """First offered after the cut; none if each investor has another cut."""
    known_events_N: Ints
    """Events of each test investor before the cut."""

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


def acquisitions(events: ibis.Table, params: EvaluateParams) -> ibis.Table:
    """Keep events that acquire an item."""
    liked = (events.action != "rate") | (events.units.fill_null(np.inf) >= params.least_rating)
    return events.filter(events.action.isin(params.relevant_actions) & liked)


def _arrow(rows: ibis.Table, *columns: str) -> pa.Table:
    """Fetch rows in a fixed order."""
    return rows.order_by(list(columns)).to_pyarrow()


def _number(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Ints:
    """Find the position of each value in `among`, -1 if absent."""
    found = pc.index_in(values, value_set=among).fill_null(-1)
    return np.asarray(found, dtype=np.int64)


def _pairs(rows: pa.Table, users: pa.Array, items: pa.Array) -> tuple[Ints, Ints, Bools]:
    """Return numbers of users and items of each row, and whether both are known."""
    user_R, item_R = _number(rows["user_id"], users), _number(rows["item_id"], items)
    return user_R, item_R, (user_R >= 0) & (item_R >= 0)


def _matrix(rows: pa.Table, users: pa.Array, items: pa.Array) -> csr_matrix:
    """1 for each (user, item) pair of the rows; pairs of unknown users or items are dropped."""
    user_R, item_R, good_R = _pairs(rows, users, items)
    ones_R = np.ones(int(good_R.sum()))
    shape = (len(users), len(items))
    return csr_matrix((ones_R, (user_R[good_R], item_R[good_R])), shape=shape)


def _among(user_R: Ints, item_R: Ints, matrix: csr_matrix) -> Bools:
    """Tell which (user, item) pairs stand in the matrix."""
    width, there = matrix.shape[1], matrix.tocoo()
    return np.isin(user_R * width + item_R, there.row.astype(np.int64) * width + there.col)


def _moments(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Return times as microseconds UTC, NaT where null."""
    return np.asarray(column.cast(pa.timestamp("us")), dtype="datetime64[us]")


def _moment(when: datetime) -> np.datetime64:
    """Return one time as microseconds UTC."""
    return np.datetime64(when.replace(tzinfo=None), "us")


def _by_popularity(items: pa.Table, acquired: pa.Table) -> pa.Table:
    """Sort items: most investors first, then item_id."""
    ids = items["item_id"].combine_chunks()
    holders_I = np.bincount(_number(acquired["item_id"], ids) + 1, minlength=len(ids) + 1)[1:]
    return items.take(np.argsort(-holders_I, kind="stable"))


def _on_sale(items: pa.Table, split: Split, unborn_too: bool) -> Bools:
    """Tell which items can be bought at the cut; all of them if each investor has another cut."""
    if split.protocol == "leave_last_out":
        return np.ones(len(items), dtype=np.bool_)
    # NaT compares false, which stands for "without end".
    gone_I = _moments(items["valid_to"]) <= _moment(split.cut)
    return ~gone_I if unborn_too else ~gone_I & ~_unborn(items, split)


def _unborn(items: pa.Table, split: Split) -> Bools:
    """Tell which items are first offered after the cut; none if each investor has another cut."""
    if split.protocol == "leave_last_out":
        return np.zeros(len(items), dtype=np.bool_)
    # NaT compares false, which stands for "since ever".
    return _moments(items["valid_from"]) > _moment(split.cut)


def _young(items: pa.Table, split: Split, days: int) -> Bools:
    """Tell which items are offered only since shortly before the cut."""
    if split.ordinal:
        return np.zeros(len(items), dtype=np.bool_)
    return _moments(items["valid_from"]) > _moment(split.cut - timedelta(days=days))


def _recent(past: ibis.Table, item_ids: pa.Array, split: Split, days: int) -> Ints:
    """Count investors who acquired each item shortly before the cut."""
    late = past.filter(past.event_ts > split.cut - timedelta(days=days))
    counts = late.group_by("item_id").agg(users=late.user_id.nunique()).to_pyarrow()
    number_C = _number(counts["item_id"], item_ids)
    recent_I = np.zeros(len(item_ids) + 1, dtype=np.int64)
    recent_I[number_C] = np.asarray(counts["users"], dtype=np.int64)
    return recent_I[:-1]


def build_holdout(
    events: ibis.Table, items: ibis.Table, split: Split, params: EvaluateParams
) -> Holdout:
    """Split events at the cut and find the test investors with their relevant items."""
    known_events, pair = known(events, split), ("user_id", "item_id")
    past = acquisitions(known_events, params)
    acquired = _arrow(past.select(*pair).distinct(), *pair)
    sold = known_events.filter(known_events.action == "sell").select(*pair)
    held = _arrow(past.select(*pair).union(sold, distinct=True), *pair)
    wanted = _arrow(acquisitions(test(events, split), params).select(*pair).distinct(), *pair)
    activity = _arrow(known_events.group_by("user_id").agg(events=ibis._.count()), "user_id")
    catalogue = _by_popularity(
        _arrow(items.select("item_id", "valid_from", "valid_to"), "item_id"), acquired
    )
    ids, candidate_I = (
        catalogue["item_id"].combine_chunks(),
        _on_sale(catalogue, split, params.unborn_items),
    )

    active = activity["user_id"].combine_chunks()
    user_R, item_R, good_R = _pairs(wanted, active, ids)
    good_R &= candidate_I[item_R]
    good_R &= ~_among(user_R, item_R, _matrix(held, active, ids))
    tested_N, relevant_user_R = np.unique(user_R[good_R], return_inverse=True)
    if len(tested_N) == 0:
        message = "nobody known at the cut acquires anything new later; choose an earlier cut"
        raise BadInput(message)
    users = active.take(tested_N)
    acquired_UI = _matrix(acquired, active, ids)
    holders_I = np.bincount(acquired_UI.indices, minlength=len(ids))
    return Holdout(
        item_ids=ids,
        user_ids=users,
        acquired_UI=acquired_UI,
        row_N=tested_N,
        recent_I=_recent(past, ids, split, params.recent_days),
        held_NI=_matrix(held, users, ids),
        relevant_user_R=relevant_user_R,
        relevant_item_R=item_R[good_R],
        candidate_I=candidate_I,
        cold_I=(holders_I == 0) | _young(catalogue, split, params.cold_days),
        unborn_I=_unborn(catalogue, split),
        known_events_N=np.asarray(activity["events"], dtype=np.int64)[tested_N],
    )


def read_lists(lists: ibis.Table, holdout: Holdout, depth: int) -> dict[str, Ints]:
    """Read the lists of each model, without items held, gone or unknown.

    Returns
    -------
    dict of str to Ints
        Model name to NK item numbers, -1 where a list is shorter; an investor without a list has
        an empty one.
    """
    rows = _arrow(lists.select("model", "user_id", "rank", "item_id"), "model", "user_id", "rank")
    user_R, item_R, good_R = _pairs(rows, holdout.user_ids, holdout.item_ids)
    good_R &= holdout.candidate_I[item_R]
    good_R &= ~_among(user_R, item_R, holdout.held_NI)
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
