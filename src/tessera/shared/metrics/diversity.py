"""Whether a recommender shows the whole shelf or the same ten items to everybody.

Shapes: N investors, K positions, I items.  Lists hold item numbers, -1 where empty.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Ints


def times_shown(top_NK: Ints, items: int) -> Ints:
    """Count how often each item stands in a list.

    >>> times_shown(np.array([[0, 2], [0, -1]]), 3)
    array([2, 0, 1])
    """
    _check(top_NK, items)
    return np.bincount(top_NK[top_NK >= 0], minlength=items)


def coverage(shown_I: Ints) -> float:
    """Share of the catalogue that somebody is shown; never above 1.

    >>> coverage(np.array([2, 0, 1, 0]))
    0.5
    """
    arrays.check(shown_I=shown_I)
    return float(np.count_nonzero(shown_I) / max(len(shown_I), 1))


def gini(shown_I: Ints) -> float:
    """Inequality of exposure: 0 if all items are shown equally, towards 1 if one takes all.

    >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 4]))
    (0.0, 0.75)
    """
    arrays.check(shown_I=shown_I)
    total = shown_I.sum()
    if total == 0:
        return 0.0
    items = len(shown_I)
    weight_I = 2 * np.arange(1, items + 1) - items - 1
    return float((weight_I * np.sort(shown_I)).sum() / (items * total))


def novelty(top_NK: Ints, holders_I: Ints, users: int) -> float:
    """Mean self-information of what is shown, in bits: rarely held items are news.

    -log2((holders + 1) / (users + 1)); the 1 keeps unseen items finite.  0 without any list.

    >>> novelty(np.array([[0, 1]]), np.array([7, 1]), 7)
    1.0
    """
    arrays.check(holders_I=holders_I)
    _check(top_NK, len(holders_I))
    listed = top_NK[top_NK >= 0]
    if len(listed) == 0:
        return 0.0
    return float(-np.log2((holders_I[listed] + 1.0) / (users + 1.0)).mean())


def _check(top_NK: Ints, items: int) -> None:
    """Refuse lists that are none, or name an item beyond the last."""
    arrays.check(top_NK=top_NK)
    arrays.numbered(items, top_NK=top_NK)
