"""A canary beside the champion, judged from the log as it grows.

Who is in which arm follows from a hash of the investor, so an investor is one unit and counts once:
by what came, within a window, of the slates from the first on that was drawn while the canary was
there.  With share p of the canary, value v in [0, 1], arm a in {0, 1}, and c the mean value of the
units before,

    x = (v - c) (a / p - (1 - a) / (1 - p))

is on average the difference of the arms, whatever came before, and |x| <= max(1 / p, 1 / (1 - p)).
So the mean of x has the bounds of `sequences`, which hold at every look at once.

Whoever was erased is no unit: what they did is forgotten, and slates without what came of them
would count as ones that nobody minded.  An event counts as in the sealed hours: once, of two with
one id the earlier, and none that is forgotten.

Shapes: N units in the order of their first slate, T looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera.contracts.arrays import Bools, Float64s
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.sequences import Wager, betting_lower, log_wealth
from tessera.serve.context_version import ContextVersion
from tessera.serve.erased import PSEUDONYM
from tessera.serve.events import EVENT, SLATE, Event, Knowledge, Record
from tessera.shared.policies.slate import EMPTY

_REWARDED = frozenset({"click", "buy"})
_MOST = 1.0
"""Values lie in [0, 1], so no difference lies beyond."""


@dataclass(slots=True)
class _Shown:
    user_id: str
    moment: int
    share: float
    canary: bool
    items: frozenset[str]


@dataclass(frozen=True, slots=True)
class Units:
    """What came of each investor whose window is over."""

    canary_N: Bools
    share_N: Float64s
    value_N: Float64s

    def wager(self) -> Wager:
        """Return what is bet on: scores whose mean is the difference of the arms."""
        count_N = np.arange(len(self.value_N))
        before_N = np.cumsum(self.value_N) - self.value_N
        centre_N = np.divide(before_N, count_N, out=np.zeros(len(count_N)), where=count_N > 0)
        weight_N = np.where(self.canary_N, 1 / self.share_N, -1 / (1 - self.share_N))
        floor = float(np.abs([1 / self.share_N, 1 / (1 - self.share_N)]).max(initial=1.0))
        return Wager((self.value_N - centre_N) * weight_N, floor)

    def mean(self, *, canary: bool) -> float:
        """Return the mean value of an arm, not a number where nobody is in it."""
        value = self.value_N[self.canary_N == canary]
        return float(value.mean()) if len(value) else math.nan

    def until(self, count: int) -> Units:
        """Return the first of them."""
        return Units(self.canary_N[:count], self.share_N[:count], self.value_N[:count])


@dataclass(frozen=True, slots=True)
class Difference:
    """Canary minus champion, with bounds that hold at every look at once."""

    units: int
    champion: float
    canary: float
    lower: float
    upper: float


def difference(units: Units, alpha: float) -> Difference:
    """Bound how the arms differ; each side at half of alpha."""
    up = units.wager()
    down = Wager(-up.score_N, up.floor)
    return Difference(
        len(units.value_N),
        units.mean(canary=False),
        units.mean(canary=True),
        betting_lower([up], _MOST, alpha / 2),
        -betting_lower([down], _MOST, alpha / 2),
    )


def exceeds(units: Units, margin: float, alpha: float) -> bool:
    """Tell whether the canary's value lies above the champion's by more than a margin.

    Said although it does not, at any look, with chance `alpha` at most.
    """
    return log_wealth([units.wager()], margin) > math.log(1 / alpha)


@dataclass(slots=True)
class Trial:
    """What the log tells of one canary; records may come in any order, late or twice."""

    identity: str
    """Of the canary's bundle."""
    days: float
    """Window of an investor, from the first slate on."""
    _shown: dict[str, _Shown] = field(default_factory=dict)
    _known: Knowledge = field(default_factory=Knowledge)
    _now: int = 0
    """Newest moment of the log."""

    def read(self, records: Iterable[Record]) -> None:
        """Take in what was logged, under pseudonyms where somebody was erased."""
        for one in records:
            if one["kind"] in (SLATE, EVENT):
                self._now = max(self._now, one["moment"])
            if one["kind"] != SLATE:
                self._known.read(one)
            elif one["user_id"].startswith(PSEUDONYM):
                self._shown.pop(one["request_id"], None)
            elif one.get("canary_identity") == self.identity:
                self._shown[one["request_id"]] = _shown(one, self.identity)

    def leave_out(self, is_erased: Callable[[str, int], bool]) -> None:
        """Leave out the slates of whoever was erased since they were read."""
        for name, one in list(self._shown.items()):
            if is_erased(one.user_id, one.moment):
                del self._shown[name]

    def rewards(self) -> Units:
        """Return the share of an investor's slates that led to a click or a purchase."""
        return self._units(lambda acts, _: float(bool(acts.keys() & _REWARDED)))

    def dismissals(self) -> Units:
        """Return the share of the items shown that an investor dismissed."""
        return self._units(lambda acts, shown: len(acts.get("dismiss", ())) / max(shown, 1))

    def _units(self, value_of: Any) -> Units:
        found, events = [], self._events()
        for slates in self._by_investor():
            _, first = slates[0]
            until = first.moment + int(self.days * DAY_US)
            if until > self._now:
                continue
            values = [
                value_of(_acts(one, events.get(name, ()), until), len(one.items))
                for name, one in slates
                if one.moment < until and one.share == first.share and one.canary == first.canary
            ]
            found.append((first.canary, first.share, float(np.mean(values))))
        columns = list(zip(*found, strict=True)) or [(), (), ()]
        return Units(
            np.array(columns[0], np.bool_), np.array(columns[1], float), np.array(columns[2], float)
        )

    def _by_investor(self) -> list[list[tuple[str, _Shown]]]:
        """Return the slates of each investor in time, investors by their first."""
        by: dict[str, list[tuple[str, _Shown]]] = {}
        for name, one in sorted(self._shown.items(), key=lambda pair: (pair[1].moment, pair[0])):
            by.setdefault(one.user_id, []).append((name, one))
        return list(by.values())

    def _events(self) -> dict[str, list[Event]]:
        """Return what was done with each slate."""
        by: dict[str, list[Event]] = {}
        for one in self._known.events.values():
            if one.request_id in self._shown:
                by.setdefault(one.request_id, []).append(one)
        return by


def newest(records: Iterable[Record], version: str | None = None) -> tuple[str, str] | None:
    """Return version and identity of the last canary that a log tells of, or of that name."""
    tried = [
        (one["moment"], one["canary"], one["canary_identity"])
        for one in records
        if one.get("canary_identity") and version in (None, one["canary"])
    ]
    return max(tried)[1:] if tried else None


def _acts(shown: _Shown, events: Iterable[Event], until: int) -> Mapping[str, set[str]]:
    """Return the items shown on which each action was done in time."""
    found: dict[str, set[str]] = {}
    for one in events:
        if one.item_id in shown.items and shown.moment <= one.moment < until:
            found.setdefault(one.action, set()).add(one.item_id)
    return found


def _shown(slate: Record, identity: str) -> _Shown:
    ids = slate["candidate_ids"]
    items = frozenset(ids[one] for one in slate["chosen"] if one != EMPTY)
    is_canary = identity.startswith(ContextVersion.read(slate["context_version"]).identity)
    return _Shown(slate["user_id"], slate["moment"], slate["share"], is_canary, items)
