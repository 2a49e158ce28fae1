"""Where edges come from: what investors did, what causes what, what is declared.

Legend: A first acquisitions, U investors, I items, S steps (distinct times of one investor).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split, known
from tessera.contracts.tables import DECLARED_COLUMNS, LINK, POSITIVE
from tessera.stages.graph.params import GraphParams


@dataclass(frozen=True, slots=True)
class Acquisitions:
    """First acquisition of each item by each investor, sorted by investor, time, item."""

    user_A: NDArray[np.int64]
    item_A: NDArray[np.int64]
    ts_A: NDArray[np.int64]
    decay_A: NDArray[np.float64]
    """Weight by age, 1 at the cut."""
    n_items: int


@dataclass(frozen=True, slots=True)
class Links:
    """Directed edges between items."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]
    support: NDArray[np.int64]
    false_sign: NDArray[np.float64]
    """Probability that the sign of a causal edge is wrong; NaN for other kinds."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """Bounds of 95 % of the difference in probability of a causal edge; NaN for other kinds."""


def first_acquisitions(
    events: ibis.Table, item_ids: NDArray[np.object_], split: Split, params: GraphParams
) -> Acquisitions:
    """Read first acquisitions up to the cut, of the items in the catalogue (sorted ids)."""
    past = known(events, split)
    proper = past.filter(past.action.isin(params.acquired))
    if proper.count().execute() == 0:
        proper = past.filter(past.action.isin(POSITIVE))
    liked = proper.units.fill_null(params.least_rating) >= params.least_rating
    first = (
        proper.filter((proper.action != "rate") | liked)
        .group_by("user_id", "item_id")
        .aggregate(event_ts=lambda t: t.event_ts.min())
        .order_by("user_id", "event_ts", "item_id")
        .to_pyarrow()
    )
    first = first.filter(pc.is_in(first["item_id"], pa.array(item_ids, pa.string())))
    ts_A = np.asarray(first["event_ts"].cast(pa.int64()).to_numpy(), dtype=np.int64)
    return Acquisitions(
        user_A=np.unique(first["user_id"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        item_A=np.searchsorted(item_ids, first["item_id"].to_numpy()).astype(np.int64),
        ts_A=ts_A,
        decay_A=_decay(ts_A, split, params.half_life_days),
        n_items=len(item_ids),
    )


def _decay(ts_A: NDArray[np.int64], split: Split, half_life_days: float) -> NDArray[np.float64]:
    if split.ordinal:
        return np.ones(len(ts_A))
    age_A = (split.cut.timestamp() * 1e6 - ts_A) / DAY_US
    return np.asarray(0.5 ** (age_A / half_life_days), dtype=np.float64)


def co_acquired(past: Acquisitions, params: GraphParams) -> Links:
    """Cosine of the two items' decayed investor vectors."""
    cosine_UI = directions(past)
    once_UI = _once(cosine_UI)
    return _heaviest(cosine_UI.T @ cosine_UI, once_UI.T @ once_UI, params)


def directions(past: Acquisitions) -> sparse.csr_array:
    """Return the decayed investor vector of each item, of length 1, as [U, I]."""
    shape = (int(past.user_A.max(initial=-1)) + 1, past.n_items)
    decayed_UI = sparse.csr_array((past.decay_A, (past.user_A, past.item_A)), shape=shape)
    norm_I = np.sqrt((decayed_UI**2).sum(axis=0))
    scale_I = np.divide(1.0, norm_I, out=np.zeros_like(norm_I), where=norm_I > 0)
    return decayed_UI @ sparse.diags_array(scale_I)


def transitions(past: Acquisitions, params: GraphParams) -> Links:
    """Probability that the next thing acquired after `source` is `target`.

    What an investor acquires at one time is a set: every member leads to every member of the next
    set, and the two sets share one unit of weight.
    """
    source_SI, target_SI = steps(past)
    flow_II = source_SI.T @ target_SI
    out_I = flow_II.sum(axis=1)
    scale_I = np.divide(1.0, out_I, out=np.zeros_like(out_I), where=out_I > 0)
    investors_II = _once(source_SI).T @ _once(target_SI)
    return _heaviest(sparse.diags_array(scale_I) @ flow_II, investors_II, params)


