"""Nothing after the cut may move an effect, an edge, a node or a code."""

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.split import Split, save_split
from tessera.stages.causal.params import CausalParams
from tessera.stages.causal.stage import run as run_causal
from tessera.stages.graph.params import GraphParams
from tessera.stages.graph.stage import run as run_graph
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.stage import run as run_sid

PLAIN = SidParams(codebook_size=4)
EVERYTHING = SidParams(
    codebook_size=4, fields_weight=0.5, price_weight=0.5, behaviour_weight=1.0,
    structure_weight=0.5, second_hop_weight=0.5, near_behaviour_weight=0.5, queries_weight=1.0,
    balanced=True,
)  # fmt: skip
START = datetime(2024, 1, 1, tzinfo=UTC)
CUT_DAY, LAST_DAY, EVENTS = 200, 300, 3000


def table(path):
    return ibis.memtable(pq.read_table(path))


def timestamps(days):
    return pa.array([START + timedelta(days=float(d)) for d in days], pa.timestamp("us", tz="UTC"))


def world(future_seed, past_seed=0):
    """Events of 80 investors and 20 items; only the two seeds tell worlds apart."""
    past, future = np.random.default_rng(past_seed), np.random.default_rng(100 + future_seed)
    n_past = EVENTS * CUT_DAY // LAST_DAY
    days = np.concatenate(
        [
            past.integers(0, CUT_DAY + 1, n_past),
            CUT_DAY + 0.01 + 99 * future.random(EVENTS - n_past),
        ]
    )
    pick = [np.concatenate([past.integers(0, k, n_past), future.integers(0, k, EVENTS - n_past)])
            for k in (80, 20)]  # fmt: skip
    order = future.permutation(EVENTS)  # rows come in any order
    return pa.table(
        {
            "event_id": [f"e{k:06d}" for k in range(EVENTS)],
            "user_id": [f"u{k}" for k in pick[0]],
            "item_id": [f"i{k:02d}" for k in pick[1]],
            "action": np.where(
                pick[0] % 3 == 0, "view", np.where(pick[0] % 7 == 1, "click", "buy")
            ),
            "event_ts": timestamps(days),
            "units": pa.nulls(EVENTS, pa.float64()),
            "request_id": pa.nulls(EVENTS, pa.string()),
        }
    ).take(order)


def queries(happened):
    """Before each click somebody asks, for some clicks of the future before the cut."""
    rows = [row for row in happened.to_pylist() if row["action"] == "click"]
    return pa.table(
        {
            "query_id": [row["event_id"] for row in rows],
            "user_id": [row["user_id"] for row in rows],
            "event_ts": pa.array([row["event_ts"] - timedelta(minutes=20) for row in rows],
                                 pa.timestamp("us", tz="UTC")),
            "text": [f"word{int(row['event_id'][1:]) % 5}" for row in rows],
            "request_id": pa.nulls(len(rows), pa.string()),
        }
    )  # fmt: skip


def users(future_seed):
    """Every investor is known at the start; some get another class after the cut."""
    rng = np.random.default_rng(future_seed)
    ids = [f"u{k}" for k in range(80)]
    late = rng.choice(ids, 20, replace=False).tolist()
    return pa.table(
        {
            "user_id": ids + late,
            "valid_from": timestamps([0] * 80 + [CUT_DAY + 1] * 20),
            "risk_class": pa.array([k % 4 + 1 for k in range(80)] + [4] * 20, pa.int64()),
            "capacity_class": pa.array([1] * 80 + [4] * 20, pa.int64()),
        }
    )


def items(announced=0):
    """Items, the last never touched; those announced sort first, and are like others."""
    plain = _items()
    like = plain.slice(0, announced)
    ids = pa.array([f"a{k:02d}" for k in range(announced)], pa.string())
    later = timestamps([CUT_DAY + 1] * announced)
    for name, column in (("item_id", ids), ("valid_from", later)):
        like = like.set_column(like.schema.get_field_index(name), name, column)
    return pa.concat_tables([plain, like])


def _items():
    n = 21
    none = pa.nulls(n, pa.string())
    return pa.table(
        {
            "item_id": [f"i{k:02d}" for k in range(n)],
            "name": [f"{['green', 'blue', 'old'][k % 3]} fund {k}" for k in range(n)],
            "category": [["fund", "bond"][k % 2] for k in range(n)],
            "sector": [["bank", "energy", "food"][k % 3] for k in range(n)],
            "valid_from": pa.nulls(n, pa.timestamp("us", "UTC")),
        }
        | dict.fromkeys(("subcategory", "issuer", "market_id", "text"), none)
    )


