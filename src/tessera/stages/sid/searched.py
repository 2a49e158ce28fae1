"""What people asked before they came to an item: queries that led to a click on it, and their mean.

Words are hashed (Weinberger et al. 2009), so that no codebook holds a word that somebody typed, and
an item to which few came is told nothing: its mean would be what one of them asked.

Legend: N items, Q queries, H hashed width.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from sklearn.feature_extraction import FeatureHasher

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.split import Split
from tessera.stages.sid.text import unit, words

WITHIN_MINUTES = 30
"""A click that no request led to came of the last query of its investor so long before it; ours,
near the 25.5 minutes that end a session on the web (Catledge and Pitkow 1995)."""
LEAST_INVESTORS = 3
"""An item is told what was asked if so many investors came to it by queries; ours."""
WIDTH = 128


@dataclass(frozen=True, slots=True)
class Searched:
    """Queries that led to a click, in order of their ids."""

    query_ids: list[str]
    text_Q: list[str]
    user_Q: Ints
    """Number of the investor."""
    led_NQ: sparse.csr_array
    """1 where a click on the item came of the query."""


def searched(queries: ir.Table, past: ir.Table, item_ids: list[str], split: Split) -> Searched:
    """Find the query behind each click; one that leads to no click that is known says nothing.

    A click comes of the query that its request answers, else of the last query of its investor
    within `WITHIN_MINUTES` before it; where times are but an order, of requests alone.  A query is
    never later than its click, so none is of the future if no event is.

    Parameters
    ----------
    queries, past : ir.Table
        All queries, and the events up to the cut.
    item_ids : list of str
        Sorted; other items are passed over.
    split : Split
        Says whether times can be trusted.
    """
    clicks = past.filter(past.action == "click").select(
        "event_id", "user_id", "item_id", at="event_ts", of_request="request_id"
    )
    asked = queries.select(
        "query_id", "text", by="user_id", asked_at="event_ts", answered="request_id"
    )
    pairs = _joined(clicks, asked, [clicks.of_request == asked.answered])
    if not split.ordinal:
        free = clicks.filter(clicks.of_request.isnull())
        since = free.at - ibis.interval(minutes=WITHIN_MINUTES)
        pairs = pairs.union(_joined(free, asked, [asked.asked_at >= since]))
    newest = ibis.window(
        group_by=pairs.event_id, order_by=[pairs.asked_at.desc(), pairs.query_id.desc()]
    )
    last = pairs.mutate(back=ibis.row_number().over(newest)).filter(ibis._.back == 0)
    rows = last.select("query_id", "by", "text", "item_id").distinct()
    return _numbered(rows.order_by("query_id", "item_id").to_pyarrow(), item_ids)


def _joined(clicks: ir.Table, asked: ir.Table, on: list[ir.BooleanValue]) -> ir.Table:
    same = [clicks.user_id == asked.by, asked.asked_at <= clicks.at]
    return clicks.inner_join(asked, [*same, *on]).select(
        "event_id", "item_id", "query_id", "by", "asked_at", "text"
    )


def _numbered(rows: pa.Table, item_ids: list[str]) -> Searched:
    rows = rows.filter(pc.is_in(rows["item_id"], pa.array(item_ids, pa.string())))
    ids, first, query = np.unique(
        rows["query_id"].to_numpy(), return_index=True, return_inverse=True
    )
    item = np.searchsorted(np.array(item_ids, dtype=object), rows["item_id"].to_numpy())
    user_Q = np.unique(rows["by"].to_numpy()[first], return_inverse=True)[1]
    led_NQ = sparse.csr_array((np.ones(len(item)), (item, query)), shape=(len(item_ids), len(ids)))
    text_Q = rows["text"].take(pa.array(first)).to_pylist()
    return Searched(ids.tolist(), text_Q, user_Q.astype(np.int64), led_NQ)


def mean_query(found: Searched) -> Float64s:
    """Mean vector [N, H] of the queries that led to each item; NaN where too few investors did."""
    users = int(found.user_Q.max(initial=-1)) + 1
    of_QU = sparse.csr_array(
        (np.ones(len(found.user_Q)), (np.arange(len(found.user_Q)), found.user_Q)),
        shape=(len(found.user_Q), users),
    )
    told_N = np.diff((found.led_NQ @ of_QU).tocsr().indptr) >= LEAST_INVESTORS
    mean_NH = np.full((found.led_NQ.shape[0], WIDTH), np.nan)
    led_MQ = found.led_NQ[told_N]
    mean_NH[told_N] = (led_MQ @ hashed(found.text_Q)) / led_MQ.sum(axis=1)[:, None]
    return mean_NH


def hashed(text_Q: list[str]) -> Float64s:
    """Hash the words of each text to a vector [Q, H] of length 1; zeros for one without words."""
    if not text_Q:
        return np.zeros((0, WIDTH))
    counts_QH = FeatureHasher(WIDTH, input_type="string").transform(map(words, text_Q))
    return unit(np.asarray(counts_QH.toarray(), dtype=np.float64))