def steps(past: Acquisitions) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return each step but an investor's last, and the step behind it, as [S, I] both.

    Members of a step share one unit of weight; what leads on is weighted by the age of where.
    """
    if len(past.user_A) == 0:
        return (sparse.csr_array((0, past.n_items)),) * 2
    new_A = np.r_[True, (np.diff(past.user_A) != 0) | (np.diff(past.ts_A) != 0)]
    step_A = np.cumsum(new_A) - 1
    user_S, decay_S = past.user_A[new_A], past.decay_A[new_A]
    share_A = 1.0 / np.bincount(step_A)[step_A]
    shape = (len(user_S), past.n_items)
    share_SI = sparse.csr_array((share_A, (step_A, past.item_A)), shape=shape)
    last_S = np.flatnonzero(user_S[:-1] == user_S[1:])
    source_IS = share_SI[last_S].T @ sparse.diags_array(decay_S[last_S + 1])
    return source_IS.T, share_SI[last_S + 1]


def _once(matrix_RI: sparse.csr_array) -> sparse.csr_array:
    once_RI = matrix_RI.copy()
    once_RI.data = np.ones_like(once_RI.data)
    return once_RI


def causal(effects: ibis.Table, item_ids: NDArray[np.object_], params: GraphParams) -> Links:
    """Effects clear of their standard error, divided by the largest; the sign is kept."""
    rows = effects.order_by("cause_id", "effect_id").to_pyarrow()
    known_ids = pa.array(item_ids, pa.string())
    inside = pc.and_(pc.is_in(rows["cause_id"], known_ids), pc.is_in(rows["effect_id"], known_ids))
    rows = rows.filter(inside)
    effect, stderr = rows["effect"].to_numpy(), rows["stderr"].to_numpy()
    clear = (np.abs(effect) > params.least_z * stderr) & (effect != 0)
    source = np.searchsorted(item_ids, rows["cause_id"].to_numpy())[clear]
    target = np.searchsorted(item_ids, rows["effect_id"].to_numpy())[clear]
    weight = effect[clear] / np.abs(effect[clear]).max(initial=1e-300)
    support, *told = (
        rows[name].to_numpy()[clear] for name in ("support", "false_sign_rate", "low", "high")
    )
    links = Links(source, target, weight, support, *told)
    return _top(links, params.neighbours)


def declared(items: ibis.Table) -> list[tuple[str, str, str, float]]:
    """(item, target, kind, weight) of every declared link; the rarer the value, the heavier."""
    rows = items.select("item_id", *DECLARED_COLUMNS).order_by("item_id").to_pyarrow().to_pydict()
    links = []
    for kind in DECLARED_COLUMNS:
        size: dict[str, int] = {}
        for value in rows[kind]:
            size[value] = size.get(value, 0) + 1
        links += [
            (item, f"{kind}:{value}", kind, 1.0 / size[value])
            for item, value in zip(rows["item_id"], rows[kind], strict=True)
            if value is not None
        ]
    return links


def linked(
    links: ibis.Table, item_ids: NDArray[np.object_], split: Split
) -> list[tuple[str, str, str, float]]:
    """Return the same of the table of links, as known at the cut, of items in the catalogue.

    Items i and j of country x give (i, country:x, link, 1/2) and (j, country:x, link, 1/2).  A
    colon of a relation is written as in an address (%3A), so that no two links are called alike.
    """
    known_links = links.filter(links.valid_from.isnull() | (links.valid_from <= split.cut))
    inside = known_links.filter(known_links.item_id.isin(item_ids.tolist()))
    relation = inside.relation.replace("%", "%25").replace(":", "%3A")
    target = relation + ":" + inside.target_id
    rows = inside.select("item_id", target=target).distinct()
    rows = rows.mutate(weight=1.0 / rows.count().over(ibis.window(group_by=rows.target)))
    told = rows.order_by("item_id", "target").to_pyarrow().to_pydict()
    return [
        (item, target, LINK, weight)
        for item, target, weight in zip(
            told["item_id"], told["target"], told["weight"], strict=True
        )
    ]


def _heaviest(
    weight_II: sparse.csr_array, support_II: sparse.csr_array, params: GraphParams
) -> Links:
    """Keep the heaviest supported edges of each source; loops are no edges."""
    support = support_II.tocoo()
    enough = (support.data >= params.least_support) & (support.row != support.col)
    source, target = support.row[enough].astype(np.int64), support.col[enough].astype(np.int64)
    weight = weight_II.tocoo()
    key = weight.row.astype(np.int64) * weight.shape[1] + weight.col
    order = np.argsort(key)
    place = order[np.searchsorted(key, source * weight.shape[1] + target, sorter=order)]
    investors = np.rint(support.data[enough]).astype(np.int64)
    none = np.full(len(source), np.nan)
    links = Links(source, target, weight.data[place], investors, none, none, none)
    return _top(links, params.neighbours)


def _top(links: Links, limit: int) -> Links:
    """Keep the `limit` edges of largest |weight| of each source, ties by target; sorted."""
    order = np.lexsort((links.target, -np.abs(links.weight), links.source))
    source = links.source[order]
    rank = np.arange(len(source)) - np.searchsorted(source, source)
    kept = order[rank < limit]
    kept = kept[np.lexsort((links.target[kept], links.source[kept]))]
    return Links(*(getattr(links, field.name)[kept] for field in fields(Links)))
