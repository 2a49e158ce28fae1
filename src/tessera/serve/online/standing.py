"""What an investor holds and has dismissed as of now: as of the cut, and what was done since."""

from __future__ import annotations

from collections.abc import Iterable

from tessera.contracts.tables import ACTIONS
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
