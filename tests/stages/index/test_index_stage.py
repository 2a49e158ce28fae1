"""The candidate bundle: what serving needs, and the policy that the verdict was reached under."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.bundles import manifest
from tessera.bundles.edges import KINDS, Edges
from tessera.bundles.indexes.kinds import KINDS as KINDS_OF_INDEX
from tessera.bundles.vectors import Search
from tessera.contracts import arrow
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import CODES, EDGES, EVENTS, ITEM_VECTORS, ITEMS, USER_VECTORS, USERS
from tessera.serve.candidates import DRAWN
from tessera.serve.figures import fees
from tessera.serve.found_by import SAYS
from tessera.serve.investors import Investors
from tessera.serve.recommend import Recommender, recommend
from tessera.serve.retrieval import RETRIEVERS
from tessera.serve.shelf import Shelf
from tessera.shared.policies.serving import ServingPolicy, read_policy
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import Unknown
from tessera.stages.index.params import IndexParams
from tessera.stages.index.stage import run

DAY = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = ServingPolicy(SlatePolicy(temperature=0.06, epsilon=0.2, top_k=10), 3)


def table(contract, rows):
    names = [column.name for column in contract.columns]
    whole = [{**dict.fromkeys(names), **row} for row in rows]
    return ibis.memtable(pa.Table.from_pylist(whole, arrow.schema(contract)))


@pytest.fixture
def bundle(pack):
    """Two items, one of unknown risk; two investors, one of unknown risk."""
    return pack(POLICY)


@pytest.fixture
def pack(tmp_path):
    return lambda policy, **more: _pack(tmp_path, policy, **more)


def _pack(tmp_path, policy, edges=(), params=None, events=(), items=None):
    split = Split(DAY, datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
    save_split(split, tmp_path / "split.json")
    for name in ("model", "facts", "codebook", "ledger", "champion"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "champion.json").write_text(json.dumps({"version": "v0"}))
    (tmp_path / "facts" / "tables.json").write_text("[]")
    verdict = {"decision": "HOLD", "reason": "planted", "policy": policy.facts()}
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    (tmp_path / "ranking.json").write_text("{}")
    (tmp_path / "seal.json").write_text("{}")
    items = items or [
        {"item_id": f"i{n}", "name": f"Fund {n}", "risk_class": risk, "fee_percent": fee}
        for n, (risk, fee) in enumerate([(1, 0.3), (None, None), (4, 1.5)])
    ]
    users = [{"user_id": f"u{risk or 0}", "valid_from": DAY, "risk_class": risk,
              "capacity_class": risk and risk - 1} for risk in (None, 3, 4)]  # fmt: skip
    codes = [{"item_id": f"i{n}", "code": [n // 8, n], "sid": f"{n // 8}-{n}"}
             for n in range(len(items))]  # fmt: skip
    vectors = [{"item_id": f"i{n}", "vector": [1.0, 0.0]} for n in range(len(items))]
    states = [{"user_id": user["user_id"], "vector": [1.0, 0.0]} for user in users]
    run(
        events=table(EVENTS, list(events)),
        items=table(ITEMS, items),
        users=table(USERS, users),
        edges=table(EDGES, list(edges)),
        codes=table(CODES, codes),
        item_vectors=table(ITEM_VECTORS, vectors),
        user_vectors=table(USER_VECTORS, states),
        model=tmp_path / "model",
        facts=tmp_path / "facts",
        codebook=tmp_path / "codebook",
        ledger_out=tmp_path / "ledger",
        champion=tmp_path / "champion",
        verdict=tmp_path / "verdict.json",
        seal=tmp_path / "seal.json",
        ranking=tmp_path / "ranking.json",
        split=tmp_path / "split.json",
        bundle=tmp_path / "bundle",
        params=params or IndexParams(),
    )
    return tmp_path / "bundle"


@pytest.mark.parametrize(("most", "kept"), [(1, ["i2"]), (2, ["i1", "i2"])])
def test_the_strongest_neighbours_alone_are_packed(pack, most, kept):
    edge = {"source_id": "i0", "kind": "co_acquired", "support": 5}
    edges = [{**edge, "target_id": f"i{n}", "weight": n / 10} for n in (1, 2)]
    bundle = pack(POLICY, edges=edges, params=IndexParams(neighbours=most))
    found = pq.read_table(bundle / "neighbours.parquet")
    assert found["target_id"].to_pylist() == kept


@pytest.mark.parametrize("kind", ["lists", "hnsw", "pq"])
def test_vectors_are_laid_out_as_asked_and_each_file_is_in_the_manifest(pack, kind):
    items = [{"item_id": f"i{n:03d}", "name": f"Fund {n}", "risk_class": 1} for n in range(300)]
    bundle = pack(POLICY, items=items, params=IndexParams(kind=kind))
    opened = Search.open(bundle).index
    assert type(opened).__module__ == KINDS_OF_INDEX[kind].__name__
    assert {path.name for path in bundle.glob("vectors.*")} <= set(manifest.check(bundle)["files"])
    last = max(bundle.glob("vectors.f*"))
    last.write_bytes(last.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BrokenBundle, match=f"{last.name} does not match the manifest"):
        manifest.check(bundle)


def test_edges_carry_kind_support_and_interval_into_the_bundle(pack):
    seen = {"source_id": "i0", "target_id": "i2", "kind": "transition", "weight": 0.5, "support": 3}
    cause = {**seen, "kind": "causal", "false_sign_rate": 0.01, "low": 0.02, "high": 0.25,
             "support": 7}  # fmt: skip
    bundle = pack(POLICY, edges=[cause, seen])
    shelf = Shelf.of(pq.read_table(bundle / "items.parquet"))
    edges = Edges.open(bundle, shelf)
    assert [KINDS[kind] for kind in edges.kind_E] == ["causal", "transition"]
    assert edges.support_E.tolist() == [7, 3]
    np.testing.assert_array_equal(edges.low_E, np.float32([0.02, np.nan]))
    np.testing.assert_array_equal(edges.high_E, np.float32([0.25, np.nan]))


def test_what_is_declared_is_packed_where_two_items_share_it(pack):
    edge = {"kind": "issuer", "weight": 0.5, "support": 0}
    told = (("i2", "issuer:a"), ("i0", "issuer:a"), ("i1", "issuer:b"))
    edges = [{**edge, "source_id": item, "target_id": target} for item, target in told]
    edges += [{**edge, "kind": "transition", "source_id": "i0", "target_id": "i1"}]
    found = pq.read_table(pack(POLICY, edges=edges) / "declared.parquet").to_pylist()
    assert found == [{"source_id": item, "target_id": "issuer:a", "weight": 0.5}
                     for item in ("i0", "i2")]  # fmt: skip


def test_segments_count_who_acquired_an_item_in_the_last_weeks_before_the_cut(pack):
    def event(number, user, item, action, days):
        when = datetime(2024, 6, 1, tzinfo=UTC) - timedelta(days=days)
        return {"event_id": f"e{number}", "user_id": user, "item_id": item, "action": action,
                "event_ts": when}  # fmt: skip

    told = [("u3", "i0", "buy", 1), ("u3", "i0", "buy", 2), ("u4", "i0", "buy", 1),
            ("u4", "i1", "buy", 29), ("u4", "i1", "click", 1), ("u4", "i2", "buy", -1),
            ("u0", "i0", "buy", 3), ("nobody", "i0", "buy", 3)]  # fmt: skip
    bundle = pack(POLICY, events=[event(n, *one) for n, one in enumerate(told)])
    assert pq.read_table(bundle / "segments.parquet").to_pylist() == [
        {"risk_class": risk, "item_id": "i0", "investors": count}
        for risk, count in ((1, 2), (3, 1), (4, 1))
    ]


def test_the_capacity_of_investors_is_packed_as_known(bundle):
    users = pq.read_table(bundle / "users.parquet")
    known = dict(zip(*(users[name].to_pylist() for name in ("user_id", "capacity_class")),
                     strict=True))  # fmt: skip
    assert known == {"u0": None, "u3": 2, "u4": 3}


def test_a_bundle_carries_the_policy_that_the_verdict_was_reached_under(bundle):
    assert read_policy(bundle) == POLICY
    assert {"policy.json", "verdict.json"} <= manifest.check(bundle)["files"].keys()


def _dated(*texts):
    """Items of which the last is born after the cut."""
    days = [None] * (len(texts) - 1) + [datetime(2024, 6, 2, tzinfo=UTC)]
    return [{"item_id": f"i{n}", "name": text, "risk_class": 1, "valid_from": day}
            for n, (text, day) in enumerate(zip(texts, days, strict=True))]  # fmt: skip


def test_words_of_the_codes_are_packed_with_what_is_true_of_each_item(pack):
    items = _dated("bond bank", *["bond"] * 6, "bank", *["loan"] * 8)
    bundle = pack(POLICY, items=items)
    assert pq.read_table(bundle / "code_words.parquet").to_pylist() == [
        {"prefix": [0], "items": 8, "words": ["bond"]},
        {"prefix": [1], "items": 7, "words": ["loan"]},
    ]
    rows = pq.read_table(bundle / "item_words.parquet").to_pylist()
    assert {row["item_id"] for row in rows if not row["bits"]} == {"i7"}
    assert rows[0] == {"item_id": "i0", "code": [0], "bits": 1}
    found = Recommender.open(bundle)
    assert found.words.shared(np.array([1]), np.array([0, 7, 9]))[0].words == ("bond",)
    assert manifest.check(bundle)["files"].keys() >= {"code_words.parquet", "item_words.parquet"}


def test_an_item_born_after_the_cut_changes_no_word(pack, tmp_path):
    texts = ["bond"] * 8 + ["loan"] * 7
    found = {}
    for later in ("loan", "zebra"):
        folder = tmp_path / later
        folder.mkdir()
        bundle = _pack(folder, POLICY, items=_dated(*texts, later))
        found[later] = (bundle / "code_words.parquet").read_bytes()
        rows = pq.read_table(bundle / "item_words.parquet").to_pylist()
        assert {row["item_id"]: row["bits"] for row in rows}["i15"] == (later == "loan")
    assert found["loan"] == found["zebra"]


def test_what_a_start_would_make_of_the_edges_is_laid_out_and_hashed(pack):
    edge = {"source_id": "i0", "kind": "co_acquired", "support": 5, "weight": 0.5}
    bundle = pack(POLICY, edges=[edge | {"target_id": "i2"}])
    assert "edges/target_E.npy" in manifest.check(bundle)["files"]
    assert np.load(bundle / "edges" / "target_E.npy").tolist() == [2]
    assert not (bundle / "facts" / "laid_out").exists(), "it carries no facts"


def test_the_seal_lies_in_the_bundle_and_is_no_part_of_its_identity(bundle):
    before = manifest.check(bundle)
    assert "seal.json" not in before["files"]
    (bundle / "seal.json").write_text('{"by": "another key"}')
    assert manifest.check(bundle)["identity"] == before["identity"]


@pytest.mark.parametrize(("user", "shown"), [("u0", {"i0"}), ("u3", {"i0"}), ("u4", None)])
def test_unknown_classes_are_packed_as_the_rule_of_suitability_reads_them(bundle, user, shown):
    found = {line.item_id for line in recommend(bundle, user, 10)}
    assert found == (shown or {"i0", "i1", "i2"})


def test_a_bank_says_what_unknown_counts_as(pack):
    packed = pack(replace(POLICY, unknown=Unknown(user=2, item=2)))
    served = Recommender.open(packed)
    assert served.unknown == Unknown(2, 2)
    assert [line.item_id for line in served.recommend("u0", 10)] == ["i0", "i1"]
    assert [line.item_id for line in served.recommend("nobody", 10)] == ["i0", "i1"]
    assert "income" in served.recommend("nobody", 1)[0].reason
    assert "of risk class 2 (income)" in served.unknown_note("nobody")


def test_an_unknown_investor_is_called_unknown(bundle):
    served = Recommender.open(bundle)
    assert served.unknown_note("u0") is None
    assert served.unknown_note("nobody").startswith("'nobody' is unknown: no such investor")
    assert served.unknown_note("nobody").endswith("of risk class 1 (conservative)")


def test_what_an_item_costs_a_year_is_told_with_its_table_and_day(bundle):
    served = Recommender.open(bundle).shelf
    row_Q = served.rows(["i2", "i1", "i0"])
    told = [{one.name: one.value for one in of} for of in fees(served.table, row_Q, DAY)]
    assert told == [{"fee_percent": 1.5}, {}, {"fee_percent": 0.3}]
    ((one,),) = fees(served.table, row_Q[:1], DAY)
    assert (one.source, one.as_of) == ("items", DAY)
    assert fees(served.table.drop_columns("fee_percent"), row_Q, DAY) == [(), (), ()]


def without(bundle, *items):
    """A bundle in which these are not on sale."""
    served = Recommender.open(bundle)
    gone_I = np.isin(served.shelf.ids, items)
    return replace(served, alive_I=served.alive_I & ~gone_I)


def test_an_empty_list_has_a_reason(bundle):
    served = without(bundle, "i0")
    assert served.recommend("u3", 10) == []
    assert served.why_empty("u3").startswith(
        "nothing suits an investor of risk class 3 (balanced): no item on sale is below class 4 "
    )
    table = served.investors.people
    only = Investors.of(table.filter(pc.equal(table["user_id"], "u0")))
    nobody = replace(served, investors=only)
    assert nobody.why_empty("u0").startswith("nothing suits anybody: no item on sale is below")
    assert "ingest.unknown_item_risk" in nobody.why_empty("u0")
    gone = without(bundle, "i0", "i1", "i2")
    assert gone.why_empty("u3") == "nothing is listed: no item was on sale at the cut"
    served = Recommender.open(bundle)
    table = served.investors.people
    held = [["i0"] if user == "u3" else [] for user in table["user_id"].to_pylist()]
    table = table.set_column(table.schema.get_field_index("held"), "held", pa.array(held))
    served = replace(served, investors=Investors.of(table))
    assert served.recommend("u3", 10) == []
    assert served.why_empty("u3") == "nothing is listed: all that suits is held or was dismissed"


def test_equal_scores_of_the_head_stand_in_the_order_of_the_items(bundle):
    class Flat(Head):
        def scores(self, user_id, item_ids):
            return np.zeros(len(item_ids))

    ranked = replace(Recommender.open(bundle), ranker=Flat())
    assert [line.item_id for line in ranked.recommend("u4", 3)] == ["i0", "i1", "i2"]


class Head:
    """A ranking head that likes what recall likes least."""

    def has_acted(self, user_id):
        return user_id == "u4"

    def scores(self, user_id, item_ids):
        liked = {"i0": 0.0, "i1": -1.0, "i2": 2.0}
        return np.array([liked[item] for item in item_ids])


def test_the_nearest_are_shown_in_the_order_of_the_ranking_head(bundle):
    by_recall = Recommender.open(bundle)
    ranked = replace(by_recall, ranker=Head())
    assert by_recall.ranker is None
    assert [line.item_id for line in by_recall.recommend("u4", 3)] == ["i0", "i1", "i2"]
    assert [(line.item_id, line.score) for line in ranked.recommend("u4", 3)] == [
        ("i2", 2.0), ("i0", 0.0), ("i1", -1.0)
    ]  # fmt: skip
    assert [line.item_id for line in ranked.recommend("u4", 1)] == ["i2"], "all are ranked"
    assert [line.item_id for line in ranked.recommend("u3", 3)] == ["i0"], "the others do not suit"


def test_a_reason_speaks_of_activity_only_to_who_has_acted(bundle):
    ranked = replace(Recommender.open(bundle), ranker=Head())
    reason = {user: ranked.recommend(user, 1)[0].reason for user in ("u3", "u4")}
    assert reason["u4"] == "fits your recent activity, suitable for aggressive investors"
    assert reason["u3"] == "best ranked for a new investor, suitable for balanced investors"


def test_a_reason_says_what_found_an_item_and_not_that_it_fits(pack):
    at = datetime(2024, 6, 1, tzinfo=UTC) - timedelta(days=1)
    told = [("u4", "i0"), ("u3", "i1"), ("nobody", "i2"), ("u0", "i2")]
    events = [{"event_id": f"e{n}", "user_id": user, "item_id": item, "action": "buy",
               "event_ts": at} for n, (user, item) in enumerate(told)]  # fmt: skip
    shared = [{"source_id": item, "target_id": "issuer:a", "kind": "issuer", "weight": 0.5,
               "support": 0} for item in ("i0", "i2")]  # fmt: skip
    ranked = replace(Recommender.open(pack(POLICY, events=events, edges=shared)), ranker=Head())
    lists = {source: ranked.recommend("u4", 3, source) for source in
             ("dense", "walk", "content", "popular")}  # fmt: skip
    says = {source: {line.reason.split(", suitable")[0] for line in lines}
            for source, lines in lists.items()}  # fmt: skip
    assert says == {
        "dense": {"fits your recent activity"},
        "walk": {"linked to what you hold or met lately"},
        "content": {"coded like what you hold or met lately"},
        "popular": {"bought by 1 investor", "bought by 2 investors"},
    }
    who = ranked.who("u4")
    found_by = {"i1": "uniform", "i2": "new"}
    drawn = ranked.reasons(who, list(found_by), {}, found_by)
    assert drawn["i1"].startswith("drawn by chance from all that suits, suitable for aggressive")
    assert drawn["i2"].startswith("new on sale, suitable for aggressive")
    assert SAYS.keys() | {"dense", "generated"} == {*RETRIEVERS, *DRAWN}


def test_whoever_is_unknown_is_shown_what_is_popular_and_not_ranked(bundle):
    ranked = replace(Recommender.open(bundle), ranker=Head())
    assert [line.score for line in ranked.recommend("nobody", 3)] == [0.0]
