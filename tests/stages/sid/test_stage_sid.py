"""The stage over several days of a growing catalogue."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import CODES
from tessera.shared.codes.trie import build_trie
from tessera.stages.sid import stage
from tessera.stages.sid.ledger import read_codebook
from tessera.stages.sid.migration import read_migration
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.stage import run

CUT = datetime(2021, 7, 1, tzinfo=UTC)
ITEM_SCHEMA = pa.schema(
    [
        *((n, pa.string()) for n in ("item_id", "name", "category", "subcategory", "sector")),
        *((n, pa.string()) for n in ("issuer", "market_id", "text")),
        ("valid_from", pa.timestamp("us", "UTC")),
    ]
)
SMALL = SidParams(codebook_size=4, text_width=16)


@pytest.fixture
def day(catalogue, tmp_path):
    """Run one day; the ledger of the day before comes in, none on the first."""

    def go(name, before=None, n=48, params=SMALL, **tables):
        folder = tmp_path / name
        folder.mkdir()
        ledger_in = folder / "ledger_in" if before is None else before / "ledger_out"
        ledger_in.mkdir(exist_ok=True)
        save_split(Split(CUT - timedelta(28), CUT, CUT + timedelta(28)), folder / "split.json")
        metrics = run(
            items=tables.get("items", catalogue.items(n)),
            nodes=tables.get("nodes", catalogue.nodes(n)),
            edges=catalogue.edges([("i000", "i001", 1.0)]),
            events=tables.get("events", catalogue.events()),
            prices=catalogue.prices([("i000", 5, 1.0), ("i000", 4, 1.1), ("i001", 3, 2.0)]),
            queries=tables.get("queries", catalogue.queries()),
            split=folder / "split.json",
            ledger_in=ledger_in,
            codes=folder / "codes.parquet",
            codebook=folder / "codebook",
            ledger_out=folder / "ledger_out",
            sid_health=folder / "sid_health.json",
            params=params,
        )
        return metrics, folder

    return go


def codes_of(folder):
    rows = pq.read_table(folder / "codes.parquet")
    return dict(zip(rows["item_id"].to_pylist(), rows["sid"].to_pylist(), strict=True))


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_codes_follow_the_contract_and_tell_every_item_apart(day):
    metrics, folder = day("one")
    rows = pq.read_table(folder / "codes.parquet")
    assert rows.schema.equals(schema(CODES))
    assert rows["item_id"].to_pylist() == sorted(rows["item_id"].to_pylist())
    assert len(set(rows["sid"].to_pylist())) == 48 == metrics["items"]
    code = rows["code"].to_pylist()
    assert all("-".join(map(str, c)) == sid for c, sid in zip(code, rows["sid"].to_pylist(),
               strict=True))  # fmt: skip
    assert build_trie(__import__("numpy").array(code)).length == SMALL.levels + 1


@pytest.mark.parametrize("quantizer", ["rkmeans", "rqvae"])
def test_two_builds_give_the_same_bytes_whatever_the_order_of_rows(day, catalogue, rng, quantizer):
    params = SMALL.model_copy(update={"quantizer": quantizer, "epochs": 3})
    _, one = day("one", params=params)
    mixed = {
        "items": catalogue.items(order=rng.permutation(48)),
        "nodes": catalogue.nodes(order=rng.permutation(48)),
    }
    _, two = day("two", params=params, **mixed)
    assert len(tree(one)) == 11
    assert tree(one) == tree(two)


@pytest.mark.parametrize("quantizer", ["rkmeans", "rqvae"])
def test_an_item_keeps_its_code_while_the_catalogue_grows(day, catalogue, quantizer):
    params = SMALL.model_copy(update={"quantizer": quantizer, "epochs": 3})
    _, monday = day("monday", params=params)
    metrics, tuesday = day(
        "tuesday", monday, n=70, params=params, nodes=catalogue.nodes(70, seed=9)
    )
    before, after = codes_of(monday), codes_of(tuesday)
    assert {item: after[item] for item in before} == before
    assert len(after) == 70
    assert metrics["items_new"] == 22.0
    assert metrics["churn"] == 0.0
    assert metrics["drift"] > 0.0  # the topology moved, the codes did not
    book = "codebook/codebook.safetensors"
    assert (monday / book).read_bytes() == (tuesday / book).read_bytes()


def test_an_item_that_leaves_and_returns_finds_its_code(day):
    _, monday = day("monday")
    _, tuesday = day("tuesday", monday, n=40)
    _, wednesday = day("wednesday", tuesday, n=48)
    assert len(codes_of(tuesday)) == 40
    assert codes_of(wednesday) == codes_of(monday)


def test_other_params_start_a_new_generation_and_the_old_one_comes_back(day):
    other = SMALL.model_copy(update={"generation": 1, "seed": 5})
    _, monday = day("monday")
    metrics, tuesday = day("tuesday", monday, params=other)
    assert metrics["churn"] > 0.5
    assert metrics["items_new"] == 48.0
    _, wednesday = day("wednesday", tuesday)
    assert codes_of(wednesday) == codes_of(monday)
    assert (
        len(json.loads((wednesday / "ledger_out" / "ledger.json").read_text())["generations"]) == 2
    )


def test_a_new_generation_says_where_every_code_went(day):
    _, monday = day("monday")
    other = SMALL.model_copy(update={"behaviour_weight": 1.0})
    _, tuesday = day("tuesday", monday, params=other)
    before, after = json.loads((tuesday / "ledger_out" / "ledger.json").read_text())["generations"]
    found = read_migration(tuesday / "ledger_out" / after)
    assert found.before == before
    told = {"-".join(map(str, old)): "-".join(map(str, new))
            for old, new in found.translation().items()}  # fmt: skip
    assert {told[old] for old in codes_of(monday).values()} == set(codes_of(tuesday).values())
    assert 0 < found.churn_L[0] <= found.churn_L[-1] < 1
    _, wednesday = day("wednesday", tuesday, n=60, params=other)
    again = tree(wednesday / "ledger_out" / after)
    assert {name: again[name] for name in again if "migration" in name} == {
        name: data for name, data in tree(tuesday / "ledger_out" / after).items()
        if "migration" in name}  # fmt: skip


@pytest.mark.parametrize(
    "damage", ["entries.parquet", "codebook.safetensors", "reference.json", ""]
)
def test_a_ledger_cut_in_half_is_one_clear_line_and_nothing_is_written(day, damage):
    params = SMALL.model_copy(update={"behaviour_weight": 1.0})
    _, monday = day("monday", params=params)
    generation = json.loads((monday / "ledger_out" / "ledger.json").read_text())["generations"][0]
    path = monday / "ledger_out" / generation
    shutil.rmtree(path) if not damage else (path / damage).unlink()
    with pytest.raises(BadInput, match=r"^code ledger .* restore it"):
        day("tuesday", monday, params=params)
    assert not (monday.parent / "tuesday" / "ledger_out").exists()


def test_balanced_codes_collide_only_where_they_must_and_stay(day, catalogue):
    plain, _ = day("plain")
    params = SMALL.model_copy(update={"balanced": True, "codebook_size": 8})
    metrics, monday = day("monday", params=params)
    assert plain["collision_rate"] > 0.1
    assert metrics["collision_rate"] < 0.01
    _, tuesday = day("tuesday", monday, n=70, params=params)
    before, after = codes_of(monday), codes_of(tuesday)
    assert {item: after[item] for item in before} == before


def test_blocks_of_behaviour_meet_an_item_of_tomorrow_in_the_same_space(day, catalogue):
    params = SMALL.model_copy(update={"behaviour_weight": 1.0, "near_behaviour_weight": 1.0})
    _, monday = day("monday", params=params)
    metrics, tuesday = day("tuesday", monday, n=60, params=params, events=catalogue.events(60))
    assert metrics["items_new"] == 12.0
    assert codes_of(monday).items() <= codes_of(tuesday).items()


def test_topology_that_the_first_level_alone_is_of_is_kept_with_the_codebook(day, catalogue):
    params = SMALL.model_copy(update={"coarse_blocks": ("topology",)})
    _, plain = day("plain")
    _, monday = day("monday", params=params)
    assert (
        json.loads((plain / "ledger_out" / "ledger.json").read_text())["generations"]
        != json.loads((monday / "ledger_out" / "ledger.json").read_text())["generations"]
    )
    codeword_LKD = read_codebook(monday / "codebook").quantizer.codeword_LKD
    assert codeword_LKD[0, :, -4:].any()
    assert not codeword_LKD[1:, :, -4:].any(), "degree, PageRank, core number and clustering"
    metrics, tuesday = day(
        "tuesday", monday, n=70, params=params, nodes=catalogue.nodes(70, seed=9)
    )
    assert metrics["items_new"] == 22.0
    assert codes_of(monday).items() <= codes_of(tuesday).items()


def test_the_health_report_counts_each_level(day):
    metrics, folder = day("one")
    report = json.loads((folder / "sid_health.json").read_text())
    assert len(report["levels"]) == SMALL.levels
    assert report["quantizer"] == "rkmeans"
    assert metrics["perplexity_0"] == report["levels"][0]["perplexity"] > 2.0
    assert 0.0 < report["collision_rate"] < 1.0
    assert 1 / 48 < report["capacity"] < 1.0, "suffixes are left out"
    assert report["reconstruction_error"] < 0.7
    kept = [level["neighbours_kept"] for level in report["levels"]]
    assert 0.2 < kept[0] < kept[-1] < 1.0
    assert all(isinstance(value, float) for value in metrics.values())


def test_the_report_says_what_noise_and_behaviour_make_of_each_level(day):
    metrics, folder = day("one")
    report = json.loads((folder / "sid_health.json").read_text())
    errors = [level["error"] for level in report["levels"]]
    assert errors == sorted(errors, reverse=True)
    assert 0.0 < report["noise"] < 1.0
    assert report["noise"] < report["noise_margin"], "codes stand what the data does to them"
    assert 0.0 <= report["flip_rate"] <= 1.0
    assert report["flip_rate"] == report["levels"][-1]["flip_rate"]
    assert all(0.0 < level["geometry"] <= 1.0 for level in report["levels"])
    assert metrics["error_2"] == report["levels"][2]["error"]


def test_where_nobody_acquired_two_items_behaviour_is_left_out(day, catalogue, monkeypatch):
    monkeypatch.setattr(catalogue, "edges", lambda _=(): ibis.memtable(
        {"source_id": ["i000"], "target_id": ["i001"], "kind": ["sector"], "weight": [1.0],
         "support": [0]}))  # fmt: skip
    metrics, folder = day("one")
    report = json.loads((folder / "sid_health.json").read_text())
    assert report["soft_matching"] is None
    assert report["levels"][0]["hit_rate"] is None
    assert "soft_matching" not in metrics
    assert "hit_rate_0" not in metrics


def test_codes_without_text_or_graph_still_come_apart(day, catalogue):
    metrics, folder = day("one", items=catalogue.items(text="same"), nodes=catalogue.nodes(seen=0))
    assert len(set(codes_of(folder).values())) == 48
    assert metrics["collision_rate"] == pytest.approx(47 / 48)


def test_residual_k_means_does_not_import_torch():
    check = "import sys, tessera.stages.sid.stage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_an_item_born_after_the_cut_changes_no_codebook(day, catalogue):
    rows = catalogue.items(48).to_pyarrow().to_pylist()
    future = next(row for row in rows if row["item_id"] == "i047")
    future["valid_from"] = CUT + timedelta(1)
    words = {}
    for name in ("bond coupon yield", "zebra yacht zither"):
        future["text"] = name
        words[name.split()[0]] = ibis.memtable(pa.Table.from_pylist(rows, ITEM_SCHEMA))
    _, plain = day("plain", items=words["bond"])
    _, wild = day("wild", items=words["zebra"])
    assert tree(plain / "codebook") == tree(wild / "codebook")


def born_later(catalogue, ids):
    """The catalogue with some items announced for the day after the cut, each like the first."""
    rows = catalogue.items(48).to_pyarrow().to_pylist()
    announced = [{**rows[0], "item_id": item, "valid_from": CUT + timedelta(1)} for item in ids]
    return ibis.memtable(pa.Table.from_pylist(rows + announced, ITEM_SCHEMA))


@pytest.mark.parametrize("balanced", [False, True])
def test_an_item_that_is_announced_changes_no_code_of_today(day, catalogue, balanced):
    params = SMALL.model_copy(update={"balanced": balanced})
    _, plain = day("plain", params=params)
    _, told = day("told", params=params, items=born_later(catalogue, ["a000", "a001"]))
    assert codes_of(plain).items() <= codes_of(told).items()
    assert len(codes_of(told)) == 50


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_catalogue_of_which_nothing_is_born_is_one_clear_line(day, catalogue, weight):
    params = SMALL.model_copy(update={"fields_weight": weight, "behaviour_weight": weight})
    rows = catalogue.items(48).to_pyarrow().to_pylist()
    unborn = [{**row, "valid_from": CUT + timedelta(1)} for row in rows]
    with pytest.raises(BadInput, match="no item was born by the cut"):
        day("one", params=params, items=ibis.memtable(pa.Table.from_pylist(unborn, ITEM_SCHEMA)))


def test_what_balance_moved_is_no_drift_and_is_what_is_measured(day):
    params = SMALL.model_copy(update={"balanced": True})
    first, monday = day("monday", params=params)
    again, _ = day("tuesday", monday, params=params)
    assert again["drift"] == 0.0
    plain, _ = day("plain")
    assert first["reconstruction_error"] > plain["reconstruction_error"], "of codes as given"
    assert first["error_2"] != plain["error_2"]


def test_vectors_that_are_not_finite_meet_no_frozen_codebook(day, monkeypatch):
    _, monday = day("monday")
    monkeypatch.setattr(stage, "vectorise", lambda *_: np.full((48, 48), np.nan))
    with pytest.raises(BadInput, match="not finite"):
        day("tuesday", monday)


def test_an_item_that_stands_twice_is_one_clear_line(day, catalogue):
    rows = catalogue.items(48).to_pyarrow()
    with pytest.raises(BadInput, match="item i001 stands twice"):
        day("one", items=ibis.memtable(pa.concat_tables([rows, rows.slice(1, 1)])))
