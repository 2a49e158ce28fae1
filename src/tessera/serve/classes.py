"""Risk and capacity classes of investors that were told while serving, and which of them counts.

The service learns a change of class when it happens, not with the next bundle.  Of one investor the
telling with the latest `valid_from` counts, of one such moment the telling that came last, so what
is known follows from the tellings in whatever order they come.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

CLASS = "class"
"""Kind of their records in the served log."""
_MARK = "\x1f"
"""How the name of a telling begins; no event can bear it, for ids hold no control signs."""


@dataclass(frozen=True, slots=True)
class InvestorClass:
    """What an investor was classed as."""

    event_id: str
    """Name of this telling, drawn by chance: what is forgotten is named and names nobody."""
    user_id: str
    risk_class: int
    capacity_class: int | None
    """None leaves it as it was."""
    valid_from: int
    """Since when it holds, in microseconds since 1970."""
    moment: int
    """When it was told."""

    @property
    def text(self) -> str:
        """Lay it out for a feed."""
        return json.dumps(self.record(), separators=(",", ":"))

    @property
    def rank(self) -> str:
        """Text by which either of two is chosen that bear the same name."""
        digest = hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()
        return f"{self.moment:020d}{digest}"

    @property
    def order(self) -> tuple[int, int, str]:
        """The last of an investor's counts."""
        return self.valid_from, self.moment, self.event_id

    def record(self) -> dict[str, Any]:
        """Lay it out for the log."""
        return {"kind": CLASS, **{name: getattr(self, name) for name in self.__slots__}}


def new_name() -> str:
    """Draw a name for a telling."""
    return f"{_MARK}{secrets.token_hex(16)}"


def class_of(record: dict[str, Any]) -> InvestorClass:
    """Read what `InvestorClass.record` or `InvestorClass.text` laid out."""
    return InvestorClass(**{name: record[name] for name in InvestorClass.__slots__})


class InvestorClasses:
    """All tellings, by investor; few are told, and what was erased is dropped."""

    def __init__(self, tellings: Iterable[InvestorClass] = ()) -> None:
        """Know these."""
        self._by_user: dict[str, tuple[InvestorClass, ...]] = {}
        self._user: dict[str, str] = {}
        """Investor of each telling, by its name."""
        self.until = 0
        """When the last of them was told; 0 if none was."""
        for one in tellings:
            self.learn(one)

    def __iter__(self) -> Iterator[InvestorClass]:
        for found in self._by_user.values():
            yield from found

    def __contains__(self, telling: object) -> bool:
        return isinstance(telling, InvestorClass) and telling in self.of(telling.user_id)

    def of(self, user_id: str) -> tuple[InvestorClass, ...]:
        """Return the tellings of an investor, the one that counts last."""
        return self._by_user.get(user_id, ())

    def learn(self, telling: InvestorClass) -> bool:
        """Take in a telling; tell whether it was new."""
        self.until = max(self.until, telling.moment)
        if telling.event_id in self._user:
            return False
        self._user[telling.event_id] = telling.user_id
        found = [*self.of(telling.user_id), telling]
        self._by_user[telling.user_id] = tuple(sorted(found, key=lambda one: one.order))
        return True

    def forget(self, event_id: str) -> bool:
        """Drop a telling by its name; tell whether it was known."""
        user_id = self._user.pop(event_id, None)
        if user_id is None:
            return False
        left = tuple(one for one in self._by_user.pop(user_id) if one.event_id != event_id)
        if left:
            self._by_user[user_id] = left
        return True

    def fresh(self, tellings: Iterable[InvestorClass]) -> list[InvestorClass]:
        """Return those that say something else than what is known, older ones first.

        What held before the last that is known changes nothing any more.
        """
        last: dict[str, InvestorClass] = {}
        found = []
        for one in sorted(tellings, key=lambda one: one.valid_from):
            before = last.get(one.user_id) or next(iter(self.of(one.user_id)[-1:]), None)
            if before is None or _says_more(one, before):
                found.append(one)
                last[one.user_id] = one
        return found


def _says_more(one: InvestorClass, before: InvestorClass) -> bool:
    if one.valid_from != before.valid_from:
        return one.valid_from > before.valid_from
    return one.risk_class != before.risk_class or one.capacity_class not in (
        None,
        before.capacity_class,
    )


class Counted(NamedTuple):
    """What tellings come to at a moment."""

    risk_class: int
    capacity_class: int | None
    """None if nobody told of it."""


def counted(
    tellings: Iterable[InvestorClass], published: int | None, moment: int
) -> Counted | None:
    """Return what counts of an investor at a moment; None where it is what the bundle says.

    What the bundle's source says since the same moment or a later one wins: there a class is looked
    up and corrected.  Where the bundle's own row is a telling, that the run read in the log, those
    that follow it win.

    Parameters
    ----------
    tellings : iterable of InvestorClass
        Those of the investor that are known, in their order.
    published : int, optional
        Since when the bundle's last row of the investor is known; None if it has none.
    moment : int
        Microseconds since 1970; what holds from it on counts, as for the features.

    >>> told = [InvestorClass("a", "u", 3, 2, 10, 11), InvestorClass("b", "u", 1, None, 20, 21)]
    >>> [counted(told, None, moment) for moment in (9, 19, 20)]
    [None, Counted(risk_class=3, capacity_class=2), Counted(risk_class=1, capacity_class=2)]
    >>> counted(told, 20, 30), counted(told, 11, 30)
    (None, Counted(risk_class=1, capacity_class=None))
    """
    tellings = list(tellings)
    floor: tuple[int, int, str] = (-1, 0, "")
    if published is not None:
        floor = published, _END, ""
        # The run dates a telling by when it was told; see `sealing.users`.
        floor = max((one.order for one in tellings if one.moment == published), default=floor)
    later = [one for one in tellings if one.order > floor and one.valid_from <= moment]
    if not later:
        return None
    capacity = [one.capacity_class for one in later if one.capacity_class is not None]
    return Counted(later[-1].risk_class, capacity[-1] if capacity else None)


_END = 1 << 63
