"""A small catalogue with text, topology and neighbours."""

import ibis
import numpy as np
import pyarrow as pa
import pytest

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


@pytest.fixture
def catalogue():
    return Catalogue
