"""What is served as of now is what the batch would compute of the same moment, to the last bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.bundles import manifest
from tessera.bundles.vectors import write_vectors
from tessera.contracts.arrow import schema
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import ACTIONS, CATE, PRICES
from tessera.model.sequences.catalogue import microsecond, read_catalogue
from tessera.model.sequences.fact_tables import FactTables, open_facts, people_of, read_facts
from tessera.model.sequences.reading import read_histories, tie_order
from tessera.model.sequences.requests import Requests
from tessera.model.trunk.log_scores import Known, score_log
from tessera.serve.engine import Engine
from tessera.serve.online.recent import Recent
from tessera.serve.online.scorer import Scorer
from tessera.serve.params import ServeParams
from tessera.serve.ranker import open_ranker
from tessera.shared.features.facts import NOBODY, Queries
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy, slate_propensities
from tessera.shared.policies.suitability import PRUDENT
from tessera.stages.index.facts import item_facts, neighbours, user_facts, write_facts
from tessera.stages.index.params import IndexParams

DAY = timedelta(days=1)


@pytest.fixture
def told(slated, split):
    """Return the market with purchases, and prices and effects before the cut."""
    events = slated.events.to_pyarrow().to_pylist()
    for row in events[::3]:
        row["action"] = "buy"
    closes = [
        {"item_id": f"i{item:02d}", "price_ts": split.cut - day * DAY, "close_eur": 100.0 + item}
        for item in range(6)
        for day in range(1, 9)
    ]
    shown = slated.exposures.filter(slated.exposures.event_ts < split.validation_from)
    ids = shown.select("request_id", "item_id").to_pyarrow().to_pylist()
    effects = [{**row, "shown": True, "effect": 0.01 * (n % 7)} for n, row in enumerate(ids)]
    changes = {
        "events": ibis.memtable(pa.Table.from_pylist(events)),
        "prices": ibis.memtable(pa.Table.from_pylist(closes, schema(PRICES))),
        "cate": ibis.memtable(pa.Table.from_pylist(effects, schema(CATE))),
    }
    return SimpleNamespace(**{**vars(slated), **changes})


TRAINED = {}
"""Folder of the one training that every test copies."""


@pytest.fixture
def folder(told, small, run_trunk, stage_files, tmp_path_factory):
    """Return a bundle's model and facts, with everything of a ranking head in it."""
    if "folder" not in TRAINED:
        params = small.model_copy(
            update={"window_days": 2.0, "hold_days": 3.0, "slate_share": 1.0,
                    "features": (*small.features, "cate"), "recency_scales": 2, "edge_bias": True}
        )  # fmt: skip
        made, _ = run_trunk(told, params)
        shutil.copyfile(stage_files / "split.json", made / "split.json")
        TRAINED["folder"] = shutil.copytree(made, tmp_path_factory.mktemp("trained") / "bundle")
    return shutil.copytree(TRAINED["folder"], stage_files / "bundle")


@pytest.fixture
def scorer(folder):
    return Scorer.fresh(open_ranker(folder))


def happenings(split, users, count=700, seed=1):
    """Draw events after the cut, many of them at the same moment, in the order of their arrival."""
    rng = np.random.default_rng(seed)
    start = microsecond(split.cut)
    moments = start + np.sort(rng.integers(1, 300, count)) * 97_000_001
    rows = [
        {"event_id": f"n{n:05d}", "user_id": users[rng.integers(len(users))],
         "item_id": f"i{rng.integers(13):02d}", "action": ACTIONS[rng.integers(len(ACTIONS))],
         "moment": int(moment)}
        for n, moment in enumerate(moments)
    ]  # fmt: skip
    return [rows[n] for n in rng.permutation(count)]


def feed(scorer, rows):
    for row in rows:
        scorer.state.add(**row)


def batch(folder, split, rows, asked):
    """Score requests as the batch does, from one table of all events."""
    engine = ibis.duckdb.connect()
    engine.raw_sql("SET TimeZone = 'UTC'")
    events, tables = open_facts(folder / "facts", engine)
    stamp = pa.timestamp("us", tz="UTC")
    later = pa.Table.from_pylist(
        [{**row, "event_ts": row["moment"]} for row in rows],
        schema=pa.schema([(name, pa.string()) for name in ("event_id", "user_id", "item_id",
                                                          "action")] + [("event_ts", stamp)]),
    )  # fmt: skip
    path = folder / "later.parquet"
    pq.write_table(later, path)
    ranker = open_ranker(folder)
    long = replace(split, test_until=split.test_until + 4000 * DAY)
    catalogue = read_catalogue(tables.items)
    histories = read_histories(
        events.union(engine.read_parquet(path, table_name="later")), long, catalogue.vocabulary,
        tied_sets=True,
    )  # fmt: skip
    people = people_of(histories.user_id_U, tables.users)
    codes = ranker.model.codes_VC.numpy()
    facts = read_facts(FactTables(*(getattr(tables, name) for name in FactTables.__annotations__)),
                       histories, catalogue, codes, people)  # fmt: skip
    number = {user: n for n, user in enumerate(people)}
    person = np.array([number.get(user, NOBODY) for user, _ in asked])
    items = np.arange(1, len(catalogue.vocabulary) + 1)
    requests = Requests(
        np.where(person < len(histories.user_id_U), person, NOBODY),
        np.array([moment for _, moment in asked]),
        np.arange(len(asked) + 1) * len(items),
        np.tile(items, len(asked)),
    )
    known = Known(person, requests.item_C, None)
    found = score_log(ranker.model, facts, histories, requests, known)
    return found.served_C.reshape(len(asked), -1)


