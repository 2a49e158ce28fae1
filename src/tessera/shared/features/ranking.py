"""What is known of an investor and a candidate item at a request, for ranking and serving alike.

Every count, price and version is strictly older than the request (`stretches`), whatever else the
arrays hold.  Edges, codes and effects are snapshots that the graph, the quantizer and uplift took
at the cut: on requests before it they are what a weight is, something learnt from the whole
training period.
An unknown value is NaN beside a missing flag, never filled in.

Shapes: E events, U versions of investors, I items with 0 for unknown, R requests, M candidates of
each, Q of all, H held items, L code levels, F features.  Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import ACTIONS
from tessera.shared.features import prices
from tessera.shared.features.facts import BOUGHT, NOBODY, Facts, Queries
from tessera.shared.features.prices import price_features, volatility

RECENT_DAYS = 30
"""Popularity counts what happened this recently."""
MOST_HELD = 10
"""Most recent purchases that are looked up in the graph."""
LINKS = ("co_acquired", "transition")
"""Item-item edges that say what goes together."""
EDGE_KINDS = (*LINKS, "causal")
"""All item-item edges."""
LIKED = tuple(ACTIONS.index(action) for action in ("view", "click", "buy", "rate"))
_CLICK, _DISMISS = ACTIONS.index("click"), ACTIONS.index("dismiss")


_COUNTED: dict[str, tuple[int, ...]] = {
    "bought": BOUGHT,
    "clicked": (_CLICK,),
    "dismissed": (_DISMISS,),
}


Columns = dict[str, NDArray[np.generic]]


def _log_days(span_us: Ints, missing: NDArray[np.bool_]) -> Float64s:
    return np.where(missing, np.nan, np.log1p(np.maximum(span_us, 0) / DAY_US))


def user_columns(facts: Facts, asked: Queries) -> Columns:
    """Risk class as of the request, tenure, time since the last event, and events so far."""
    by_user, now_R = facts.by_user(), facts.clock.rank(asked.moment_R)
    first_R, stop_R = by_user.stretch(asked.user_R, now_R)
    new_R = stop_R == first_R
    begin_R, last_R = np.zeros_like(first_R), np.zeros_like(first_R)
    begin_R[~new_R] = facts.moment_E[by_user.order_E[first_R[~new_R]]]
    last_R[~new_R] = facts.moment_E[by_user.order_E[stop_R[~new_R] - 1]]
    found = {
        "user_risk": _risk_as_of(facts, asked),
        "user_tenure": _log_days(asked.moment_R - begin_R, new_R),
        "user_recency": _log_days(asked.moment_R - last_R, new_R),
        "user_missing": new_R,
    }
    for number, action in enumerate(ACTIONS):
        so_far_R = facts.by_user((number,)).count(asked.user_R, now_R)
        found[f"user_{action}s"] = np.log1p(so_far_R)
    return {name: value_R[asked.request_Q] for name, value_R in found.items()}


def _risk_as_of(facts: Facts, asked: Queries) -> Float64s:
    """Risk class of the last version at or before the request; NaN if there is none."""
    found_R = facts.risk_as_of(asked.user_R, asked.moment_R)
    return np.where(found_R > 0, found_R, np.nan)


def item_columns(facts: Facts, asked: Queries) -> Columns:
    """Risk, age, recent popularity of the item, and how often its category was liked."""
    item_Q, moment_Q = asked.item_Q, asked.moment_Q
    born_Q = facts.born_I[item_Q]
    risk_Q = np.where(facts.risk_I[item_Q] > 0, facts.risk_I[item_Q], np.nan).astype(float)
    found: Columns = {
        "item_risk": risk_Q,
        "item_risk_gap": risk_Q - _risk_as_of(facts, asked)[asked.request_Q],
        "item_age": _log_days(moment_Q - born_Q, born_Q == NOBODY),
        "item_age_missing": born_Q == NOBODY,
    }
    now_Q = facts.clock.rank(asked.moment_R)[asked.request_Q]
    lately_R = facts.clock.rank(asked.moment_R - RECENT_DAYS * DAY_US)
    for name, actions in _COUNTED.items():
        index = facts.index("item", facts.item_E.__getitem__, actions)
        count_Q = index.count(item_Q, now_Q)
        recent_Q = count_Q - index.count(item_Q, lately_R[asked.request_Q])
        found |= {f"item_{name}": np.log1p(count_Q), f"item_{name}_recent": np.log1p(recent_Q)}
    for name, judged in {"liked": LIKED, "dismissed": (_DISMISS,)}.items():
        share_Q, _ = _share(facts, asked, "category", facts.category_I, judged)
        found[f"category_{name}"] = share_Q
    return found


def _share(
    facts: Facts, asked: Queries, name: str, label_I: Ints, actions: tuple[int, ...]
) -> tuple[Float64s, Ints]:
    """Return share and number of the investor's events whose item has the candidate's label."""
    labels = int(label_I.max(initial=0)) + 2
    label_Q, now_R = label_I[asked.item_Q], facts.clock.rank(asked.moment_R)
    known_Q = (asked.user_Q != NOBODY) & (label_Q != NOBODY) & (asked.item_Q > 0)
    group_Q = np.where(known_Q, asked.user_Q * labels + label_Q + 1, NOBODY)

    def group(rows: Ints) -> Ints:
        return np.asarray(facts.user_E[rows] * labels + label_I[facts.item_E[rows]] + 1)

    index = facts.index(name, group, actions)
    count_Q = index.count(group_Q, now_R[asked.request_Q])
    all_R = facts.by_user(actions).count(asked.user_R, now_R)
    return count_Q / np.maximum(all_R, 1)[asked.request_Q], count_Q


def pair_columns(facts: Facts, asked: Queries) -> Columns:
    """Count what this investor did with this very item before."""
    items = len(facts.risk_I)
    known_Q = (asked.user_Q != NOBODY) & (asked.item_Q > 0)
    pair_Q = np.where(known_Q, asked.user_Q * items + asked.item_Q, NOBODY)
    now_Q = facts.clock.rank(asked.moment_R)[asked.request_Q]
    found: Columns = {}

    def pair(rows: Ints) -> Ints:
        return np.asarray(facts.user_E[rows] * items + facts.item_E[rows])

    for number, action in enumerate(ACTIONS):
        index = facts.index("pair", pair, (number,))
        found[f"pair_{action}s"] = np.log1p(index.count(pair_Q, now_Q))
    return found


def price_columns(facts: Facts, asked: Queries) -> Columns:
    """Momentum and volatility of the item up to the day before the request."""
    day_Q = asked.moment_Q // DAY_US
    found_QF = price_features(facts.closes, asked.item_Q, day_Q)
    volatility_Q = volatility(facts.closes, asked.item_Q, day_Q)
    return {
        **dict(zip(prices.NAMES, found_QF.T, strict=True)),
        "volatility": volatility_Q,
        "volatility_missing": np.isnan(volatility_Q),
    }


def graph_columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what the investor holds, and how it is linked with the candidate."""
    held_QH = _held_of_candidates(facts, asked)
    count_Q = (held_QH > 0).sum(axis=1)
    found: Columns = {"held": np.log1p(count_Q), "held_missing": count_Q == 0}
    for kind in LINKS:
        found |= _edge_columns(facts, kind, held_QH, asked.item_Q)
    return found


