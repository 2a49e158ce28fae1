"""What this service showed an investor lately, so that nothing is shown too often.

It is rebuilt from the log: only slates that are on the disk count.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tessera.contracts.arrow import DAY_US
from tessera.serve.events import Record
from tessera.serve.online.investor import Past
from tessera.shared.erased import NEVER
from tessera.shared.policies.slate import EMPTY

LoggedSlate = tuple[int, str, list[str]]
"""Moment, investor and items of a slate."""


class Exposures:
    """Moments at which each item was shown to each investor, so many days back."""

    def __init__(self, most: int | None, days: float) -> None:
        """Cap an item that was shown `most` times in so many days; None keeps nothing."""
        self.most = most
        self._span = round(days * DAY_US)
        self._lock = threading.Lock()
        self._shown: dict[str, dict[str, list[int]]] = {}
        self._order: deque[tuple[int, str, str]] = deque()
        """Everything kept, in the order of its arrival."""

    def __len__(self) -> int:
        return len(self._order)

    def add(self, user_id: str, item_ids: Iterable[str], moment: int) -> None:
        """Take in a slate, and let go of what is too long ago to count."""
        if self.most is None:
            return
        with self._lock:
            for item in item_ids:
                self._keep(moment, user_id, item)
            while self._order and self._order[0][0] <= moment - self._span:
                self._let_go(*self._order.popleft())

    def restore(self, slates: Iterable[LoggedSlate]) -> None:
        """Take in the slates of a log."""
        for moment, user_id, item_ids in sorted(slates):
            self.add(user_id, item_ids, moment)

    def drop(self, is_erased: Callable[[str, int], bool]) -> None:
        """Let go of what was shown to whoever was erased since, by investor and moment."""
        with self._lock:
            kept = [one for one in self._order if not is_erased(one[1], one[0])]
            if len(kept) < len(self._order):
                self._order.clear()
                self._shown.clear()
                for one in kept:
                    self._keep(*one)

    def capped(
        self, user_id: str, past: Past, item_ids: Sequence[str], moment: int, erased: int = NEVER
    ) -> tuple[str, ...]:
        """Return what was shown too often just before a moment, sorted.

        What was shown before the investor last did something with an item no longer counts.

        Parameters
        ----------
        user_id : str
            Investor.
        past : Past
            What the investor did, oldest first.
        item_ids : sequence of str
            Item of each row of `past`, from row 1 on.
        moment : int
            Microseconds since 1970.
        erased : int
            Until when nothing of the investor counts any more.
        """
        if self.most is None:
            return ()
        with self._lock:
            shown = {item: tuple(at) for item, at in self._shown.get(user_id, {}).items()}
        if not shown:
            return ()
        rows, moments = past.item_N.tolist(), past.moment_N.tolist()
        acted = {item_ids[row - 1]: at for row, at in zip(rows, moments, strict=True)}
        since = max(moment - self._span, erased)
        counts = {
            item: sum(max(acted.get(item, since), since) < one < moment for one in at)
            for item, at in shown.items()
        }
        return tuple(sorted(item for item, count in counts.items() if count >= self.most))

    def adopt(self, other: Exposures) -> None:
        """Know what another one knows from now on, both of them."""
        self._lock, self._shown, self._order = other._lock, other._shown, other._order

    def _keep(self, moment: int, user_id: str, item: str) -> None:
        self._shown.setdefault(user_id, {}).setdefault(item, []).append(moment)
        self._order.append((moment, user_id, item))

    def _let_go(self, moment: int, user_id: str, item: str) -> None:
        mine = self._shown[user_id]
        mine[item].remove(moment)
        if not mine[item]:
            del mine[item]
        if not mine:
            del self._shown[user_id]


def logged_slate(slate: Record) -> LoggedSlate:
    """Keep of a slate of the log what counts here."""
    ids = slate["candidate_ids"]
    return slate["moment"], slate["user_id"], [ids[n] for n in slate["chosen"] if n != EMPTY]