USERS = [f"u{user:03d}" for user in range(61)] + ["fresh", "new"]


@pytest.fixture
def served(scorer, split):
    """Ask while events arrive: before each request all events that happened before it are known."""
    rows = sorted(happenings(split, USERS), key=lambda row: row["moment"])
    rng = np.random.default_rng(7)
    asked, scores, known = [], [], 0
    items = np.arange(1, 13)
    for stop in range(40, len(rows), 9):
        feed(scorer, (rows[n] for n in known + rng.permutation(stop - known)))
        user, moment, known = USERS[rng.integers(len(USERS))], rows[stop]["moment"], stop
        asked.append((user, moment))
        scores.append(scorer.scores(scorer.now(user, moment), items))
    return rows, asked, np.array(scores)


def test_scores_as_of_now_are_those_of_the_batch(folder, split, served):
    rows, asked, scores = served
    assert np.ptp(scores, axis=1).min() > 1e-3
    np.testing.assert_allclose(scores, batch(folder, split, rows, asked), atol=1e-5)


def test_an_event_that_is_moved_by_a_microsecond_is_seen(folder, split, served):
    rows, asked, scores = served
    at = {moment for _, moment in asked}
    moved = [row | {"moment": row["moment"] - (row["moment"] in at)} for row in rows]
    assert np.abs(scores - batch(folder, split, moved, asked)).max() > 1e-4


def test_what_comes_at_the_moment_of_a_request_or_later_is_not_read(scorer, split):
    moment, items = microsecond(split.cut) + 10, np.arange(1, 13)
    before = scorer.scores(scorer.now("u001", moment), items)
    scorer.state.add("e1", "u001", "i03", "buy", moment)
    scorer.state.add("e2", "u002", "i03", "buy", moment + 1)
    np.testing.assert_array_equal(scorer.scores(scorer.now("u001", moment), items), before)
    after = scorer.scores(scorer.now("u001", moment + 1), items)
    assert np.abs(after - before).max() > 1e-3


def test_the_next_vector_knows_what_was_done_and_nobody_has_none(scorer, split):
    moment = microsecond(split.cut) + 10
    assert scorer.vector(scorer.now("fresh", moment)) is None
    scorer.state.add("e1", "fresh", "i03", "click", moment)
    first = scorer.vector(scorer.now("fresh", moment + 1))
    scorer.state.add("e2", "fresh", "i09", "click", moment + 5)
    assert np.abs(first - scorer.vector(scorer.now("fresh", moment + 6))).max() > 1e-3
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)


def test_what_arrives_while_a_request_is_answered_changes_nothing_of_it(scorer, split):
    moment, items = microsecond(split.cut) + 10, np.arange(1, 13)
    scorer.state.add("e0", "u002", "i03", "buy", moment)
    now = scorer.now("u001", moment + 9)
    before = scorer.scores(now, items)
    for n in range(600):
        scorer.state.add(f"e{n + 1}", f"u{n % 3:03d}", "i03", "buy", moment + 1)
    np.testing.assert_array_equal(scorer.scores(now, items), before)
    assert (now.since.version, scorer.now("u001", moment + 9).since.version) == (1, 601)
    assert np.abs(scorer.scores(scorer.now("u001", moment + 9), items) - before).max() > 1e-3


