"""A bundle of any size that nobody trained: what serving costs does not depend on what was learnt.

Weights, histories, edges and closes are drawn; shapes are those of the embedded market's model, but
for the history, which may have `LENGTH` events.  One investor in twenty has that many and more:
those are asked for.  The others have five.

Usage: python -m benchmarks.serve_world FOLDER [--items 10000] [--users 100000]

Shapes: I items, U investors, E events, R rows of a table.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.sparse import csr_matrix

from tessera.bundles import manifest
from tessera.bundles.edges import lay_out_edges
from tessera.bundles.vectors import write_trie, write_vectors
from tessera.contracts.arrays import Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.laid_out import lay_out
from tessera.model.trunk.inference import published
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import save_model
from tessera.shared.features.facts import Facts, Trials
from tessera.shared.features.links import EDGE_KINDS
from tessera.shared.features.prices import PriceHistory
from tessera.shared.features.ranking import slate_features
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy

CUT = datetime(2025, 6, 1, tzinfo=UTC)
LENGTH = 200
"""Events of a history that the model reads."""
LONG = 20
"""Every so many-th investor has a long history."""
_CODEWORDS = 33
_GROUPS = ("user", "item", "pair", "price", "graph", "causal", "sid")
_CATEGORIES = ("fund", "stock", "bond", "card", "loan")
_NEIGHBOURS = 3
"""Edges of each kind that leave an item."""
_CLOSES = 5
"""Closes of an item, a week apart."""


def user_name(number: int) -> str:
    """Return the id of an investor."""
    return f"u{number:07d}"


def item_name(number: int) -> str:
    """Return the id of an item."""
    return f"i{number:07d}"


def _feature_names() -> tuple[str, ...]:
    none = np.zeros(0, np.int64)
    facts = Facts(
        *(none,) * 7,
        risk_I=np.ones(2, np.int64),
        category_I=np.zeros(2, np.int64),
        born_I=np.zeros(2, np.int64),
        code_IL=np.zeros((2, 3), np.int64),
        closes=PriceHistory(none, none, np.zeros(0)),
        edges={kind: csr_matrix((2, 2)) for kind in EDGE_KINDS},
        trials=Trials(none, none, none, np.zeros(0)),
    )
    one = np.zeros(1, np.int64)
    return slate_features(facts, one - 1, one, one[None] + 1, _GROUPS)[0]


def _model(items: int, rng: np.random.Generator) -> SequenceModel:
    torch.manual_seed(int(rng.integers(2**31)))
    shape = Shape(
        kind="hstu", width=48, blocks=2, heads=1, length=LENGTH, dropout=0.0, id_dropout=0.0,
        time_bias=True, position_bias=True, tied_sets=True, items=items + 1,
        code_sizes=(_CODEWORDS,) * 3, rank_blocks=1, rank_hidden=32, feature_groups=_GROUPS,
        features=_feature_names(), score="rank", item_weights_width=64,
    )  # fmt: skip
    codes_VC = torch.from_numpy(rng.integers(1, _CODEWORDS, (items + 1, 3)))
    codes_VC[0] = 0
    model = SequenceModel(shape, codes_VC, torch.arange(items + 1) > 0).eval()
    weights = model.closed_form.parts["item_weights"]
    for name in ("from_VR", "to_VR"):
        table = getattr(weights, name)
        table[1:] = torch.randn(table[1:].shape) / 8
    model.closed_form.let(item_weights=0.5)
    return model


def _acts(items: int, users: int, rng: np.random.Generator) -> tuple[Ints, ...]:
    """Return user, item, action and moment of each event, by investor and time."""
    count_U = np.where(np.arange(users) % LONG, 5, LENGTH + 20)
    user_E = np.repeat(np.arange(users), count_U)
    # Some items are wanted much more than others.
    item_E = (items * rng.random(len(user_E)) ** 2).astype(np.int64)
    action_E = rng.choice(len(ACTIONS), len(user_E), p=[0.45, 0.3, 0.12, 0.03, 0.06, 0.04])
    end = int(CUT.timestamp()) * 1_000_000
    moment_E = end - rng.integers(1, 365 * DAY_US, len(user_E))
    order = np.lexsort((moment_E, user_E))
    return user_E[order], item_E[order], action_E, moment_E[order]


def _names(make: object, count: int) -> pa.Array:
    return pa.array([make(number) for number in range(count)])  # type: ignore[operator]


def _events(items: int, users: int, rng: np.random.Generator) -> pa.Table:
    user_E, item_E, action_E, moment_E = _acts(items, users, rng)
    return pa.table(
        {
            "event_id": [f"e{number:09d}" for number in range(len(user_E))],
            "user_id": _names(user_name, users).take(pa.array(user_E)),
            "item_id": _names(item_name, items).take(pa.array(item_E)),
            "action": pa.array(ACTIONS).take(pa.array(action_E)),
            "event_ts": pa.array(moment_E).cast(pa.timestamp("us", tz="UTC")),
        }
    )


def _edges(items: int, rng: np.random.Generator) -> pa.Table:
    ids, rows = _names(item_name, items), np.repeat(np.arange(items), _NEIGHBOURS)
    parts = [
        pa.table(
            {
                "source_id": ids.take(pa.array(rows)),
                "target_id": ids.take(pa.array(rng.integers(0, items, len(rows)))),
                "kind": pa.array([kind]).take(pa.array(np.zeros(len(rows), np.int64))),
                "weight": rng.random(len(rows)),
                "false_sign_rate": rng.random(len(rows)) / 10,
                "support": rng.integers(2, 99, len(rows)),
            }
        )
        for kind in EDGE_KINDS
    ]
    return pa.concat_tables(parts).sort_by(
        [(name, "ascending") for name in ("source_id", "kind", "target_id")]
    )


def _write_facts(folder: Path, tables: dict[str, pa.Table]) -> None:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    (folder / "tables.json").write_text(json.dumps(list(tables)) + "\n")


def _items(items: int, events: pa.Table, rng: np.random.Generator) -> pa.Table:
    ids, number = _names(item_name, items), np.arange(items)
    bought = events.filter(pa.compute.equal(events["action"], "buy"))
    row = pa.compute.index_in(bought["item_id"], ids).to_numpy()
    return pa.table(
        {
            "item_id": ids,
            "name": [f"Paper {one}" for one in number],
            "category": pa.array(_CATEGORIES).take(pa.array(number % len(_CATEGORIES))),
            "sector": [f"sector {one % 12}" for one in number],
            "issuer": [f"issuer {one % max(items // 20, 1)}" for one in number],
            "risk_class": rng.integers(1, 5, items),
            "alive": np.ones(items, bool),
            "popularity": np.bincount(row, minlength=items),
        }
    )


def _closes(items: int, rng: np.random.Generator) -> pa.Table:
    days = [CUT - timedelta(days=7 * week + 1) for week in range(_CLOSES)]
    rows = np.repeat(np.arange(items), _CLOSES)
    return pa.table(
        {
            "item_id": _names(item_name, items).take(pa.array(rows)),
            "price_ts": pa.array(days * items, pa.timestamp("us", tz="UTC")),
            "close_eur": 100 * np.exp(rng.normal(0, 0.05, len(rows))),
        }
    )


def _users(users: int, rng: np.random.Generator) -> pa.Table:
    return pa.table(
        {
            "user_id": _names(user_name, users),
            "valid_from": pa.array([CUT - timedelta(days=400)] * users,
                                   pa.timestamp("us", tz="UTC")),
            "risk_class": rng.integers(2, 5, users),
            "capacity_class": rng.integers(2, 5, users),
        }
    )  # fmt: skip


def _segments(events: pa.Table, people: pa.Table) -> pa.Table:
    """Count who bought what in the four weeks before the cut, by risk class, as the stage does."""
    late = pa.compute.greater(events["event_ts"], pa.scalar(CUT - timedelta(days=28)))
    bought = events.filter(pa.compute.and_(pa.compute.equal(events["action"], "buy"), late))
    risk = people["risk_class"].take(pa.compute.index_in(bought["user_id"], people["user_id"]))
    told = pa.table({"risk_class": risk, "item_id": bought["item_id"], "user": bought["user_id"]})
    counts = told.group_by(["risk_class", "item_id"]).aggregate([("user", "count_distinct")])
    counts = counts.rename_columns(["risk_class", "item_id", "investors"])
    return counts.sort_by([("risk_class", "ascending"), ("item_id", "ascending")])


def _codes(model: SequenceModel) -> pa.Table:
    """Return the codes that the model knows, each with a last one that tells it from others."""
    code_IL = model.codes_VC[1:].numpy()
    _, group_I = np.unique(code_IL, axis=0, return_inverse=True)
    order_I = np.argsort(group_I.ravel(), kind="stable")
    sorted_I = group_I.ravel()[order_I]
    last_I = np.empty(len(order_I), np.int64)
    last_I[order_I] = np.arange(len(order_I)) - np.searchsorted(sorted_I, sorted_I)
    whole_IL = np.column_stack([code_IL, last_I])
    codes = pa.FixedSizeListArray.from_arrays(pa.array(whole_IL.ravel()), whole_IL.shape[1])
    return pa.table({"item_id": _names(item_name, len(code_IL)), "code": codes})


def build(folder: Path, items: int, users: int, seed: int = 0) -> None:
    """Write the bundle into a folder that is new.

    Parameters
    ----------
    folder
        Its last part is the version.
    items, users
        How many; at least 50 of each.
    seed
        Of every draw.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    model = _model(items, rng)
    save_model(model, [item_name(number) for number in range(items)], folder / "model")
    events, people, edges = _events(items, users, rng), _users(users, rng), _edges(items, rng)
    table = _items(items, events, rng)
    facts = table.select(["item_id", "category", "risk_class"])
    born = pa.array([CUT - timedelta(days=900)] * items, pa.timestamp("us", tz="UTC"))
    never = pa.nulls(items, pa.timestamp("us", tz="UTC"))
    told = {
        "events": events, "users": people.drop_columns("capacity_class"),
        "items": facts.append_column("valid_from", born).append_column("valid_to", never),
        "prices": _closes(items, rng),
        "edges": edges.select(["source_id", "target_id", "kind", "weight"]),
        "trials": pa.table({"user_id": pa.array([user_name(0)]),
                            "event_ts": pa.array([CUT], pa.timestamp("us", tz="UTC")),
                            "item_id": pa.array([item_name(0)]), "effect": [0.01]}),
    }  # fmt: skip
    _write_facts(folder / "facts", told)
    pq.write_table(table, folder / "items.parquet", compression="zstd")
    pq.write_table(edges, folder / "neighbours.parquet", compression="zstd")
    nothing = pa.array([[]] * users, pa.list_(pa.string()))
    shown = people.drop_columns("valid_from").append_column("held", nothing)
    pq.write_table(_segments(events, people), folder / "segments.parquet", compression="zstd")
    shown = shown.append_column("dismissed", nothing)
    pq.write_table(shown, folder / "users.parquet", compression="zstd")
    with torch.inference_mode():
        unit_ID = published(model, model.items())[1:].numpy()
    width = unit_ID.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(unit_ID.ravel()), width)
    write_vectors(ibis.memtable(pa.table({"item_id": table["item_id"], "vector": vectors})), folder)
    write_trie(ibis.memtable(_codes(model)), folder)
    write_policy(ServingPolicy(SlatePolicy(0.5, 0.2, 10), 10), folder)
    _lay_out(folder, model)
    manifest.seal(folder, {"kind": "model", "judged_against": "v0"})


def _lay_out(folder: Path, model: SequenceModel) -> None:
    """Say where the cut lies, and lay out what a start maps, as the stage that packs does."""
    split = Split(CUT - timedelta(days=28), CUT, CUT + timedelta(days=30))
    save_split(split, folder / "split.json")
    lay_out_edges(folder)
    lay_out(folder / "facts", split, tied_sets=model.shape.tied_sets)


def main() -> None:
    """Build one bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    build(given.folder, given.items, given.users, given.seed)


if __name__ == "__main__":
    main()
