"""What was laid out when a bundle was packed is what its tables say, and need not be made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import ibis
import numpy as np
import pytest

from tessera.bundles import manifest
from tessera.bundles.edges import Edges
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.split import load_split
from tessera.model.sequences import laid_out
from tessera.model.sequences.catalogue import read_catalogue, read_closes
from tessera.model.sequences.fact_tables import open_facts, read_edges
from tessera.model.sequences.reading import read_histories
from tessera.serve import ranker
from tessera.serve.engine import Engine
from tessera.serve.recommend import Recommender


def without(bundle, *names):
    """Return the bundle beside itself without what was laid out."""
    other = shutil.copytree(bundle, bundle.parent / "plain" / "bundle")
    for name in names or ("edges", "facts/laid_out"):
        shutil.rmtree(other / name)
    return other


def test_arrays_are_those_that_the_tables_give(bundle):
    facts, split = bundle / "facts", load_split(bundle / "split.json")
    engine = ibis.duckdb.connect()
    engine.raw_sql("SET TimeZone = 'UTC'")
    events, tables = open_facts(facts, engine)
    vocabulary = read_catalogue(tables.items).vocabulary
    found = laid_out.open_laid_out(facts, len(vocabulary), tied_sets=True)
    histories = read_histories(events, split, vocabulary, tied_sets=True)
    assert found.histories.user_id_U == histories.user_id_U
    for name in laid_out._HISTORIES:
        np.testing.assert_array_equal(getattr(found.histories, name), getattr(histories, name))
    closes = read_closes(tables.prices, vocabulary)
    for name in laid_out._CLOSES:
        np.testing.assert_array_equal(getattr(found.relations.closes, name), getattr(closes, name))
        assert not getattr(found.relations.closes, name).flags.writeable, (
            "who writes would change a bundle"
        )
    for kind, edges in read_edges(tables.edges, vocabulary).items():
        assert not (found.relations.edges[kind] != edges).nnz
    assert any(one.nnz for one in found.relations.edges.values())
    engine.disconnect()


def test_edges_are_those_that_the_table_gives(bundle):
    shelf = Recommender.open(bundle).shelf
    laid, read = Edges.open(bundle, shelf), Edges.read(bundle, shelf)
    assert len(read.target_E)
    for one in fields(Edges):
        np.testing.assert_array_equal(getattr(laid, one.name), getattr(read, one.name))
        assert getattr(laid, one.name).dtype == getattr(read, one.name).dtype


def test_an_older_bundle_answers_the_same_from_its_tables(bundle, few, at_noon, users):
    one, other = (Engine.open(each, few) for each in (bundle, without(bundle)))
    for n, user in enumerate(users[:12]):
        told, same = (each.answer(f"r{n}", user, at_noon(n), 3) for each in (one, other))
        assert told.drawn.candidate_ids == same.drawn.candidate_ids
        np.testing.assert_array_equal(told.drawn.score_C, same.drawn.score_C)
        assert told.reasons == same.reasons


def test_a_start_makes_nothing_anew_and_reads_the_tables_of_another_form(bundle, few, monkeypatch):
    made, real = [], read_histories

    def counted(*asked, **more):
        made.append("histories")
        return real(*asked, **more)

    monkeypatch.setattr(ranker, "read_histories", counted)
    monkeypatch.setattr(Edges, "read", lambda *_: made.append("edges"))
    Engine.open(bundle, few)
    assert made == []
    monkeypatch.undo()
    monkeypatch.setattr(ranker, "read_histories", counted)
    told = bundle / "facts" / "laid_out" / "form.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"form": laid_out.FORM + 1}))
    Engine.open(bundle, few)
    assert made == ["histories"]


@pytest.mark.parametrize("name", ["edges/weight_E", "facts/laid_out/close_P"])
def test_an_array_that_was_changed_is_refused_as_every_file_is(bundle, name):
    path = bundle / f"{name}.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BrokenBundle, match=f"{name}.npy does not match the manifest"):
        manifest.check(bundle)