def links(future_seed):
    """Every item has a link that is known at the start; later ones differ."""
    ids = [f"i{k:02d}" for k in range(20)]
    late = np.random.default_rng(future_seed).choice(ids, 12).tolist()
    days = [0.0] * 20 + [CUT_DAY + 0.01] * 12
    return pa.table(
        {
            "item_id": ids + late,
            "relation": ["country"] * 32,
            "target_id": [f"c{k % 3}" for k in range(20)] + ["new"] * 12,
            "valid_from": timestamps(days),
        }
    )


def prices(future_seed):
    """A close of every third item every tenth day; those after the cut move with the seed."""
    rng = np.random.default_rng(future_seed)
    rows = [(k, day) for k in range(0, 21, 3) for day in range(0, LAST_DAY, 10)]
    close = [1.0 + k + day / 50 + (day > CUT_DAY) * rng.random() for k, day in rows]
    return pa.table(
        {
            "item_id": [f"i{k:02d}" for k, _ in rows],
            "price_ts": timestamps([day for _, day in rows]),
            "close_eur": close,
        }
    ).take(rng.permutation(len(rows)))


@pytest.fixture
def build(tmp_path):
    def go(future_seed, past_seed=0, protocol="time", params=PLAIN, announced=0):
        blocks = "-".join(params.block_weights)
        folder = tmp_path / f"{future_seed}-{past_seed}-{protocol}-{blocks}-{params.quantizer}"
        folder = folder / f"{params.balanced}-{announced}"
        (folder / "ledger_in").mkdir(parents=True)
        cut = START + timedelta(days=CUT_DAY)
        split = Split(cut - timedelta(30), cut, START + timedelta(LAST_DAY), protocol)
        save_split(split, folder / "split.json")
        events = ibis.memtable(world(future_seed, past_seed))
        catalogue = ibis.memtable(items(announced))
        written = {name: folder / f"{name}.parquet" for name in ("effects", "edges", "nodes")}
        run_causal(
            events=events,
            users=ibis.memtable(users(future_seed)),
            split=folder / "split.json",
            effects=written["effects"],
            params=CausalParams(),
        )
        run_graph(
            events=events,
            items=catalogue,
            effects=table(written["effects"]),
            links=ibis.memtable(links(future_seed)),
            split=folder / "split.json",
            edges=written["edges"],
            nodes=written["nodes"],
            params=GraphParams(),
        )
        run_sid(
            items=catalogue,
            nodes=table(written["nodes"]),
            edges=table(written["edges"]),
            events=events,
            prices=ibis.memtable(prices(future_seed)),
            queries=ibis.memtable(queries(world(future_seed, past_seed))),
            split=folder / "split.json",
            ledger_in=folder / "ledger_in",
            codes=folder / "codes.parquet",
            codebook=folder / "codebook",
            ledger_out=folder / "ledger_out",
            sid_health=folder / "sid_health.json",
            params=params,
        )
        names = (*written, "codes")
        return {name: (folder / f"{name}.parquet").read_bytes() for name in names}

    return go


def test_shuffling_the_future_changes_no_byte(build):
    first = build(future_seed=1)
    for seed in (2, 3):
        assert build(future_seed=seed) == first


def test_no_block_sees_the_future(build):
    first = build(future_seed=1, params=EVERYTHING)
    for seed in (2, 3):
        assert build(future_seed=seed, params=EVERYTHING) == first


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("params", [PLAIN, EVERYTHING])
def test_what_is_announced_changes_no_code_of_today(build, params, balanced):
    params = params.model_copy(update={"balanced": balanced})
    today, told = (codes_of(build(1, params=params, announced=count)) for count in (0, 6))
    assert len(told) == len(today) + 6
    assert today.items() <= told.items()


def codes_of(found):
    rows = pq.read_table(pa.BufferReader(found["codes"]))
    return dict(zip(rows["item_id"].to_pylist(), rows["sid"].to_pylist(), strict=True))


def test_blocks_do_change_codes(build):
    everything = build(1, params=EVERYTHING)["codes"]
    assert everything != build(1)["codes"]
    assert everything != build(1, past_seed=5, params=EVERYTHING)["codes"]


def test_the_past_does_change_what_is_learnt(build):
    first, other = build(future_seed=1), build(future_seed=1, past_seed=5)
    assert all(first[name] != other[name] for name in ("effects", "edges", "nodes"))
