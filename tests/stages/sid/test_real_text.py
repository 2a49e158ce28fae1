"""Codes of a real catalogue, from its text alone, beside published figures for the same text."""

import gzip

import ibis
import pyarrow as pa
import pytest

from tessera.shared.codes.health import collision_rate, level_health
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizers import rkmeans
from tessera.stages.sid.vectors import fit_space, read_catalogue, vectorise

TEXT_ONLY = SidParams(text_width=128, neighbourhood_weight=0.0, topology_weight=0.0, iterations=10)


@pytest.fixture
def beauty(official, catalogue):
    """Items of the RecBole atomic file: id, title, type, rank, categories, price, brand."""
    path = official / "amazon-2014-5core" / "RecBole_Amazon_Beauty.item.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines][1:]
    rows = sorted(row for row in rows if len(row) == 7)
    columns = {"item_id": 0, "name": 1, "text": 4, "issuer": 6}
    empty = dict.fromkeys(("category", "subcategory", "sector", "market_id"))
    table = {name: pa.array([row[k] or None for row in rows]) for name, k in columns.items()}
    none = pa.nulls(len(rows), pa.string())
    items = ibis.memtable(pa.table(table | dict.fromkeys(empty, none)))
    return read_catalogue(items, catalogue.nodes(1), catalogue.edges())


@pytest.mark.real_data
def test_the_text_of_real_products_fills_every_level(beauty):
    vectors = vectorise(beauty, fit_space(beauty, TEXT_ONLY), TEXT_ONLY)
    found = rkmeans.fit(vectors, 256, TEXT_ONLY, beauty.neighbour_NN)
    code = found.encode(vectors)
    levels = [level_health(code[:, level], 256) for level in range(3)]
    assert len(code) > 12_000
    assert [level["used"] for level in levels] == [256.0] * 3
    assert levels[0]["perplexity"] > 180  # 187 is the figure to beat, by the same recipe
    assert levels[1]["perplexity"] > 130
    assert levels[2]["perplexity"] > 115
    assert collision_rate(code) < 0.25
