"""A tiny world whose edges can be counted by hand."""

from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
import pytest

from tessera.contracts.split import Split

START = datetime(2024, 1, 1, tzinfo=UTC)


class World:
    """Builders of events, items, effects and a split whose cut is day 100."""

    split = Split(START + timedelta(90), START + timedelta(100), START + timedelta(150))

    @staticmethod
    def events(rows, action="buy"):
        """Rows of (user, item, day)."""
        user, item, day = zip(*rows, strict=True)
        return ibis.memtable(
            pa.table(
                {
                    "event_id": [f"e{k:06d}" for k in range(len(rows))],
                    "user_id": user,
                    "item_id": item,
                    "action": [action] * len(rows),
                    "event_ts": pa.array(
                        [START + timedelta(days=float(d)) for d in day],
                        pa.timestamp("us", tz="UTC"),
                    ),
                    "units": pa.nulls(len(rows), pa.float64()),
                }
            )
        )

    @staticmethod
    def items(item_ids, **columns):
        none = [None] * len(item_ids)
        names = ("sector", "issuer", "category")
        return ibis.memtable(
            pa.table(
                {"item_id": list(item_ids)}
                | {name: pa.array(columns.get(name, none), pa.string()) for name in names}
            )
        )

    @staticmethod
    def links(rows=()):
        """Rows of (item, relation, target, day since when it is known or None)."""
        item, relation, target, day = zip(*rows, strict=True) if rows else ([], [], [], [])
        known = [None if one is None else START + timedelta(days=one) for one in day]
        return ibis.memtable(
            pa.table(
                {
                    "item_id": pa.array(item, pa.string()),
                    "relation": pa.array(relation, pa.string()),
                    "target_id": pa.array(target, pa.string()),
                    "valid_from": pa.array(known, pa.timestamp("us", tz="UTC")),
                }
            )
        )

    @staticmethod
    def effects(rows=()):
        """Rows of (cause, effect, value, stderr)."""
        cause, effect, value, stderr = zip(*rows, strict=True) if rows else ([], [], [], [])
        return ibis.memtable(
            pa.table(
                {
                    "cause_id": pa.array(cause, pa.string()),
                    "effect_id": pa.array(effect, pa.string()),
                    "effect": pa.array(value, pa.float64()),
                    "stderr": pa.array(stderr, pa.float64()),
                    "false_sign_rate": pa.array([0.01] * len(cause), pa.float64()),
                    "low": pa.array([one - 0.2 for one in value], pa.float64()),
                    "high": pa.array([one + 0.2 for one in value], pa.float64()),
                    "support": pa.array([5] * len(cause), pa.int64()),
                }
            )
        )


@pytest.fixture
def world():
    return World
