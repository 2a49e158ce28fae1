"""What looks at few of a million items finds what a look at each would."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.bundles.edges import KINDS, Edges
from tessera.bundles.vectors import write_trie
from tessera.contracts.arrow import schema
from tessera.contracts.components import component
from tessera.contracts.tables import CODES
from tessera.serve import evenly as evenly_module
from tessera.serve.evenly import evenly
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found, Ordered
from tessera.serve.shelf import Shelf

ITEMS = 300
IDS = [f"i{n:03d}" for n in range(ITEMS)]


@pytest.fixture(params=[True, False], ids=["blindly", "of few"])
def many(request, monkeypatch):
    """Rows are too many to look at each, or not."""
    monkeypatch.setattr(evenly_module, "FEW", 10 if request.param else 10_000)


@pytest.mark.parametrize("open_rows", [range(0, ITEMS, 3), range(7), range(0)])
def test_a_draw_holds_open_rows_alone_none_twice_and_as_many_as_there_are(
    many, open_rows, rng, monkeypatch
):
    monkeypatch.setattr(evenly_module, "_TRIES", 20)
    open_I = np.zeros(ITEMS, bool)
    open_I[list(open_rows)] = True
    among = rng.permutation(ITEMS)[:200]
    reachable = set(among.tolist()) & set(open_rows)
    for seed in range(50):
        before_I = open_I.copy()
        found = evenly(np.random.default_rng(seed), among, open_I, 12).tolist()
        assert (open_I == before_I).all()
        assert len(found) == len(set(found)) == min(12, len(reachable))
        assert set(found) <= reachable
        assert evenly(np.random.default_rng(seed), among, open_I, 12).tolist() == found
    assert not len(evenly(rng, among, open_I, 0))


@pytest.mark.parametrize("tries", [3, 8, 500])
def test_each_open_row_is_drawn_as_often_at_each_place_whether_or_not_tries_suffice(
    many, tries, monkeypatch
):
    monkeypatch.setattr(evenly_module, "_TRIES", tries)
    open_I, rng = np.arange(40) % 2 == 0, np.random.default_rng(5)
    drawn = np.array([evenly(rng, np.arange(40), open_I, 4) for _ in range(8000)])
    for place in drawn.T:
        count = np.bincount(place, minlength=40)[::2]
        assert np.abs(count - 400).max() < 5 * 400**0.5
    pairs = np.bincount(drawn[:, 0] * 40 + drawn[:, 3], minlength=1600).reshape(40, 40)[::2, ::2]
    assert pairs.diagonal().sum() == 0
    assert np.abs(pairs[~np.eye(20, dtype=bool)] - 8000 / 380).max() < 6 * (8000 / 380) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_what_was_sorted_once_gives_the_best_of_what_is_eligible(seed):
    rng = np.random.default_rng(seed)
    score_I = rng.integers(0, 9, ITEMS).astype(float)
    score_I[rng.random(ITEMS) < 0.2] = np.nan
    rank_I = rng.permutation(ITEMS)
    every = Ordered.of(score_I, rank_I)
    for share in (0.0, 0.03, 0.5, 1.0):
        eligible_I = rng.random(ITEMS) < share
        row_C = np.flatnonzero(eligible_I)
        for most in (0, 1, 10, ITEMS):
            wanted = Found.best(row_C, score_I[row_C], rank_I, most)
            np.testing.assert_array_equal(every.first(eligible_I, most), wanted)


def alike(codes, met, fades=0.9):
    """Score every item by the beginnings that it shares with what was met, one by one."""
    score = dict.fromkeys(codes, 0.0)
    for item, code in codes.items():
        for ago, other in enumerate(reversed(met)):
            for level in range(1, len(code)):
                if other in codes and codes[other][:level] == code[:level]:
                    score[item] += 2 ** (level - 1) * fades**ago
    return score


@pytest.mark.parametrize("seed", range(6))
def test_content_finds_by_the_trie_what_a_look_at_every_code_finds(seed, tmp_path):
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, (3, 4, 5), (ITEMS, 3)).tolist()
    codes = {item: (*begins[n], n) for n, item in enumerate(IDS) if n % 10}
    rows = [{"item_id": item, "code": list(code), "sid": item} for item, code in codes.items()]
    write_trie(ibis.memtable(pa.Table.from_pylist(rows, schema(CODES))), tmp_path)
    shelf = Shelf.of(pa.table({"item_id": IDS[::-1]}))
    one = component("tessera.serve.retrievers", "content").open_retriever(tmp_path, shelf)
    met = rng.choice(IDS, 6).tolist()
    score = alike(codes, met)
    for share in (0.02, 0.3, 1.0):
        is_open = dict(zip(IDS, rng.random(ITEMS) < share, strict=True))
        eligible_I = np.array([is_open[item] for item in shelf.ids])
        wanted = sorted(
            (item for item in codes if is_open[item] and score[item] > 0),
            key=lambda item: (-round(score[item], 9), item),
        )
        for most in (1, 7, ITEMS):
            found = one.retrieve(
                Investor("u", 2, (), (), None, recent=tuple(met)), eligible_I, most
            )
            ids = [shelf.ids[row] for row in found.row_F.tolist()]
            assert ids == wanted[:most]
            np.testing.assert_allclose(found.score_F, [score[item] for item in ids])


def table(rng, count=2000):
    kinds = rng.choice([*KINDS, "sector"], count)
    columns = {
        "source_id": rng.choice([*IDS, "gone"], count),
        "target_id": rng.choice([*IDS, "gone"], count),
        "kind": kinds, "weight": rng.random(count), "false_sign_rate": rng.random(count),
        "support": rng.integers(1, 9, count), "low": rng.random(count),
    }  # fmt: skip
    return pa.table(columns).group_by(["source_id", "target_id", "kind"]).aggregate(
        [(name, "max") for name in ("weight", "false_sign_rate", "support", "low")]
    ).rename_columns([*columns])  # fmt: skip


def test_edges_that_lie_as_the_stage_writes_them_are_not_moved_and_others_are(rng, monkeypatch):
    told, shelf = table(rng), Shelf.of(pa.table({"item_id": IDS}))
    told = told.filter(pa.compute.not_equal(told["target_id"], "gone"))
    told = told.filter(pa.compute.not_equal(told["kind"], "sector"))
    order = [(name, "ascending") for name in ("source_id", "kind", "target_id")]
    mixed = Edges.of(told, shelf)
    told = told.filter(pa.compute.not_equal(told["source_id"], "gone")).sort_by(order)
    monkeypatch.setattr(np, "lexsort", None)
    written = Edges.of(told, shelf)
    assert written.weight_E.tolist() == told["weight"].to_pylist()
    assert mixed.weight_E[: len(told)].tolist() == told["weight"].to_pylist()


def test_edges_lie_by_source_kind_and_target_whatever_their_order_and_none_is_lost(rng):
    told, shelf = table(rng), Shelf.of(pa.table({"item_id": IDS}))
    order = [(name, "ascending") for name in ("source_id", "kind", "target_id")]
    written = Edges.of(told.sort_by(order), shelf)
    mixed = Edges.of(told.take(pa.array(rng.permutation(len(told)))), shelf)
    names = ("first_I1", "target_E", "kind_E", "weight_E", "rate_E", "support_E", "low_E")
    stop = int(written.first_I1[-1])  # those from nowhere stand behind, in any order
    for name in names:
        ends = slice(None, None if name == "first_I1" else stop)
        np.testing.assert_array_equal(getattr(mixed, name)[ends], getattr(written, name)[ends])
    lies = {
        (IDS[source], IDS[written.target_E[one]], written.kind_E[one], written.weight_E[one])
        for source in range(ITEMS)
        for one in range(*written.first_I1[source : source + 2])
    }
    number = {kind: n for n, kind in enumerate(KINDS)}
    assert lies == {
        (one["source_id"], one["target_id"], number.get(one["kind"], -1), one["weight"])
        for one in told.to_pylist()
        if "gone" not in (one["source_id"], one["target_id"])
    }
    assert len(written.target_E) == sum(one != "gone" for one in told["target_id"].to_pylist())
