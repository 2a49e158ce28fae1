"""The stage on a tiny world, by both routes."""

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import save_split
from tessera.contracts.tables import EDGES, NODES
from tessera.stages.graph.params import GraphParams
from tessera.stages.graph.stage import run

ROWS = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 3), ("b", "z", 9), ("c", "z", 120)]


@pytest.fixture
def build(world, tmp_path):
    def go(rows=ROWS, effects=(("x", "y", 0.4, 0.1), ("x", "z", -0.1, 0.01)), told=(), **params):
        save_split(world.split, tmp_path / "split.json")
        settings = GraphParams(**({"least_support": 1} | params))
        metrics = run(
            events=world.events(rows),
            items=world.items("wxyz", sector=["bank", "bank", None, None]),
            effects=world.effects(effects),
            links=world.links(told),
            split=tmp_path / "split.json",
            edges=tmp_path / "edges.parquet",
            nodes=tmp_path / "nodes.parquet",
            params=settings,
        )
        edges = pq.read_table(tmp_path / "edges.parquet")
        return metrics, edges, pq.read_table(tmp_path / "nodes.parquet")

    return go


def test_both_tables_follow_their_contract(build):
    metrics, edges, nodes = build()
    assert edges.schema.equals(schema(EDGES))
    assert nodes.schema.equals(schema(NODES))
    keys = list(zip(*(edges[name].to_pylist() for name in EDGES.key), strict=True))
    assert len(keys) == len(set(keys))
    assert nodes["item_id"].to_pylist() == ["w", "x", "y", "z"]
    assert metrics["edges_co_acquired"] == 6.0


def test_an_item_without_events_is_new_zero_and_still_linked_to_its_sector(build):
    _, edges, nodes = build()
    new = nodes.slice(0, 1).to_pylist()[0]
    assert new["is_new"]
    assert new["community"] == -1
    zeros = set(NODES.names) - {"item_id", "is_new", "community"}
    assert all(new[name] == 0 for name in zeros)
    assert ("w", "sector:bank") in set(
        zip(edges["source_id"].to_pylist(), edges["target_id"].to_pylist(), strict=True)
    )


def test_links_are_edges_as_known_at_the_cut_and_later_ones_change_no_byte(build, tmp_path):
    told = [("w", "country", "IT", None), ("x", "country", "IT", 100), ("x", "index", "MSCI", 3),
            ("elsewhere", "country", "IT", None)]  # fmt: skip
    _, edges, _ = build(told=told)
    rows = edges.filter(pa.compute.equal(edges["kind"], "link")).to_pylist()
    found = [(row["source_id"], row["target_id"], row["weight"]) for row in rows]
    assert found == [("w", "country:IT", 0.5), ("x", "country:IT", 0.5), ("x", "index:MSCI", 1.0)]
    before = (tmp_path / "edges.parquet").read_bytes()
    build(told=[*told[::-1], ("y", "country", "IT", 101), ("w", "index", "MSCI", 120)])
    assert (tmp_path / "edges.parquet").read_bytes() == before


def test_links_of_relations_with_colons_do_not_fall_together(build):
    told = [("w", "a:b", "c", None), ("x", "a", "b:c", None), ("y", "a%3Ab", "c", None)]
    _, edges, _ = build(told=told)
    rows = edges.filter(pa.compute.equal(edges["kind"], "link")).to_pylist()
    assert len({row["target_id"] for row in rows}) == 3
    assert {row["weight"] for row in rows} == {1.0}


def test_topology_of_the_tiny_world_by_hand(build):
    _, _, nodes = build()
    rows = {row["item_id"]: row for row in nodes.to_pylist()}
    assert [rows[name]["degree"] for name in "xyz"] == [2.0, 2.0, 2.0]
    assert [rows[name]["core_number"] for name in "xyz"] == [2.0, 2.0, 2.0]
    assert [rows[name]["clustering"] for name in "xyz"] == [1.0, 1.0, 1.0]
    assert sum(rows[name]["pagerank"] for name in "xyz") == pytest.approx(1.0)
    assert rows["x"]["causal_out"] == pytest.approx(0.3)
    assert rows["y"]["causal_in"] == pytest.approx(0.4)
    assert rows["z"]["causal_in"] == pytest.approx(-0.1)
    assert rows["x"]["neighbour_degree"] == 2.0


def test_both_routes_give_the_same_measures(build):
    small = build(networkx_edges=1_000)[2].to_pydict()
    large = build(networkx_edges=0)[2].to_pydict()
    for name in set(NODES.names) - {"item_id", "community"}:
        assert small[name] == pytest.approx(large[name], abs=1e-9)


def test_an_item_that_was_only_looked_at_is_not_new(build):
    _, _, nodes = build(rows=[*ROWS, ("a", "w", 5)], acquired=("sell",))
    assert nodes["is_new"].to_pylist() == [False] * 4


def test_a_world_without_acquisitions_has_only_declared_edges(build):
    metrics, edges, nodes = build(rows=[("c", "z", 120)], effects=())
    assert set(edges["kind"].to_pylist()) == {"sector"}
    assert nodes["is_new"].to_pylist() == [True] * 4
    assert metrics["mean_degree"] == 0.0


def test_joins_write_the_same_bytes(build, tmp_path):
    """Joins run where the events are, on DuckDB here; `tests/laws` has them on Spark."""

    def written(**params):
        metrics, *_ = build(**params)
        return metrics, *(
            (tmp_path / f"{name}.parquet").read_bytes() for name in ("edges", "nodes")
        )

    assert written(engine="pyspark") == written()
    assert not list(tmp_path.glob(".graph-*")), "what was joined is gone"
