"""A bundle ranks as the batch did that was judged: same features, same model, nothing later."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import CATE, PRICES
from tessera.model.sequences.catalogue import microsecond
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.fact_tables import save_facts
from tessera.model.sequences.requests import Requests
from tessera.model.trunk import saved
from tessera.model.trunk.log_scores import Known, score_log
from tessera.model.trunk.saved import load_model
from tessera.serve.ranker import open_ranker
from tessera.serve.shelf import Shelf
from tessera.shared.features.facts import NOBODY

DAY = timedelta(days=1)


def rows_as(table, rows):
    return ibis.memtable(pa.Table.from_pylist(rows, schema(table)))


@pytest.fixture(scope="module")
def told(lively, split):
    """Return the market with purchases, prices on both sides of the cut and effects before it."""
    slated = lively
    events = slated.events.to_pyarrow().to_pylist()
    for row in events[::3]:
        row["action"] = "buy"
    closes = [
        {"item_id": f"i{item:02d}", "price_ts": split.cut + day * DAY,
         "close_eur": 100.0 + item * day + day * day}
        for item in range(6) for day in range(-9, 4)
    ]  # fmt: skip
    shown = slated.exposures.filter(slated.exposures.event_ts < split.validation_from)
    ids = shown.select("request_id", "item_id").to_pyarrow().to_pylist()
    effects = [{**row, "shown": True, "effect": 0.01 * (n % 7)} for n, row in enumerate(ids)]
    changes = {
        "events": ibis.memtable(pa.Table.from_pylist(events)),
        "prices": rows_as(PRICES, closes),
        "cate": rows_as(CATE, effects),
    }
    return SimpleNamespace(**{**vars(slated), **changes})


@pytest.fixture
def params(small):
    changes = {"window_days": 2.0, "hold_days": 3.0, "slate_share": 1.0}
    return small.model_copy(update=changes)


@pytest.fixture
def bundle_of(run_trunk, stage_files):
    """Run the stage and lay beside its model what serving reads; the folder is a bundle."""

    def packed(tables, params):
        folder, _ = run_trunk(tables, params)
        shutil.copyfile(stage_files / "split.json", folder / "split.json")
        return folder

    return packed


TRAINED = {}
"""Folder of the one bundle that every test copies."""


@pytest.fixture
def bundle(bundle_of, told, params, stage_files, tmp_path_factory):
    if not TRAINED:
        made = bundle_of(told, params)
        TRAINED["bundle"] = shutil.copytree(made, tmp_path_factory.mktemp("trained") / "bundle")
    return shutil.copytree(TRAINED["bundle"], stage_files / "bundle")


def test_a_bundle_scores_what_the_batch_scores_though_the_batch_knows_what_came_later(
    bundle, told, params, split, logged_world
):
    world = logged_world(told, params)
    model, vocabulary = load_model(bundle / "model")
    moment, people = microsecond(split.cut) + 1, world.log.people
    assert max(world.histories.moment_E) > moment
    served = open_ranker(bundle)
    with_events = len(world.histories.user_id_U)
    assert with_events < len(people), "one investor never did anything"
    for person, user in enumerate(people):
        asked = Requests(
            np.array([person if person < with_events else NOBODY]),
            np.array([moment]),
            np.array([0, len(vocabulary)]),
            np.arange(1, len(vocabulary) + 1),
        )
        known = Known(np.array([person]), asked.item_C, None)
        batch = score_log(model, world.log.facts, world.histories, asked, known).served_C
        assert np.ptp(batch) > 1e-3
        np.testing.assert_allclose(served.scores(user, vocabulary), batch, atol=1e-5)


@pytest.mark.parametrize("table", ["prices", "edges", "trials", "users", "events"])
def test_every_table_of_facts_moves_the_scores(bundle, table):
    whole = open_ranker(bundle)
    shutil.rmtree(bundle / "facts" / "laid_out")  # what is laid out is not made of them again
    items, user = list(whole.row), "u003"
    path = bundle / "facts" / f"{table}.parquet"
    kept = pq.read_table(path)
    pq.write_table(kept.slice(0, len(kept) // 2 if table == "events" else 0), path)
    bare = open_ranker(bundle)
    assert np.abs(whole.scores(user, items) - bare.scores(user, items)).max() > 1e-4


def test_facts_hold_nothing_from_after_the_cut(bundle, split):
    for name, column in (("events", "event_ts"), ("prices", "price_ts"), ("trials", "event_ts"),
                         ("users", "valid_from")):  # fmt: skip
        moment = pq.read_table(bundle / "facts" / f"{name}.parquet")[column].to_pylist()
        assert moment, name
        assert max(moment) <= split.cut, name


def test_an_effect_of_a_later_request_would_not_be_packed(told, split, tmp_path):
    ids = told.exposures.select("request_id", "item_id").to_pyarrow().to_pylist()
    effects = rows_as(CATE, [{**row, "shown": True, "effect": 0.01} for row in ids])
    names = [name for name in Sources.__annotations__ if name != "cate"]
    sources = Sources(*(getattr(told, name) for name in names), effects)
    save_facts(told.events, sources.facts(), split, tmp_path)
    moment = pq.read_table(tmp_path / "trials.parquet")["event_ts"].to_pylist()
    assert 0 < len(moment) < len(ids)
    assert max(moment) <= split.cut


def test_an_unknown_item_gets_the_least_score(bundle):
    served = open_ranker(bundle)
    known, unknown = served.scores("u001", ["i00", "nowhere"])
    assert unknown < known


def column_gone(folder):
    path = folder / "facts" / "users.parquet"
    pq.write_table(pq.read_table(path).drop_columns("risk_class"), path)


def other_items(folder):
    path = folder / "facts" / "items.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "facts" / "events.parquet").unlink(),
        lambda folder: (folder / "facts" / "events.parquet").write_bytes(b"no parquet"),
        lambda folder: (folder / "facts" / "tables.json").write_text("{"),
        lambda folder: (folder / "split.json").write_text("{}"),
        lambda folder: (folder / "split.json").unlink(),
        column_gone,
        other_items,
    ],
)
def test_damaged_facts_are_refused_in_one_line(bundle, damage):
    damage(bundle)
    with pytest.raises(BrokenBundle, match="publish it again") as refused:
        open_ranker(bundle)
    assert "\n" not in str(refused.value)


def test_a_model_that_ranks_nothing_carries_no_facts(tables, small, bundle_of):
    folder = bundle_of(tables, small.model_copy(update={"rank_weight": 0.0}))
    assert [file.name for file in (folder / "facts").iterdir()] == ["tables.json"]
    assert json.loads((folder / "facts" / "tables.json").read_text()) == []
    assert open_ranker(folder) is None


def test_a_model_that_was_judged_by_effects_is_served_without_them(bundle):
    plain = open_ranker(bundle).scores("u001", ["i00", "i07"])
    config = bundle / "model" / "config.json"
    shape = json.loads(config.read_text())
    assert shape["uplift_weight"] == 0.0
    config.write_text(json.dumps(shape | {"uplift_weight": 0.5}))
    np.testing.assert_array_equal(open_ranker(bundle).scores("u001", ["i00", "i07"]), plain)


def test_only_what_features_read_is_packed(bundle):
    columns = {
        path.stem: pq.read_schema(path).names for path in (bundle / "facts").glob("*.parquet")
    }
    assert columns["users"] == ["user_id", "valid_from", "risk_class"]
    assert not {"name", "text"} & set(columns["items"])
    assert columns["edges"] == ["source_id", "target_id", "kind", "weight"]


def test_weights_that_stay_in_the_file_score_the_same_and_ids_are_kept_once(bundle, monkeypatch):
    plain = open_ranker(bundle)
    monkeypatch.setattr(saved, "_LARGE", 0)
    shelf = Shelf.of(pa.table({"item_id": plain.item_ids}))
    mapped = open_ranker(bundle, shelf)
    np.testing.assert_array_equal(
        mapped.scores("u001", plain.item_ids), plain.scores("u001", plain.item_ids)
    )
    path = bundle / "model" / "model.safetensors"
    assert str(path) in Path("/proc/self/maps").read_text()
    weights = load_file(path)
    model, _ = load_model(bundle / "model", mapped=True)
    assert {name: one.tolist() for name, one in model.state_dict().items()} == {
        name: one.tolist() for name, one in weights.items()
    }
    assert mapped.item_ids is shelf.ids
    assert dict(mapped.row) == plain.row
    assert (mapped.row.get("i00"), mapped.row.get("none", 0)) == (plain.row["i00"], 0)
    other = open_ranker(bundle, Shelf.of(pa.table({"item_id": plain.item_ids[::-1]})))
    assert dict(other.row) == plain.row
