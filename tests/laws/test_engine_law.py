"""What stages ask of their tables has the same rows on Spark as on DuckDB, after ingest too.

Each question is the one that a stage asks, of the same drawn tables; none is written twice.  Where
Spark cannot start, it is skipped with the reason.
"""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from tessera.contracts.split import Split, phased, save_split
from tessera.shared.engines.spark import fault, open_spark
from tessera.shared.features.asof import as_of
from tessera.shared.features.attribution import reward, tally
from tessera.stages.causal.panel import build_panel
from tessera.stages.causal.params import CausalParams
from tessera.stages.evaluate.holdout import build_holdout
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.graph.links import causal, declared, first_acquisitions, linked
from tessera.stages.graph.params import GraphParams
from tessera.stages.graph.stage import run as run_graph
from tessera.stages.monitor import frames
from tessera.stages.monitor.params import MonitorParams
from tessera.stages.monitor.spec import load_watch
from tessera.stages.ope.reading import read_case_log
from tessera.stages.sid.history import acquired
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.searched import searched
from tessera.stages.uplift.trials import pairs, with_purchases, with_versions

pytestmark = [
    pytest.mark.skipif(fault() is not None, reason=fault() or "Spark can start"),
    pytest.mark.filterwarnings("ignore"),
]

START = datetime(2024, 1, 1, tzinfo=UTC)
SPLIT = Split(START + timedelta(50), START + timedelta(70), START + timedelta(95))
ORDER = Split(SPLIT.validation_from, SPLIT.cut, SPLIT.test_until, "leave_last_out", ordinal=True)
ITEMS = [f"i{number:02d}" for number in range(14)] + ["Ä", "a b"]
USERS = [f"u{number:02d}" for number in range(30)]
WEEK = 7.0
WATCH = Path(__file__).resolve().parents[2] / "monitoring" / "watch.yaml"