def causal_columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what holding its items adds to the investor's chance of buying the candidate."""
    return _edge_columns(facts, "causal", _held_of_candidates(facts, asked), asked.item_Q)


def _held_of_candidates(facts: Facts, asked: Queries) -> Ints:
    return held(facts, asked.user_R, asked.moment_R)[asked.request_Q]


def _edge_columns(facts: Facts, kind: str, held_QH: Ints, item_Q: Ints) -> Columns:
    """Return the largest edge weight from a held item to the candidate, and their sum."""
    item_QH = np.broadcast_to(item_Q[:, None], held_QH.shape)
    weight_QH = np.asarray(facts.edges[kind][held_QH.ravel(), item_QH.ravel()])
    weight_QH = weight_QH.reshape(held_QH.shape)
    return {f"{kind}_best": weight_QH.max(axis=1), f"{kind}_sum": weight_QH.sum(axis=1)}


def held(facts: Facts, user_R: Ints, moment_R: Ints) -> Ints:
    """Return held_RH: the most recent purchases not sold again before the request, else 0."""
    index, buys = facts.by_user(BOUGHT), facts.rows(*BOUGHT)
    first_R, stop_R = index.stretch(user_R, facts.clock.rank(moment_R))
    at_RH = stop_R[:, None] - 1 - np.arange(MOST_HELD)
    real_RH = at_RH >= first_R[:, None]
    if not len(buys):
        return np.zeros(at_RH.shape, np.int64)
    row_RH = index.order_E[np.where(real_RH, at_RH, 0)]
    real_RH &= facts.sold_B[row_RH] >= moment_R[:, None]
    return np.where(real_RH, facts.item_E[buys[row_RH]], 0)


