"""How far a recommender leans on what is popular already.

Shapes: N investors, K positions, I items.  Lists hold item numbers, -1 where empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts import arrays
from tessera.contracts.arrays import Ints


def average_popularity(top_NK: Ints, holders_I: Ints, users: int) -> float:
    """Mean share of investors who hold what is shown (ARP, Abdollahpouri 2019).

    >>> average_popularity(np.array([[0, 1]]), np.array([4, 2]), 4)
    0.75
    """
    arrays.check(top_NK=top_NK, holders_I=holders_I)
    arrays.numbered(len(holders_I), top_NK=top_NK)
    listed = top_NK[top_NK >= 0]
    return float(holders_I[listed].mean() / users) if len(listed) and users else 0.0


def top_share(top_NK: Ints, holders_I: Ints, *, percent: float = 1.0) -> float:
    """Share of all positions taken by the most popular `percent` of items, at least one item.

    >>> top_share(np.array([[0, 1], [0, 2]]), np.array([9, 5, 1]))
    0.5
    """
    arrays.check(top_NK=top_NK, holders_I=holders_I)
    arrays.numbered(len(holders_I), top_NK=top_NK)
    listed = top_NK[top_NK >= 0]
    if len(listed) == 0:
        return 0.0
    head = max(1, round(len(holders_I) * percent / 100))
    head_items = np.argsort(-holders_I, kind="stable")[:head]
    return float(np.isin(listed, head_items).mean())


def long_tail(holders_I: Ints, *, head_share: float = 0.8) -> NDArray[np.bool_]:
    """Mark items outside the smallest head that gathers `head_share` of all holdings.

    >>> long_tail(np.array([6, 3, 1]), head_share=0.8)
    array([False, False,  True])
    """
    arrays.check(holders_I=holders_I)
    order = np.argsort(-holders_I, kind="stable")
    before = np.cumsum(holders_I[order]) - holders_I[order]
    tail_I = np.empty(len(holders_I), dtype=np.bool_)
    tail_I[order] = before >= head_share * holders_I.sum()
    return tail_I