def test_to_begin_again_is_to_know_these_events_and_nothing_of_before(scorer, folder, split):
    moment, items = microsecond(split.cut) + 10, np.arange(1, 13)
    rows = [(f"e{n}", f"u{n % 3:03d}", f"i{n % 12:02d}", "buy", moment + n) for n in range(900)]
    for row in rows:
        scorer.state.add(*row)
    before = scorer.now("u001", moment + 1000)
    scores = scorer.scores(before, items)
    scorer.begin_again(rows[5:600])
    other = Scorer.fresh(open_ranker(folder))
    for row in rows[5:600]:
        other.state.add(*row)
    known = [each.state.known("u001").events for each in (scorer, other)]
    assert known[0] == known[1]
    assert scorer.state.version == 595
    assert scorer.kept.of("u001") is None
    now, fresh = (each.now("u001", moment + 1000) for each in (scorer, other))
    np.testing.assert_array_equal(scorer.scores(now, items), other.scores(fresh, items))
    np.testing.assert_array_equal(scorer.scores(before, items), scores)
    assert scorer.state.add(*rows[0])


def test_an_event_counts_once_and_an_unknown_item_changes_nothing(scorer, split):
    moment = microsecond(split.cut) + 10
    assert scorer.state.add("e1", "u001", "i03", "buy", moment)
    assert not scorer.state.add("e1", "u001", "i05", "sell", moment + 1)
    assert scorer.state.add("e2", "u001", "nowhere", "buy", moment)
    assert [one.item_id for one in scorer.state.known("u001").events] == ["i03"]


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1300])
def test_counts_of_all_investors_are_those_of_a_loop(scorer, count):
    recent = Recent(scorer.ranker.facts)
    rng = np.random.default_rng(count)
    rows = np.column_stack(
        [rng.integers(1, 13, count), rng.integers(len(ACTIONS), size=count),
         rng.integers(0, 50, count)]
    )  # fmt: skip
    for row in rows.tolist():
        recent.add(*row)
    asked = Queries(np.array([0, 1]), np.array([40, 17]), np.repeat([0, 1], 12),
                    np.tile(np.arange(1, 13), 2))  # fmt: skip
    for actions, ago in (((2,), 0), ((0, 1), 9)):
        wanted = [
            sum(row[0] == item and row[1] in actions and row[2] < moment - ago for row in rows)
            for item, moment in zip(asked.item_Q, asked.moment_Q, strict=True)
        ]
        assert recent.seen().item_counts(actions, asked, ago).tolist() == wanted


def test_ties_are_sorted_as_in_a_history(told, split):
    vocabulary = [f"i{item:02d}" for item in range(12)]
    moment = split.cut + DAY
    rows = [
        {"event_id": f"e{n}", "user_id": user, "item_id": item, "action": "click",
         "event_ts": moment}
        for n, (user, item) in enumerate((u, i) for u in ("u001", "é") for i in vocabulary)
    ]  # fmt: skip
    found = read_histories(
        ibis.memtable(pa.Table.from_pylist(rows)), split, vocabulary, tied_sets=True
    )
    for user, (start, stop) in zip(found.user_id_U, ((0, 12), (12, 24)), strict=True):
        wanted = sorted(vocabulary, key=lambda item: tie_order(user, item))
        assert [vocabulary[row - 1] for row in found.item_E[start:stop]] == wanted


@pytest.fixture
def bundle(folder, told, split):
    """Return a whole bundle, as the stage that packs it would leave it."""
    items = told.items.mutate(
        name=told.items.item_id.upper(), sector=ibis.literal(None, "string"),
        issuer=ibis.literal(None, "string"),
    )  # fmt: skip
    engine, params = ibis.duckdb.connect(), IndexParams()
    past = told.events.filter(told.events.event_ts <= split.cut)
    vectors = engine.read_parquet(folder / "user_vectors.parquet")
    users = ibis.memtable(told.users.to_pyarrow())
    for name, table in (
        ("items", item_facts(items, past, split.cut, PRUDENT, params)),
        ("users", user_facts(users, past, ibis.memtable(vectors.to_pyarrow()), split.cut, PRUDENT,
                             params)),
        ("neighbours", neighbours(told.edges, params.neighbours)),
    ):  # fmt: skip
        write_facts(table, folder / f"{name}.parquet")
    write_vectors(engine.read_parquet(folder / "item_vectors.parquet"), folder)
    write_policy(ServingPolicy(SlatePolicy(0.5, 0.2, 4), 3), folder)
    manifest.seal(folder, {"kind": "model", "judged_against": "v0"})
    return folder


PARAMS = ServeParams(retrieved=4, uniform=2)


@pytest.fixture
def engine(bundle):
    return Engine.open(bundle, PARAMS)


def at_noon(split, later=0):
    return microsecond(split.cut) + 1 + later