def drawn():
    """Draw tables in which times tie, keys repeat, and cells are null and NaN."""
    rng = np.random.default_rng(7)

    def of(values, count):
        return [values[number] for number in rng.integers(0, len(values), count)]

    def days(count, last=100):
        hours = rng.integers(0, 4 * last, count) * 6
        return pa.array([START + timedelta(hours=int(one)) for one in hours], _TIME)

    events, requests, asked = 500, 60, 80
    eur = [None, 0.0, 2.5, 40.25, float("nan"), 1e6]
    exposure = [row for number in range(requests) for row in _slate(rng, number)]
    answered = [exposure[place] for place in rng.integers(0, len(exposure), 120)]
    return {
        "events": {
            "event_id": [f"e{number:04d}" for number in range(events)],
            "user_id": of(USERS, events),
            "item_id": of(ITEMS, events),
            "action": of(["buy", "buy", "rate", "sell", "click", "view"], events),
            "event_ts": days(events),
            "time_kind": of(["exact", "snapshot"], events),
            "amount_eur": pa.array(of(eur, events), pa.float64()),
            "units": pa.array(of([None, 1.0, 4.5, 3.0], events), pa.float64()),
            "channel": of([None, "web"], events),
            "request_id": of([None, *(f"r{number:03d}" for number in range(requests))], events),
        },
        "items": {
            "item_id": ITEMS,
            **{name: of([None, "x", "y"], len(ITEMS)) for name in _WORDS},
            "risk_class": pa.array(of([None, 1, 2, 4], len(ITEMS)), pa.int64()),
            "valid_from": pa.array(of([None, START + timedelta(80)], len(ITEMS)), _TIME),
            "valid_to": pa.array(of([None, None, START + timedelta(60)], len(ITEMS)), _TIME),
        },
        "users": {
            "user_id": [*USERS[1:], *USERS[5:20]],
            "valid_from": pa.array(
                [START + timedelta(number % 3) for number in range(len(USERS) - 1)]
                + [START + timedelta(40 + number) for number in range(15)],
                _TIME,
            ),
            "risk_class": pa.array(of([None, 1, 2, 4], len(USERS) + 14), pa.int64()),
            "capacity_class": pa.array(of([None, 1, 3], len(USERS) + 14), pa.int64()),
            "segment": of([None, "mass", "private"], len(USERS) + 14),
        },
        "exposures": pa.Table.from_pylist(
            exposure + exposure[:5],
            pa.schema(
                {
                    **dict.fromkeys(("request_id", "user_id", "item_id", "policy_id"), pa.string()),
                    **{"position": pa.int64(), "event_ts": _TIME, "propensity": pa.float64()},
                    "candidate_ids": pa.list_(pa.string()),
                    "candidate_propensities": pa.list_(pa.float64()),
                }.items()
            ),
        ),
        "outcomes": {
            "request_id": [row["request_id"] for row in answered[:-6]] + ["gone"] * 6,
            "item_id": [row["item_id"] for row in answered],
            "action": of(["click", "buy", "dismiss"], len(answered)),
            "value": pa.array(of([None, 1.0, 2.25], len(answered)), pa.float64()),
            "event_ts": pa.array(
                [row["event_ts"] + timedelta(days=int(rng.integers(-1, 10))) for row in answered],
                _TIME,
            ),
        },
        "links": {
            "item_id": of([*ITEMS, "elsewhere"], 40),
            "relation": of(["country", "in:dex", "50%"], 40),
            "target_id": of(["IT", "FR", "m:i"], 40),
            "valid_from": pa.array(of([None, START, START + timedelta(90)], 40), _TIME),
        },
        "effects": {
            "cause_id": np.repeat(ITEMS, len(ITEMS)).tolist(),
            "effect_id": ITEMS * len(ITEMS),
            "effect": rng.normal(size=len(ITEMS) ** 2),
            "stderr": rng.random(len(ITEMS) ** 2),
            "support": rng.integers(1, 9, len(ITEMS) ** 2),
            **{name: rng.random(len(ITEMS) ** 2) for name in ("false_sign_rate", "low", "high")},
        },
        "queries": {
            "query_id": [f"q{number:03d}" for number in range(asked)],
            "user_id": of(USERS, asked),
            "event_ts": days(asked),
            "text": of(["a fund", "Überseefonds", "gold bond"], asked),
            "request_id": of([None, *(f"r{number:03d}" for number in range(requests))], asked),
        },
    }


_TIME = pa.timestamp("us", tz="UTC")
_WORDS = ("category", "subcategory", "sector", "issuer", "market_id", "name", "text")


def _slate(rng, number):
    when = START + timedelta(hours=int(rng.integers(0, 400)) * 6)
    user = USERS[rng.integers(0, len(USERS))]
    among = [ITEMS[place] for place in sorted(rng.permutation(len(ITEMS))[:5])]
    policy = ["log", "log", "log:unexplored"][number % 3]
    for position in range(1, 4):
        chance = rng.dirichlet(np.ones(5)).tolist()
        place = (number + position) % 5
        yield {"request_id": f"r{number:03d}", "position": position, "user_id": user,
               "item_id": among[place], "event_ts": when, "policy_id": policy,
               "propensity": chance[place], "candidate_ids": among,
               "candidate_propensities": chance}  # fmt: skip


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Open the same files on both engines."""
    folder = tmp_path_factory.mktemp("engines")
    for name, rows in drawn().items():
        pq.write_table(rows if isinstance(rows, pa.Table) else pa.table(rows), _at(folder, name))
    duckdb = ibis.duckdb.connect()
    duckdb.raw_sql("SET TimeZone = 'UTC'")
    with open_spark(1, folder, "law") as spark:
        spark.session.conf.set("spark.sql.shuffle.partitions", 2)
        yield {
            name: {
                one: connection.read_parquet(_at(folder, one), table_name=one) for one in drawn()
            }
            for name, connection in (("duckdb", duckdb), ("pyspark", spark.connection))
        }
    duckdb.disconnect()


def _at(folder, name):
    return folder / f"{name}.parquet"


def plain(value):
    """Values that can be compared; rows of a table in the order of their text."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, ir.Table):
        rows = value.to_pyarrow()
        value = [rows.schema.names, *sorted(map(repr, rows.to_pylist()))]
    if sparse.issparse(value):
        value = value.toarray()
    if isinstance(value, pa.Table | pa.Array | pa.ChunkedArray):
        value = value.to_pylist()
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def _interactions(on):
    window = frames.Window(SPLIT, load_watch(WATCH), MonitorParams())
    return frames.interactions(on["events"], window)


