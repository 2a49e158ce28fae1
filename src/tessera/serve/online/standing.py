"""What an investor holds and has dismissed as of now: as of the cut, and what was done since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tessera.contracts.tables import ACTIONS
from tessera.serve.online.investor import Past
from tessera.serve.online.state import Happened
from tessera.shared.features.facts import BOUGHT

_ACQUIRED = tuple(ACTIONS[action] for action in BOUGHT)
# A sale at the same moment as a purchase leaves the item held: their order is unknown.
_ORDER = {"sell": 0}


def standing(
    held: tuple[str, ...], dismissed: tuple[str, ...], events: Iterable[Happened], moment: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return items held and dismissed strictly before a moment, each sorted.

    >>> from tessera.serve.online.state import Happened
    >>> sale, buy = (Happened(5, 0, "a", action, action) for action in ("sell", "buy"))
    >>> standing(("a",), (), [sale], 6), standing(("a",), (), [sale], 5)
    (((), ()), (('a',), ()))
    >>> standing((), (), [buy, sale], 6)
    (('a',), ())
    """
    holds, refuses = set(held), set(dismissed)
    before = (one for one in events if one.moment < moment)
    for one in sorted(before, key=lambda one: (one.moment, _ORDER.get(one.action, 1))):
        if one.action in _ACQUIRED:
            holds.add(one.item_id)
        elif one.action == "sell":
            holds.discard(one.item_id)
        elif one.action == "dismiss":
            refuses.add(one.item_id)
    return tuple(sorted(holds)), tuple(sorted(refuses))


def lasting(
    dismissed: tuple[str, ...], past: Past, item_ids: Sequence[str], since: int
) -> tuple[str, ...]:
    """Leave out what was last dismissed before a moment; one whose time is not known lasts.

    >>> import numpy as np
    >>> past = Past(np.array([1, 2, 1]), np.full(3, ACTIONS.index("dismiss")), np.array([3, 4, 8]))
    >>> lasting(("a", "b", "c"), past, ["a", "b"], 5)
    ('a', 'c')
    """
    is_told_N = past.action_N == ACTIONS.index("dismiss")
    rows, moments = past.item_N[is_told_N].tolist(), past.moment_N[is_told_N].tolist()
    last = {item_ids[row - 1]: moment for row, moment in zip(rows, moments, strict=True)}
    return tuple(item for item in dismissed if last.get(item, since) >= since)
