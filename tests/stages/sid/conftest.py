"""A small catalogue with text, topology and neighbours."""

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

CUT = datetime(2021, 7, 1, tzinfo=UTC)
WORDS = {
    "fund": ["growth", "fund", "equity", "global"],
    "bond": ["bond", "treasury", "coupon", "yield"],
    "loan": ["loan", "mortgage", "home", "credit"],
}


class Catalogue:
    """Builders of the three tables that the stage reads."""

    @staticmethod
    def items(n=48, seed=3, order=None, text=None):
        rng = np.random.default_rng(seed)
        kinds = [list(WORDS)[k % 3] for k in range(n)]
        texts = [" ".join(rng.choice(WORDS[kind], 3)) + f" series{k // 6}" for k, kind in
                 enumerate(kinds)]  # fmt: skip
        table = pa.table(
            {
                "item_id": [f"i{k:03d}" for k in range(n)],
                "name": texts if text is None else [text] * n,
                "category": kinds if text is None else [text] * n,
                "subcategory": pa.nulls(n, pa.string()),
                "sector": [["bank", "energy", None][k % 3] for k in range(n)]
                if text is None
                else pa.nulls(n, pa.string()),
                "issuer": pa.nulls(n, pa.string()),
                "market_id": pa.nulls(n, pa.string()),
                "text": pa.nulls(n, pa.string()),
                "valid_from": pa.nulls(n, pa.timestamp("us", "UTC")),
            }
        )
        return ibis.memtable(table if order is None else table.take(order))

    @staticmethod
    def nodes(n=48, seen=None, seed=4, order=None):
        rng = np.random.default_rng(seed)
        is_new = np.arange(n) >= (n if seen is None else seen)
        value = {
            "degree": rng.integers(1, 30, n) * 1.0,
            "pagerank": rng.dirichlet(np.ones(n)),
            "core_number": rng.integers(1, 9, n) * 1.0,
            "clustering": rng.random(n),
            "weighted_degree": rng.random(n),
            "neighbour_degree": rng.random(n),
            "neighbour_pagerank": rng.random(n) / n,
            "causal_in": rng.normal(size=n),
            "causal_out": rng.normal(size=n),
        }
        columns = {name: np.where(is_new, 0.0, column) for name, column in value.items()}
        table = pa.table({"item_id": [f"i{k:03d}" for k in range(n)], **columns, "is_new": is_new})
        return ibis.memtable(table if order is None else table.take(order))

    @staticmethod
    def edges(pairs=(), kind="co_acquired"):
        source, target, weight = zip(*pairs, strict=True) if pairs else ([], [], [])
        return ibis.memtable(
            pa.table(
                {
                    "source_id": pa.array(source, pa.string()),
                    "target_id": pa.array(target, pa.string()),
                    "kind": pa.array([kind] * len(source), pa.string()),
                    "weight": pa.array(weight, pa.float64()),
                    "support": pa.array([3] * len(source), pa.int64()),
                }
            )
        )

    @staticmethod
    def events(n=48, seed=5, late=(), order=None):
        """Purchases of 60 investors, each within a third of the items by their number."""
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(60), 8)
        item = (rng.integers(0, n // 3, len(user)) * 3 + user % 3) % n
        pairs = [*zip(user.tolist(), item.tolist(), strict=True), *late]
        day = [CUT - timedelta(1)] * len(user) + [CUT + timedelta(1)] * len(late)
        table = pa.table(
            {
                "event_id": [f"e{k:05d}" for k in range(len(pairs))],
                "user_id": [f"u{u:02d}" for u, _ in pairs],
                "item_id": [f"i{i:03d}" for _, i in pairs],
                "action": ["buy"] * len(pairs),
                "event_ts": pa.array(day, pa.timestamp("us", "UTC")),
                "units": pa.nulls(len(pairs), pa.float64()),
            }
        )
        return ibis.memtable(table if order is None else table.take(order))

    @staticmethod
    def queries(asked=()):
        """Queries as (id, investor, minutes before the cut, text, request)."""
        names, users, ago, texts, requests = zip(*asked, strict=True) if asked else ([],) * 5
        moment = [CUT - timedelta(minutes=minutes) for minutes in ago]
        return ibis.memtable(
            pa.table(
                {
                    "query_id": pa.array(names, pa.string()),
                    "user_id": pa.array(users, pa.string()),
                    "event_ts": pa.array(moment, pa.timestamp("us", "UTC")),
                    "text": pa.array(texts, pa.string()),
                    "request_id": pa.array(requests, pa.string()),
                }
            )
        )

    @staticmethod
    def clicks(done=()):
        """Clicks as (id, investor, item, minutes before the cut, request)."""
        names, users, items, ago, requests = zip(*done, strict=True) if done else ([],) * 5
        moment = [CUT - timedelta(minutes=minutes) for minutes in ago]
        return ibis.memtable(
            pa.table(
                {
                    "event_id": pa.array(names, pa.string()),
                    "user_id": pa.array(users, pa.string()),
                    "item_id": pa.array(items, pa.string()),
                    "action": pa.array(["click"] * len(names), pa.string()),
                    "event_ts": pa.array(moment, pa.timestamp("us", "UTC")),
                    "units": pa.nulls(len(names), pa.float64()),
                    "request_id": pa.array(requests, pa.string()),
                }
            )
        )

    @staticmethod
    def prices(closes=()):
        """Closes as (item, days before the cut, price)."""
        item, ago, close = zip(*closes, strict=True) if closes else ([], [], [])
        day = [CUT - timedelta(days) for days in ago]
        return ibis.memtable(
            pa.table(
                {
                    "item_id": pa.array(item, pa.string()),
                    "price_ts": pa.array(day, pa.timestamp("us", "UTC")),
                    "close_eur": pa.array(close, pa.float64()),
                }
            )
        )


@pytest.fixture
def catalogue():
    return Catalogue