def _trials(on):
    bought = with_purchases(pairs(on["exposures"]), on["events"], WEEK)
    found = with_versions(bought, on["users"])
    return found.mutate(never=found.never.round(12))  # logarithms differ in their last bit


def _log(on):
    read = read_case_log(
        on["exposures"], on["outcomes"], on["users"], pa.array(ITEMS), SPLIT.validation_from, WEEK
    )
    return [plain(read.log), plain(read.past), read.counts]


def _known(on):
    return on["users"].select("user_id", "valid_from", "segment", "risk_class")


def _ids():
    return np.array(sorted(ITEMS), dtype=object)


ASKED = {
    "split by time": lambda on: phased(on["events"], SPLIT).select("event_id", "phase"),
    "split by order": lambda on: phased(on["events"], ORDER).select("event_id", "phase"),
    "attribution": lambda on: reward(on["exposures"], on["outcomes"], WEEK),
    "what attribution left out": lambda on: tally(on["exposures"], on["outcomes"], WEEK),
    "as of": lambda on: as_of(
        on["events"], _known(on), by="user_id", at="event_ts", since="valid_from"
    ),
    "panel of effects": lambda on: build_panel(on["events"], on["users"], SPLIT, CausalParams()),
    "first acquisitions": lambda on: first_acquisitions(on["events"], _ids(), SPLIT, GraphParams()),
    "edges of effects": lambda on: causal(on["effects"], _ids(), GraphParams()),
    "declared edges": lambda on: declared(on["items"]),
    "links": lambda on: linked(on["links"], _ids(), SPLIT),
    "acquired, for codes": lambda on: acquired(
        on["events"].filter(on["events"].event_ts <= SPLIT.cut), sorted(ITEMS), SPLIT, SidParams()
    ),
    "searched": lambda on: searched(on["queries"], on["events"], sorted(ITEMS), SPLIT),
    "trials": _trials,
    "holdout": lambda on: build_holdout(on["events"], on["items"], SPLIT, EvaluateParams()),
    "log that is judged": _log,
    "pairs that monitor watches": _interactions,
}
"""What a stage asks of its tables -> the stage's own function."""


@pytest.mark.parametrize("name", ASKED)
def test_both_engines_give_equal_rows(engines, name):
    one, other = (plain(ASKED[name](engines[engine])) for engine in ("duckdb", "pyspark"))
    assert one, "of no rows nothing follows"
    assert other == one


def test_the_stage_graph_writes_the_same_bytes(engines, tmp_path):
    """Edges are joined on Spark and multiplied as matrices beside DuckDB, to the last bit."""
    save_split(SPLIT, tmp_path / "split.json")

    def written(engine):
        on = engines[engine]
        paths = [tmp_path / f"{name}-{engine}.parquet" for name in ("edges", "nodes")]
        told = run_graph(
            **{name: on[name] for name in ("events", "items", "effects", "links")},
            split=tmp_path / "split.json", edges=paths[0], nodes=paths[1],
            params=GraphParams(engine=engine, neighbours=4),
        )  # fmt: skip
        return told, *(path.read_bytes() for path in paths)

    assert written("pyspark") == written("duckdb")