def sid_columns(facts: Facts, asked: Queries) -> Columns:
    """Share of the liked items that begin with the candidate's code, level by level."""
    found: Columns = {}
    for level, prefix_I in enumerate(facts.prefixes, start=1):
        share_Q, count_Q = _share(facts, asked, f"prefix {level}", prefix_I, LIKED)
        found |= {f"sid_{level}": share_Q, f"sid_{level}_count": np.log1p(count_Q)}
    return found


def cate_columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what showing changes: mean effect of the item, and for investors of this risk class."""
    mean_I, mean_IC = facts.effects
    class_Q = facts.risk_as_of(asked.user_R, asked.moment_R)[asked.request_Q]
    item_Q = asked.item_Q
    return {
        "cate_item": mean_I[item_Q],
        "cate_item_risk": mean_IC[item_Q, class_Q],
        "cate_missing": np.isnan(mean_I[item_Q]),
    }


GROUPS: dict[str, Callable[[Facts, Queries], Columns]] = {
    "user": user_columns,
    "item": item_columns,
    "pair": pair_columns,
    "price": price_columns,
    "graph": graph_columns,
    "causal": causal_columns,
    "sid": sid_columns,
    "cate": cate_columns,
}
"""Each can be left out by name."""


def ranking_features(
    facts: Facts, asked: Queries, groups: tuple[str, ...]
) -> tuple[tuple[str, ...], Float32s]:
    """Return the names of the features and feature_QF, NaN where a value is unknown.

    Parameters
    ----------
    facts : Facts
        May hold later rows; they are not read.
    asked : Queries
        Candidates of requests.
    groups : tuple of str
        Names out of `GROUPS`.
    """
    found: Columns = {}
    for group in groups:
        found |= GROUPS[group](facts, asked)
    feature_QF = np.empty((len(asked.item_Q), len(found)), np.float32)
    for place, value_Q in enumerate(found.values()):
        feature_QF[:, place] = value_Q
    return tuple(found), feature_QF


def slate_features(
    facts: Facts, user_R: Ints, moment_R: Ints, item_RM: Ints, groups: tuple[str, ...]
) -> tuple[tuple[str, ...], Float32s]:
    """Return the names of the features and feature_RMF; M candidates of each request."""
    requests, slots = item_RM.shape
    asked = Queries(user_R, moment_R, np.repeat(np.arange(requests), slots), item_RM.ravel())
    names, feature_QF = ranking_features(facts, asked, groups)
    return names, feature_QF.reshape(requests, slots, len(names))
