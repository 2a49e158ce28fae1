"""A shop whose test lists can be computed by hand, and a world with two tastes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.split import Split, save_split
from tessera.shared.policies.suitability import PRUDENT, Unknown, write_unknown

START = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = pa.timestamp("us", tz="UTC")


def day(number):
    """Moment `number` days after the start."""
    return START + timedelta(days=float(number))


@dataclass(frozen=True)
class Tables:
    """Inputs of the stage, and what turns them into DuckDB tables."""

    events: pa.Table
    items: pa.Table
    users: pa.Table
    prices: pa.Table
    lists: pa.Table
    split: Split
    unknown: Unknown = PRUDENT

    def open(self, folder: Path) -> dict:
        folder.mkdir(parents=True, exist_ok=True)
        names = ("events", "items", "users", "prices", "lists")
        found = {name: ibis.memtable(getattr(self, name)) for name in names}
        is_plain = found["lists"].model == "sasrec"
        found["baseline_lists"] = found["lists"].filter(is_plain)
        found["lists"] = found["lists"].filter(~is_plain)
        save_split(self.split, folder / "split.json")
        write_unknown(self.unknown, {}, folder / "suitability.json")
        told = {name: folder / f"{name}.json" for name in ("split", "suitability")}
        return {**found, **told}


def stamps(days):
    return pa.array([None if d is None else day(d) for d in days], STAMP)


def event_table(rows):
    """Events from (user, item, action, day)."""
    user, item, action, when = zip(*rows, strict=True)
    return pa.table(
        {
            "event_id": [f"e{k:06d}" for k in range(len(rows))],
            "user_id": user,
            "item_id": item,
            "action": action,
            "event_ts": stamps(when),
            "units": pa.nulls(len(rows), pa.float64()),
        }
    )


def item_table(rows):
    """Items from (item, first day, last day)."""
    item, first, last = zip(*rows, strict=True)
    known = {"item_id": item, "valid_from": stamps(first), "valid_to": stamps(last)}
    return pa.table({**known, "risk_class": pa.nulls(len(rows), pa.int64())})


def user_table(rows):
    """Versions of users from (user, day, risk class)."""
    user, when, risk = zip(*rows, strict=True)
    return pa.table(
        {"user_id": user, "valid_from": stamps(when), "risk_class": pa.array(risk, pa.int64())}
    )


def price_table(rows):
    """Closes from (item, day, close)."""
    item, when, close = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "item_id": pa.array(item, pa.string()),
            "price_ts": stamps(when),
            "close_eur": pa.array(close, pa.float64()),
        }
    )


def list_table(rows):
    """Lists from (model, user, item, ...)."""
    columns = {"model": [], "user_id": [], "rank": [], "item_id": [], "score": []}
    for model, user, *items in rows:
        for rank, item in enumerate(items, start=1):
            for name, value in zip(columns, (model, user, rank, item, -float(rank)), strict=True):
                columns[name].append(value)
    types = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64())
    return pa.table({n: pa.array(v, t) for (n, v), t in zip(columns.items(), types, strict=True)})


@pytest.fixture
def shop():
    """Cut on day 10, test until day 20; holders: A 4, B 2, D sold once, the others none."""
    events = event_table(
        [
            ("u1", "A", "buy", 1),
            ("u1", "B", "buy", 2),
            ("u1", "C", "view", 3),
            ("u1", "C", "buy", 11),
            ("u1", "A", "buy", 12),  # held before
            ("u2", "A", "buy", 1),
            ("u2", "D", "sell", 5),
            ("u2", "D", "buy", 11),  # held before, as the sale proves
            ("u2", "B", "buy", 12),
            ("u3", "A", "view", 9),
            ("u3", "A", "buy", 15),
            ("u3", "C", "buy", 15),
            ("u4", "A", "buy", 12),  # nothing known before the cut
            ("u5", "A", "buy", 1),  # nothing after the cut
            ("u6", "B", "buy", 2),
            ("u6", "E", "buy", 12),  # no longer on sale
            ("u6", "F", "buy", 13),  # not yet on sale
            ("u7", "A", "buy", 10),  # the cut belongs to the past
            ("u7", "B", "buy", 20),  # the end belongs to the test
            ("u7", "C", "buy", 21),
        ]
    )
    items = item_table(
        [(name, None, None) for name in "ABCD"] + [("E", None, 8), ("F", 12, None), ("Z", 9, 30)]
    )
    users = user_table([("u1", 0, 2), ("u1", 11, 4), ("u2", 0, None), ("u3", 12, 3)])
    lists = list_table(
        [
            ("hstu", "u1", "A", "C", "D"),  # A is held
            ("hstu", "u2", "C", "E", "B"),  # E is gone
            ("hstu", "u3", "nobody", "C"),
            ("hstu", "stranger", "A"),
            ("sasrec", "u1", "D", "C"),
        ]
    )
    split = Split(validation_from=day(8), cut=day(10), test_until=day(20))
    return Tables(events, items, users, price_table([]), lists, split)


@pytest.fixture(scope="session")
def two_tastes():
    """60 investors of two tastes, 30 items; whoever shares a taste buys from the same half."""
    rng = np.random.default_rng(11)
    rows = []
    for number in range(60):
        half = np.arange(15) + 15 * (number % 2)
        odds = np.append(np.full(5, 0.14), np.full(10, 0.03))
        chosen = rng.choice(half, 9, replace=False, p=odds)
        rows += [(f"u{number:02d}", f"i{item:02d}", "buy", k * 10) for k, item in enumerate(chosen)]
    items = [f"i{k:02d}" for k in range(30)]
    closes = [(i, d, 10 + k + d * (k % 3) / 50) for k, i in enumerate(items) for d in (48, 58, 88)]
    lists = [
        ("hstu", f"u{n:02d}", *(f"i{k + 15 * (n % 2):02d}" for k in range(15))) for n in range(60)
    ]
    return Tables(
        events=event_table(rows),
        items=item_table([(item, None, None) for item in items]),
        users=user_table([(f"u{n:02d}", 0, 1 + n % 4) for n in range(60)]),
        prices=price_table(closes),
        lists=list_table(lists),
        split=Split(day(40), day(50), day(90), folds=(day(20), day(30), day(40))),
    )


def classed(rows, class_of):
    """Items from (item, first day, last day), each of the class named."""
    return item_table(rows).append_column("category", pa.array(class_of))


@pytest.fixture
def fashions():
    """Each decade twenty investors want the two items that went on sale a day before it.

    Twenty others bought twelve old items long ago, and one of them the new ones at once; popularity
    knows the old ones alone.  Validation is days 20 to 30, the cut day 30.
    """
    rows = [(f"v{n:02d}", f"O{k:02d}", "buy", 3) for n in range(20) for k in range(12)]
    for decade, pair in enumerate(("AB", "CD", "EF", "GH")):
        for place, item in enumerate(pair):
            rows += [(f"u{n:02d}", item, "buy", 10 * decade + 2 + place) for n in range(20)]
            rows += [("v00", item, "buy", 10 * decade - 0.5)] if decade else []
    since = dict(zip("ABCDEFGH", (None, None, 9, 9, 19, 19, 29, 29), strict=True))
    since |= {f"O{k:02d}": None for k in range(12)}
    items = classed([(item, first, None) for item, first in since.items()], ["fund"] * 20)
    split = Split(validation_from=day(20), cut=day(30), test_until=day(40))
    lists = list_table([("hstu", "u00", "G")])
    return Tables(
        event_table(rows), items, user_table([("u00", 0, 1)]), price_table([]), lists, split
    )


@pytest.fixture
def fund_lover():
    """u1 had two funds and no bond, u2 two bonds and u0, long ago, a fund; u1 is asked."""
    rows = [
        ("u1", "A", "buy", 25),
        ("u1", "B", "buy", 25),
        ("u2", "C", "buy", 25),
        ("u2", "D", "buy", 25),
        ("u1", "C", "buy", 35),
        ("u0", "A", "buy", 1),
    ]
    items = classed([(item, None, None) for item in "ABCD"], ["fund", "fund", "bond", "bond"])
    split = Split(validation_from=day(20), cut=day(30), test_until=day(40))
    lists = list_table([("hstu", "u1", "C")])
    return Tables(
        event_table(rows), items, user_table([("u1", 0, 1)]), price_table([]), lists, split
    )