def test_a_slate_is_drawn_from_what_suits_is_on_sale_and_is_neither_held_nor_dismissed(
    engine, split
):
    risk = dict(zip(*(engine.recommender.items[name].to_pylist()
                      for name in ("item_id", "risk_class")), strict=True))  # fmt: skip
    seen = set()
    for n, user in enumerate(USERS * 3):
        moment = at_noon(split, n)
        who = engine.who(user, engine.scorer.now(user, moment))
        slate = engine.answer(f"r{n}", user, moment, 3)
        ids = slate.drawn.candidate_ids
        assert len(set(ids)) == len(ids) <= 6
        assert all(risk[item] <= who.risk_class for item in ids)
        assert not {*who.held, *who.dismissed, "i11"} & set(ids), "i11 is gone at the cut"
        assert slate.drawn.source_C.count("uniform") <= 2
        assert slate.flags == (() if who.is_known else ("cold",))
        seen |= set(ids)
    assert len(seen) > 6


@pytest.mark.parametrize(("retrieved", "uniform"), [(2, 0), (2, 1)])
def test_params_say_how_many_are_retrieved_and_how_many_drawn_evenly(
    bundle, split, retrieved, uniform
):
    engine = Engine.open(bundle, ServeParams(retrieved=retrieved, uniform=uniform))
    slate = engine.answer("r1", "u003", at_noon(split), 2)
    assert slate.drawn.source_C == ("retrieved",) * retrieved + ("uniform",) * uniform
    assert list(slate.took_s) == ["hydrate", "retrieve", "score", "draw", "explain"]


def test_a_param_says_how_much_of_histories_is_kept(bundle):
    for most in (0, 9):
        engine = Engine.open(bundle, ServeParams(kept_mb=most))
        assert engine.scorer.kept.most_bytes == most * 2**20


def test_what_is_bought_or_dismissed_is_not_offered_again_until_it_is_sold(engine, split):
    user, state = "u003", engine.scorer.state
    item = engine.answer("r0", user, at_noon(split), 3).drawn.candidate_ids[0]

    def offered(later):
        answers = (engine.answer(f"q{n}", user, at_noon(split, later), 3) for n in range(30))
        return any(item in one.drawn.candidate_ids for one in answers)

    assert offered(9)
    state.add("e1", user, item, "buy", at_noon(split, 10))
    assert not offered(11)
    state.add("e2", user, item, "sell", at_noon(split, 12))
    assert offered(13)
    state.add("e3", user, item, "dismiss", at_noon(split, 14))
    assert not offered(15)


def test_the_same_request_and_state_give_the_same_slate_and_others_another(engine, split):
    def drawn(request):
        found = engine.answer(request, "u003", at_noon(split), 3).drawn
        return found.candidate_ids, found.chosen_L.tolist()

    assert drawn("r1") == drawn("r1")
    assert len({str(drawn(f"r{n}")) for n in range(20)}) > 3


def test_the_judged_policy_gives_every_propensity_that_is_served(engine, split):
    for n, user in enumerate(USERS):
        drawn = engine.answer(f"r{n}", user, at_noon(split), 3).drawn
        scores = drawn.score_C[None].astype(float)
        again, every = slate_propensities(
            scores, np.ones_like(scores, bool), SlatePolicy(0.5, 0.2, 4), drawn.chosen_L[None]
        )
        np.testing.assert_array_equal(again[0], drawn.propensity_L)
        np.testing.assert_array_equal(every[0], drawn.probability_LC)


def test_every_candidate_is_shown_as_often_as_its_propensity_says(engine, split):
    shown, expected = {}, {}
    for n in range(400):
        drawn = engine.answer(f"r{n}", "u003", at_noon(split), 1).drawn
        item = drawn.candidate_ids[drawn.chosen_L[0]]
        shown[item] = shown.get(item, 0) + 1
        for item, chance in zip(drawn.candidate_ids, drawn.probability_LC[0], strict=True):
            expected[item] = expected.get(item, 0.0) + chance
    for item, count in expected.items():
        assert abs(shown.get(item, 0) - count) < 4.5 * max(count, 4) ** 0.5, item


def test_each_shown_item_has_a_reason(engine, split):
    for n, user in enumerate(USERS):
        slate = engine.answer(f"r{n}", user, at_noon(split), 3)
        for one in slate.drawn.shown():
            assert len(slate.reasons[slate.drawn.candidate_ids[one]]) > 10


def test_an_empty_slate_where_nothing_suits(bundle, split):
    rows = pq.read_table(bundle / "items.parquet")
    risk = pa.array([4] * len(rows), pa.int64())
    at = rows.schema.get_field_index("risk_class")
    pq.write_table(rows.set_column(at, "risk_class", risk), bundle / "items.parquet")
    slate = Engine.open(bundle, PARAMS).answer("r", "u000", at_noon(split), 3)
    assert slate.drawn.shown() == []


def test_a_bundle_that_ranks_nothing_is_refused(bundle):
    (bundle / "facts" / "tables.json").write_text("[]")
    with pytest.raises(BrokenBundle, match="carries no ranking head"):
        Engine.open(bundle, PARAMS)
