"""Records of one day become the columns that are measured.

Shapes: N slates, R positions, E events, U investors, K categories, J issuers.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from tessera.contracts.arrays import Float64s
from tessera.contracts.arrow import DAY_US
from tessera.platform.watching.classes import known_class
from tessera.platform.watching.facts import Facts
from tessera.platform.watching.gathered import Gathered
from tessera.serve.classes import InvestorClasses
from tessera.serve.events import COMPLAIN, Record
from tessera.shared.policies.suitability import suitable
from tessera.stages.daily.frames import (
    EVENT_COLUMNS,
    MINUTE_COLUMNS,
    POSITION_COLUMNS,
    SLATE_COLUMNS,
    TOOK,
    Frames,
    table,
)


@dataclass(frozen=True, slots=True)
class Around:
    """What belongs to a day beside its own records."""

    closes: Iterable[Record]
    """Of the day and of the days before it that a change of price may span."""
    segments: Callable[[list[str]], dict[str, str]]
    orphans: int = 0
    classes: InvestorClasses = field(default_factory=InvestorClasses)
    """Told while serving."""


def frames(day: int, found: Gathered, around: Around) -> Frames:
    """Lay a day out: rows in the order of their moments, so that nothing hangs on the log's.

    Parameters
    ----------
    day : int
        Days since 1970.
    found : Gathered
        The day.
    around : Around
        What else is known.
    """
    found.flush()
    main = main_facts(found)
    user_ids = sorted({*found.users, *(str(one["user_id"]) for one in found.events)})
    number = {user: at for at, user in enumerate(user_ids)}
    items = sorted({*found.items, *(str(one["item_id"]) for one in found.events)})
    item_number = {item: at for at, item in enumerate(items)}
    slates, positions = _columns(found, number, item_number)
    risk, held = _classes(found, main, around), main.held(user_ids) if main else {}
    segment = around.segments(user_ids)
    slates["segment"] = [segment.get(user_ids[at], "") for at in slates["user"].tolist()]
    slates["risk_class"] = [risk[name] for name in slates["request_id"].tolist()]
    _judge_risk(slates, positions, main)
    categories, issuers = _named(positions, main)
    events = _events(found, number, item_number, main, categories)
    return Frames(
        slates, positions[list(POSITION_COLUMNS)], events, [*map(_hashed, user_ids)], items,
        categories, issuers,
        _tastes(held, user_ids, main, categories), _merits(main, issuers), found.bins_B4,
        _moves(day, around), main.listed if main else 0, around.orphans, _minutes(found.counts),
    )  # fmt: skip


def _classes(found: Gathered, main: Facts | None, around: Around) -> dict[str, int]:
    """Return the risk class that was known at each slate, by its request; 0 for none.

    Where nobody here knows the version that answered, what most others answered from stands for it.
    """
    known: dict[str, int] = {}
    for version, slates in found.asked.items():
        facts = found.open_facts(version) or main
        users = sorted({one.user_id for _, one in slates})
        published = facts.classed(users) if facts else {}
        for name, one in slates:
            known[name] = known_class(around.classes, published, one)
    return known


def _hashed(user_id: str) -> str:
    """Return a name that is the same on every day; what is kept of a day holds no id."""
    return hashlib.blake2b(user_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def main_facts(found: Gathered) -> Facts | None:
    """Return what the version says that answered most."""
    for version, _ in sorted(found.versions.items(), key=lambda one: (-one[1], one[0])):
        facts = found.open_facts(version)
        if facts is not None:
            return facts
    return None


def _columns(
    found: Gathered, number: dict[str, int], item_number: dict[str, int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    count = len(found.users)
    order = np.array(
        sorted(range(count), key=lambda at: (found.moments[at], found.requests[at])), np.int64
    )
    named = sorted({name for of_S, _ in found.batches for name in of_S if name.startswith(TOOK)})
    parts: dict[str, Any] = {}
    for name, kind in {**SLATE_COLUMNS, **dict.fromkeys(named, np.float64)}.items():
        pieces: list[Any] = [
            np.asarray(of_S.get(name, np.full(len(of_S["policy"]), np.nan)), kind)
            for of_S, _ in found.batches
            if name in of_S or name.startswith(TOOK)
        ]
        if pieces:
            parts[name] = np.concatenate(pieces)
    parts["user"] = np.array([number[user] for user in found.users], np.int64)
    parts["request_id"] = np.array(found.requests, object)
    parts["moment"] = np.array(found.moments, np.int64)
    slates = table(SLATE_COLUMNS, parts, count)
    slates = slates.assign(**{name: parts[name] for name in named})
    slates = slates.iloc[order].reset_index(drop=True)
    rows = [pd.DataFrame(of_R) for _, of_R in found.batches]
    positions = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"slate": []})
    positions["item"] = np.array([item_number[one] for one in found.items], np.int64)
    back = np.empty(count, np.int64)
    back[order] = np.arange(count)
    positions["slate"] = back[positions["slate"].to_numpy(np.int64)]
    for name in ("category_name", "issuer_name"):
        positions[name] = positions.get(name, pd.Series("", positions.index)).fillna("")
    positions = positions.sort_values(["slate", "place"] if len(positions) else ["slate"])
    positions = positions.reset_index(drop=True)
    more = table(POSITION_COLUMNS, {n: positions[n] for n in POSITION_COLUMNS if n in positions},
                 len(positions))  # fmt: skip
    return slates, positions.drop(columns=list(POSITION_COLUMNS), errors="ignore").join(more)


def _judge_risk(slates: pd.DataFrame, positions: pd.DataFrame, main: Facts | None) -> None:
    if main is None or "risk" not in positions:
        return
    risk_R = slates["risk_class"].to_numpy()[positions["slate"].to_numpy()]
    told_R = positions["row"].to_numpy() >= 0
    fits_R = suitable(risk_R, positions["risk"].to_numpy(), main.unknown)
    positions["unsuitable"] = told_R & ~fits_R


def _named(positions: pd.DataFrame, main: Facts | None) -> tuple[list[str], list[str]]:
    """Give categories and issuers numbers by their names over all versions."""
    told: list[list[str]] = []
    for column, of_I in (
        ("category", main.category_I if main else []), ("issuer", main.issuer_I if main else [])
    ):  # fmt: skip
        name_R = positions[f"{column}_name"]
        names = sorted({*name_R.unique(), *of_I} - {""})
        positions[column] = pd.Index(names).get_indexer(name_R) if names else -1
        told.append(names)
    return told[0], told[1]


def with_outcomes(day: Frames, outcomes: Iterable[Record], window_us: int) -> Frames:
    """Mark what came of a position in time; events are those that name a slate."""
    slates, rows = day.slates, day.positions
    moments = slates["moment"].tolist()
    slate_of = {request: at for at, request in enumerate(slates["request_id"].tolist())}
    item_of = {item: at for at, item in enumerate(day.item_ids)}
    done = [
        (slate, item_of.get(str(one["item_id"]), -1), _DONE[one["action"]])
        for one in outcomes
        if one["action"] in _DONE
        and (slate := slate_of.get(str(one["request_id"]))) is not None
        and 0 <= one["moment"] - moments[slate] < window_us
    ]
    key_R = rows["slate"].to_numpy() * (len(item_of) + 1) + rows["item"].to_numpy()
    marked = {}
    for column in _DONE.values():
        hit = [slate * (len(item_of) + 1) + item for slate, item, of in done if of == column]
        marked[column] = np.isin(key_R, np.array(hit, np.int64))
    return replace(day, positions=rows.assign(**marked))


_DONE = {
    "click": "clicked", "buy": "bought", "dismiss": "dismissed", COMPLAIN: "complained",
}  # fmt: skip


def _events(
    found: Gathered, number: dict[str, int], item_number: dict[str, int], main: Facts | None,
    categories: list[str],
) -> pd.DataFrame:  # fmt: skip
    done = sorted(found.events, key=lambda one: (one["moment"], str(one["event_id"])))
    ids = [str(one["item_id"]) for one in done]
    row_E = np.array([main.row.get(item, -1) if main else -1 for item in ids], np.int64)
    told_E, at = row_E >= 0, {name: place for place, name in enumerate(categories)}
    kind_E = [at.get(main.category_I[row], -1) if main and row >= 0 else -1
              for row in row_E.tolist()]  # fmt: skip
    return table(
        EVENT_COLUMNS,
        {
            "user": [number[str(one["user_id"])] for one in done],
            "item": [item_number[item] for item in ids],
            "action": [str(one["action"]) for one in done],
            "channel": [str(one.get("channel") or "") for one in done],
            "category": kind_E,
            "holders": np.where(told_E, main.share_I[row_E], np.nan) if main else
            np.full(len(done), np.nan),
            "value": [float(one.get("value") or 0.0) for one in done],
            "asked": [bool(one.get("request_id")) for one in done],
        },
        len(done),
    )  # fmt: skip


def _minutes(counts: list[Record]) -> pd.DataFrame:
    """Lay out what was counted, minute by minute of each process."""
    told = sorted(counts, key=lambda one: (one["moment"], one["count_id"]))
    shed = np.array([sum(one["shed"].values()) for one in told], np.float64)
    let_in = np.array([sum(one["requests"].values()) for one in told], np.float64)
    rows = {
        "asked": let_in + shed,
        "errors": [one["requests"].get("5xx", 0.0) for one in told],
        "shed": shed,
        "logged": [one["log"].get("slates", 0.0) for one in told],
        "log_ms": [one["log"].get("ms", 0.0) for one in told],
    }
    return table(MINUTE_COLUMNS, rows, len(told))


def _tastes(
    held: dict[str, list[str]], user_ids: list[str], main: Facts | None, categories: list[str]
) -> Float64s:
    """Return the share of each category in what an investor holds."""
    taste_UK = np.full((len(user_ids), len(categories)), np.nan)
    at = {name: place for place, name in enumerate(categories)}
    for user, id_ in enumerate(user_ids):
        rows = [main.row[item] for item in held.get(id_) or () if main and item in main.row]
        kinds = [at[main.category_I[row]] for row in rows if main and main.category_I[row] in at]
        if kinds:
            taste_UK[user] = np.bincount(kinds, minlength=len(categories)) / len(kinds)
    return taste_UK


def _merits(main: Facts | None, issuers: list[str]) -> Float64s:
    """Return the share of each issuer in what all investors hold."""
    merit_J = np.zeros(len(issuers))
    at = {name: place for place, name in enumerate(issuers)}
    for issuer, holders in zip(main.issuer_I, main.holders_I, strict=True) if main else ():
        if issuer in at:
            merit_J[at[issuer]] += holders
    return np.asarray(merit_J / max(float(merit_J.sum()), 1.0))


def _moves(day: int, around: Around) -> Float64s:
    """Return how far prices moved to the closes of the day from those before; each item once."""
    by: dict[str, dict[int, tuple[int, float]]] = {}
    for one in around.closes:
        if one["close_eur"] <= 0:  # nothing moves from or to it by any factor
            continue
        told = by.setdefault(str(one["item_id"]), {})
        told[one["moment"]] = max(
            told.get(one["moment"], (0, 0.0)), (one["told"], one["close_eur"])
        )
    moved = []
    for item in sorted(by):
        days = sorted(by[item])
        for before, now in itertools.pairwise(days):
            if now // DAY_US == day:
                moved.append(np.log(by[item][now][1] / by[item][before][1]))
    return np.array(moved, np.float64)
