"""What is served as of now is what the batch would compute of the same moment, to the last bit."""

from __future__ import annotations

import gc
import shutil
import weakref
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
from tessera.contracts.tables import ACTIONS, CATE, PRICES, SCORES, UNEXPLORED
from tessera.model.sequences.catalogue import microsecond, read_catalogue
from tessera.model.sequences.fact_tables import FactTables, open_facts, people_of, read_facts
from tessera.model.sequences.reading import read_histories, tie_order
from tessera.model.sequences.requests import Requests
from tessera.model.trunk.log_scores import Known, score_log
from tessera.serve import host
from tessera.serve.engine import Engine
from tessera.serve.erased import Erased
from tessera.serve.events import Event, forget_record
from tessera.serve.fitness import require_fit
from tessera.serve.hours import records
from tessera.serve.log import ServedLog, line
from tessera.serve.online.investor import ME
from tessera.serve.online.recent import Recent
from tessera.serve.online.scorer import Scorer
from tessera.serve.params import ServeParams
from tessera.serve.ranker import open_ranker
from tessera.serve.recommend import Recommender
from tessera.serve.replay import replay
from tessera.serve.service import Service, record_of
from tessera.serve.whole_log import write_log
from tessera.shared.features.facts import NOBODY, Queries
from tessera.shared.policies.serving import ServingPolicy, write_policy
from tessera.shared.policies.slate import SlatePolicy, slate_propensities
from tessera.shared.policies.suitability import PRUDENT
from tessera.stages.index.facts import item_facts, neighbours, user_facts, write_facts
from tessera.stages.index.params import IndexParams
from tessera.stages.ope.case import build_case
from tessera.stages.ope.checks import overlap_checks
from tessera.stages.ope.exposures import aligned_scores
from tessera.stages.ope.judge import log_faults
from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reading import read_case_log
from tessera.stages.ope.spending import Standing

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
        sources = slate.drawn.source_C
        assert sources.count("uniform") + sources.count("new") <= 2
        assert slate.flags == (() if who.is_known else ("cold",))
        seen |= set(ids)
    assert len(seen) > 6


def test_who_was_erased_after_the_cut_is_served_as_a_stranger_until_the_next_bundle(bundle, split):
    Erased.beside(bundle).add("u003", at_noon(split))
    Erased.beside(bundle).add("u004", microsecond(split.cut) - 1)
    engine, moment = Engine.open(bundle, PARAMS), at_noon(split, 9)
    now = {user: engine.scorer.now(user, moment) for user in ("u003", "u004", "nobody")}
    assert [len(one.past) > 0 for one in now.values()] == [False, True, False]
    who = {user: engine.who(user, one) for user, one in now.items()}
    assert who["u003"] == replace(who["nobody"], user_id="u003")
    assert who["u004"].is_known, "this bundle was made without what was erased"
    items = np.arange(1, 13)
    erased, stranger = (engine.scorer.scores(now[user], items) for user in ("u003", "nobody"))
    np.testing.assert_array_equal(erased, stranger)
    assert engine.answer("r1", "u003", moment, 3).flags == ("cold",)
    engine.scorer.state.add("e1", "u003", "i03", "click", moment)
    assert len(engine.scorer.now("u003", moment + 1).past) == 1, "whoever comes back is met anew"


def test_a_list_knows_who_was_erased_and_who_can_pay_as_the_service_does(bundle):
    listed = Recommender.open(bundle, PARAMS)
    assert listed.who("u003").is_known
    before = {line.item_id for line in listed.recommend("u003", 12)}
    Erased.beside(bundle).add("u003", listed.ranker.moment)
    Erased.beside(bundle).add("u004", listed.ranker.moment - 2)
    assert listed.who("u003") == replace(listed.who("nobody"), user_id="u003")
    assert listed.who("u004").is_known, "this bundle was made without what was erased"
    assert "is unknown: no such investor" in listed.unknown_note("u003")
    lists = [[line.item_id for line in listed.recommend(who, 12)] for who in ("u003", "nobody")]
    assert lists[0] == lists[1]
    assert set(lists[0]) != before
    poor = Recommender.open(bundle, PARAMS.model_copy(update={"capacity_eur": [102.0]}))
    rich = Recommender.open(bundle, PARAMS.model_copy(update={"capacity_eur": [1e9]}))
    found = [{line.item_id for line in one.recommend("nobody", 12)} for one in (poor, rich)]
    dear = {"i03", "i04", "i05"}
    assert dear & found[1], "its last closes were 103 to 105"
    assert found[0] == found[1] - dear
    none = replace(poor, unit_I=np.full(12, 103.0))
    assert none.recommend("nobody", 12) == []
    assert none.why_empty("nobody").endswith("or costs more a unit than they can invest")
    engine = Engine.open(bundle, PARAMS)
    np.testing.assert_array_equal(engine.candidates.unit_I, poor.unit_I)


def test_a_history_sent_along_is_scored_as_if_it_had_been_logged(bundle, split):
    engine, other = (Engine.open(bundle, PARAMS) for _ in range(2))
    moment = at_noon(split)
    done = [(f"i{n:02d}", "buy", moment + n) for n in (3, 9, 5)] + [("nowhere", "buy", moment)]
    for n, (item, action, when) in enumerate(done):
        other.scorer.state.add(f"e{n}", "fresh", item, action, when)
    told = engine.for_stranger(done).answer("r1", "", moment + 99, 3)
    known = other.answer("r1", "fresh", moment + 99, 3)
    assert told.drawn.candidate_ids == known.drawn.candidate_ids
    np.testing.assert_allclose(told.drawn.score_C, known.drawn.score_C, atol=1e-3)
    assert told.drawn.chosen_L.tolist() == np.argsort(-told.drawn.score_C)[:3].tolist()
    assert told.policy_id == f"{engine.version}{UNEXPLORED}"
    assert set(told.reasons) == {told.drawn.candidate_ids[one] for one in told.drawn.shown()}
    assert engine.scorer.state.version == 0
    assert engine.answer("r2", "", moment + 99, 3).flags == ("cold",)


def test_a_running_engine_keeps_nothing_of_whoever_is_erased(bundle, split):
    engine, moment = Engine.open(bundle, PARAMS), at_noon(split, 9)
    engine.answer("r1", "u003", moment, 3)
    Erased.beside(bundle).add("u003", moment)
    assert engine.answer("r2", "u003", moment, 3).flags == ("cold",)
    assert engine.scorer.kept.of("u003") is None


@pytest.mark.parametrize(("retrieved", "uniform"), [(2, 0), (2, 1)])
def test_params_say_how_many_are_retrieved_and_how_many_drawn_evenly(
    bundle, split, retrieved, uniform
):
    engine = Engine.open(bundle, ServeParams(retrieved=retrieved, uniform=uniform))
    slate = engine.answer("r1", "u003", at_noon(split), 2)
    assert slate.drawn.source_C == ("dense",) * retrieved + ("uniform",) * uniform
    assert list(slate.took_s) == ["hydrate", "retrieve", "score", "choose", "draw", "explain"]


def test_a_param_says_how_much_of_histories_is_kept(bundle):
    for most in (0, 9):
        engine = Engine.open(bundle, ServeParams(kept_mb=most))
        assert engine.scorer.kept.most_bytes == most * 2**20


def test_shares_say_who_finds_and_every_candidate_says_who_found_it(bundle, split):
    params = ServeParams(retrieved=4, uniform=0, shares={"dense": 0.5, "popular": 0.5})
    engine = Engine.open(bundle, params)
    drawn = engine.answer("r1", "u003", at_noon(split), 2).drawn
    assert drawn.source_C == ("dense",) * 2 + ("popular",) * 2
    alone = Engine.open(bundle, ServeParams(retrieved=4, uniform=0))
    both = alone.answer("r1", "u003", at_noon(split), 2).drawn.candidate_ids
    assert drawn.candidate_ids[:2] == both[:2]
    assert drawn.candidate_ids != both


def test_whoever_has_no_history_is_found_something_by_those_who_need_none(engine, split):
    slate = engine.answer("r1", "nobody at all", at_noon(split), 2)
    assert slate.flags == ("cold",)
    assert slate.drawn.source_C[0] == "popular", "this bundle counts no segments"
    engine.scorer.state.add("e1", "nobody at all", "i03", "view", at_noon(split))
    assert engine.answer("r2", "nobody at all", at_noon(split, 1), 2).drawn.source_C[0] == "dense"


def test_what_was_met_lately_is_known_but_for_what_was_sold_or_dismissed(engine, split):
    for n, (item, action) in enumerate((("i03", "view"), ("i04", "dismiss"), ("i05", "buy"))):
        engine.scorer.state.add(f"e{n}", "nobody at all", item, action, at_noon(split, n))
    now = engine.scorer.now("nobody at all", at_noon(split, 3))
    assert engine.who("nobody at all", now).recent == ("i03", "i05")


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


def asked_of(bundle, split, user="u003", **turned):
    """Ask one investor many times under other params."""
    engine = Engine.open(bundle, ServeParams(retrieved=12, uniform=0, **turned))
    return engine, engine.answer("r1", user, at_noon(split), 3)


def closed_by(bundle, names):
    """Change columns of the items of a bundle."""
    rows = pq.read_table(bundle / "items.parquet")
    for name, values in names.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(values))
    pq.write_table(rows, bundle / "items.parquet")


def test_nobody_is_shown_an_item_of_which_one_unit_costs_more_than_they_can_invest(bundle, split):
    engine, before = asked_of(bundle, split, capacity_eur=[1e9])
    user = next(
        user for user in ("nobody", *USERS)
        if engine.who(user, engine.scorer.now(user, at_noon(split))).capacity_class <= 1
    )  # fmt: skip
    dear = {"i03", "i04", "i05"}
    _, before = asked_of(bundle, split, user, capacity_eur=[1e9])
    _, after = asked_of(bundle, split, user, capacity_eur=[102.0])
    assert dear & set(before.drawn.candidate_ids), "its last closes were 103 to 105"
    assert set(after.drawn.candidate_ids) == set(before.drawn.candidate_ids) - dear
    assert after.removed["capacity"] == len(dear & set(before.drawn.candidate_ids))
    users = pq.read_table(bundle / "users.parquet")
    classes = pa.array([2] * len(users), pa.int64())
    if "capacity_class" in users.column_names:
        users = users.drop_columns(["capacity_class"])
    pq.write_table(users.append_column("capacity_class", classes), bundle / "users.parquet")
    _, rich = asked_of(bundle, split, "u003", capacity_eur=[102.0])
    assert "capacity" not in rich.removed


def test_what_was_taken_away_is_counted_by_rule(bundle, split):
    engine, _ = asked_of(bundle, split)
    risk = engine.recommender.items["risk_class"].to_numpy()
    on_sale = np.array([item != "i11" for item in engine.recommender.shelf.ids])
    user, who = next(
        (user, who) for user in USERS
        for who in [engine.who(user, engine.scorer.now(user, at_noon(split)))]
        if (on_sale & (risk > who.risk_class)).any()
    )  # fmt: skip
    slate = engine.answer("r1", user, at_noon(split), 3)
    assert slate.removed["risk"] == (on_sale & (risk > who.risk_class)).sum()
    assert sum(slate.removed.values()) == 12 - len(slate.drawn.candidate_ids)
    assert set(slate.removed) <= {"off_sale", "risk", "capacity", "held", "dismissed"}


def test_a_limit_of_an_issuer_chooses_what_is_drawn_from_and_propensities_stay_exact(bundle, split):
    closed_by(bundle, {"issuer": [f"x{n % 2}" for n in range(12)]})
    _, free = asked_of(bundle, split)
    _, slate = asked_of(bundle, split, per_issuer=2)
    ids = free.drawn.candidate_ids
    score = dict(zip(ids, free.drawn.score_C.tolist(), strict=True))
    best = {
        item for parity in (0, 1)
        for item in sorted((one for one in ids if int(one[1:]) % 2 == parity),
                           key=score.get, reverse=True)[:2]
    }  # fmt: skip
    assert slate.drawn.candidate_ids == tuple(item for item in ids if item in best)
    assert slate.removed["issuer"] == len(ids) - len(best) > 0
    drawn = slate.drawn
    scores = drawn.score_C[None].astype(float)
    again, every = slate_propensities(
        scores, np.ones_like(scores, bool), SlatePolicy(0.5, 0.2, 4), drawn.chosen_L[None]
    )
    np.testing.assert_array_equal(again[0], drawn.propensity_L)
    np.testing.assert_array_equal(every[0], drawn.probability_LC)
    _, filled = asked_of(bundle, split, per_issuer=1)
    assert filled.flags == ("filled",)
    assert len(filled.drawn.candidate_ids) == 3


def test_diversity_chooses_what_is_drawn_from(bundle, split):
    closed_by(bundle, {"sector": ["a"] * 6 + ["b"] * 6})
    _, free = asked_of(bundle, split)
    _, slate = asked_of(bundle, split, diversity=3.0)
    assert set(slate.drawn.candidate_ids) < set(free.drawn.candidate_ids)
    assert len(slate.drawn.candidate_ids) == 4 + 3 - 1
    assert slate.removed["diversity"] == len(free.drawn.candidate_ids) - 6


def test_what_was_shown_so_often_is_left_out_for_days_and_comes_back_where_too_few_are_left(
    bundle, split, tmp_path
):
    params = ServeParams(retrieved=12, uniform=0, cap_shown=2, cap_days=1.0)
    service = Service(Engine.open(bundle, params), lambda: ServedLog(tmp_path / "1.log"))
    counts: dict[str, int] = {}
    for n in range(5):
        slate = service.recommend(f"r{n}", "u003", at_noon(split, n), 2)
        capped = {item for item, count in counts.items() if count >= 2}
        assert "filled" in slate.flags or not capped & set(slate.drawn.candidate_ids)
        for one in slate.drawn.shown():
            item = slate.drawn.candidate_ids[one]
            counts[item] = counts.get(item, 0) + 1
    assert {*slate.removed} & {"capped"}
    service.close()
    started = host.start(bundle, tmp_path, params).service
    again = started.engine
    now = again.scorer.now("u003", at_noon(split, 9))
    live = service.engine.who("u003", service.engine.scorer.now("u003", at_noon(split, 9)))
    assert again.who("u003", now).capped == live.capped != ()
    many = again.answer("q", "u003", at_noon(split, 9), 12)
    assert "filled" in many.flags
    assert set(live.capped) <= set(many.drawn.candidate_ids)
    later = at_noon(split, 86_400_000_009)
    assert again.who("u003", again.scorer.now("u003", later)).capped == ()
    started.close()


@pytest.mark.parametrize(("dismiss_days", "closed"), [(None, True), (2.0, False)])
def test_a_dismissal_lasts_as_long_as_a_param_says(bundle, split, dismiss_days, closed):
    engine, slate = asked_of(bundle, split, dismiss_days=dismiss_days)
    item, day = slate.drawn.candidate_ids[0], 86_400_000_000
    engine.scorer.state.add("e1", "u003", item, "dismiss", at_noon(split, 1))
    near = engine.answer("r2", "u003", at_noon(split, day), 3)
    far = engine.answer("r2", "u003", at_noon(split, 3 * day), 3)
    assert item not in near.drawn.candidate_ids
    assert (item not in far.drawn.candidate_ids) == closed


def test_prices_beside_an_item_are_those_before_the_request_and_say_from_when(bundle, split):
    engine, _ = asked_of(bundle, split)
    for n, user in enumerate(USERS[:20]):
        slate = engine.answer(f"r{n}", user, at_noon(split), 3)
        for item in slate.reasons:
            told = {one.name: one for one in slate.figures[item] if one.source == "prices"}
            assert set(told) == ({"close_eur"} if item < "i06" else set())
            if told:
                assert told["close_eur"].value == 100.0 + int(item[1:])
                assert timedelta(0) < split.cut - told["close_eur"].as_of <= 2 * DAY
    old = engine.answer("r", "u003", at_noon(split, 40 * 86_400_000_000), 3)
    assert not [one for figures in old.figures.values() for one in figures
                if one.source == "prices"], "a close of long ago is none"  # fmt: skip


def test_a_return_is_that_of_thirty_days_before_the_request(bundle, split):
    path = bundle / "facts" / "prices.parquet"
    closes = pq.read_table(path)
    rows = closes.to_pylist()
    rows += [{**row, "price_ts": row["price_ts"] - 30 * DAY, "close_eur": row["close_eur"] / 1.25}
             for row in rows]  # fmt: skip
    rows.sort(key=lambda row: (row["item_id"], row["price_ts"]))
    pq.write_table(pa.Table.from_pylist(rows, closes.schema), path)
    engine, _ = asked_of(bundle, split)
    found = [one for n in range(20)
             for figures in engine.answer(f"r{n}", USERS[n], at_noon(split), 3).figures.values()
             for one in figures if one.name == "return_30d"]  # fmt: skip
    assert found
    assert [one.value for one in found] == pytest.approx([0.25] * len(found))


def test_the_figures_behind_a_sentence_come_and_go_with_its_edge(bundle, split):
    slate = Engine.open(bundle, PARAMS).answer("r1", "u003", at_noon(split), 3)
    user, item = "u003", next(iter(slate.reasons))
    held = Engine.open(bundle, PARAMS)
    (source, *_) = held.who(user, held.scorer.now(user, at_noon(split))).held
    rows = [{"source_id": source, "target_id": item, "kind": "causal", "weight": 1.0,
             "false_sign_rate": 0.01, "support": 42}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), bundle / "neighbours.parquet")
    told = Engine.open(bundle, PARAMS).answer("r1", user, at_noon(split), 3)
    assert "estimated to raise" in told.reasons[item]
    behind = {one.name: one for one in told.figures[item] if one.source != "prices"}
    assert {name: one.value for name, one in behind.items()} == {
        "investors": 42.0, "false_sign_rate": 0.01
    }  # fmt: skip
    assert {one.source for one in behind.values()} == {f"neighbours: causal from {source}"}
    (bundle / "neighbours.parquet").unlink()
    gone = Engine.open(bundle, PARAMS).answer("r1", user, at_noon(split), 3)
    assert "estimated" not in gone.reasons[item]
    assert all(one.source == "prices" for one in gone.figures[item])


class Gone:
    """A deadline of which so much is gone, whatever the clock says."""

    def __init__(self, share):
        self.share = share

    def used(self):
        return self.share


class Dear:
    """A retriever that takes its time."""

    dear = True

    def __init__(self):
        self.asked = 0

    def retrieve(self, who, eligible_I, most):
        self.asked += 1


def beside(engine, dear):
    """Give a dear retriever, which finds nothing, half of the places."""
    retrievers = engine.recommender.retrievers | {"walk": dear}
    candidates = replace(
        engine.candidates,
        recommender=replace(engine.recommender, retrievers=retrievers),
        shares={"walk": 0.5, "dense": 0.5},
    )
    return replace(engine, candidates=candidates)


def at_share(engine, split, share, user="u003"):
    return engine.answer("r1", user, at_noon(split), 3, Gone(share))


def test_with_time_left_a_deadline_changes_nothing(engine, split):
    whole, timed = engine.answer("r1", "u003", at_noon(split), 3), at_share(engine, split, 0.5)
    assert (timed.flags, timed.policy_id, timed.reasons) == ((), "bundle", whole.reasons)
    assert timed.drawn.chosen_L.tolist() == whole.drawn.chosen_L.tolist()


def test_explanations_go_first_and_the_slate_stays_the_judged_one(engine, split):
    whole, hurried = engine.answer("r1", "u003", at_noon(split), 3), at_share(engine, split, 0.7)
    assert hurried.flags == ("degraded",)
    assert hurried.policy_id == whole.policy_id
    assert hurried.drawn.propensity_L.tolist() == whole.drawn.propensity_L.tolist()
    assert list(hurried.reasons) == list(whole.reasons)
    who = engine.who("u003", engine.scorer.now("u003", at_noon(split)))
    assert set(hurried.reasons.values()) == {f"suitable for {who.level} investors"}


@pytest.mark.parametrize(
    ("share", "asked", "flags"), [(0.5, True, ()), (0.7, False, ("degraded",))]
)
def test_dear_retrievers_are_asked_only_with_time(engine, split, share, asked, flags):
    dear = Dear()
    assert at_share(beside(engine, dear), split, share).flags == flags
    assert (dear.asked > 0) == asked


def test_a_slate_that_was_not_scored_is_the_best_found_and_nobody_judges_by_it(
    engine, split, monkeypatch
):
    monkeypatch.setattr(Scorer, "scores", lambda *_: 1 / 0)
    slate = at_share(engine, split, 0.9)
    assert slate.policy_id == f"bundle{UNEXPLORED}"
    assert slate.flags == ("degraded",)
    assert slate.drawn.shown() == [0, 1, 2], "in the order in which they were found"
    assert slate.drawn.source_C[0] == "dense"
    assert slate.drawn.propensity_L.tolist() == [1.0] * 3
    assert list(slate.reasons) == [slate.drawn.candidate_ids[one] for one in (0, 1, 2)]
    logged = record_of(slate)
    assert (logged["flags"], logged["policy_id"]) == (["degraded"], f"bundle{UNEXPLORED}")


def test_what_was_left_out_early_takes_the_explanations_along(engine, split):
    class Sooner(Gone):
        def used(self):
            self.share -= 0.1  # time does not run backwards; a step may only be the last in doubt
            return self.share

    both = beside(engine, Dear())
    slate = both.answer("r1", "u003", at_noon(split), 3, Sooner(0.75))
    assert slate.flags == ("degraded",)
    assert all(reason.startswith("suitable for") for reason in slate.reasons.values())


SERVED = []
"""Records of the one day that all tests read."""


@pytest.fixture
def day(bundle, split, tmp_path):
    """Return the folder of a log; those who ask come again, two or three times."""
    folder = tmp_path / "served"
    if not SERVED:
        serve_a_day(bundle, split, folder)
        SERVED.extend(records(folder))
    else:
        folder.mkdir()
        (folder / "0.log").write_bytes(b"".join(map(line, SERVED)))
    return folder


def serve_a_day(bundle, split, folder, requests=200):
    """Let investors ask, click, dismiss and buy by planted chances; a restart in the middle."""
    rng, step = np.random.default_rng(5), 430_000_000
    for half in range(2):
        service = Service(
            Engine.open(bundle, PARAMS), lambda half=half: ServedLog(folder / f"{half}.log")
        )
        assert (service.restore(records(folder, events_only=True)) > 0) == bool(half)
        for n in range(half * requests // 2, (half + 1) * requests // 2):
            moment = at_noon(split, n * step)
            slate = service.recommend(f"r{n:04d}", USERS[n % len(USERS)], moment, 3)
            shown = [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()]
            done = [item for item in shown if rng.random() < 0.03 * int(item[1:])]
            action = "buy" if n % 97 == 0 else "dismiss" if n % 41 == 0 else "click"
            if done:
                service.happened(
                    Event(f"s{n}-{item}", slate.user_id, item, action, moment + 1, slate.request_id)
                    for item in done
                )
        service.close()


def judged(bundle, told, split, folder, out):
    """Let the gate read what was served, champion against champion."""
    out.mkdir()
    write_log(folder, out)
    engine = ibis.duckdb.connect()
    engine.raw_sql("SET TimeZone = 'UTC'")
    exposures, outcomes = (
        engine.read_parquet(out / f"{name}.parquet") for name in ("exposures", "outcomes")
    )
    params = OpeParams(candidate="champion", min_ess=100, window_days=0.1)
    users = ibis.memtable(told.users.to_pyarrow())
    lookup = read_lookup(told.items, told.users)
    log = read_case_log(exposures, outcomes, users, lookup.item_ids, split.cut, 0.1).log
    scores = [
        {"request_id": one["request_id"], "candidate_ids": one["candidate_ids"],
         "candidate_scores": one["scores"], "candidate_chances": None,
         "champion_scores": one["scores"]}
        for one in records(folder) if one["kind"] == "slate"
    ]  # fmt: skip
    table = ibis.memtable(pa.Table.from_pylist(scores, schema(SCORES)))
    scored = aligned_scores(table, log, lookup.item_ids)
    case = build_case(log, scored, bundle, lookup, Standing("this one", 1), params)
    overlap = overlap_checks(log, case.candidate, case.champion, params)
    return case, [*log_faults(case, params), *overlap]


def test_the_gate_reads_a_served_day_and_finds_its_propensities(bundle, told, split, day):
    case, checks = judged(bundle, told, split, day, day.with_name("tables"))
    assert len(case.log) > 150
    assert case.log.reward_NL.sum() > 20
    assert [check.name for check in checks if not check.ok] == []
    assert case.identical
    np.testing.assert_allclose(case.champion.wanted_NLC, case.log.served_NLC, rtol=0, atol=1e-9)


def test_the_gate_sees_a_day_whose_propensities_are_not_those_that_drew(bundle, told, split, day):
    rows = list(records(day))
    for one in rows:
        if one["kind"] == "slate":
            one["propensities"] = [share * 0.9 for share in one["propensities"]]
    (day / "0.log").write_bytes(b"".join(map(line, rows)))
    (day / "1.log").unlink(missing_ok=True)
    _, checks = judged(bundle, told, split, day, day.with_name("tables"))
    assert [check.name for check in checks if not check.ok] == ["propensity_mismatches"]


def test_a_log_played_again_gives_every_propensity_and_every_score(bundle, day):
    asked = []

    def opened(version):
        asked.append(version)
        return Engine.open(bundle, PARAMS)

    found = replay(records(day), opened)
    assert asked == [bundle.name], "each bundle is opened once"
    assert (found.slates, found.faults) == (200, [])
    assert found.propensity <= 1e-9
    assert found.score <= 1e-5


def test_slates_that_nobody_drew_are_not_drawn_again(bundle, day):
    rows = list(records(day))
    next(one for one in rows if one["kind"] == "slate")["policy_id"] += UNEXPLORED
    found = replay(rows, lambda _: Engine.open(bundle, PARAMS))
    assert (found.slates, found.unexplored, found.faults) == (199, 1, [])


def test_after_events_were_forgotten_propensities_alone_are_compared(bundle, day):
    rows = list(records(day))
    last = next(one["event_id"] for one in reversed(rows) if one["kind"] == "event")
    rows[100:100] = [forget_record([last])]
    later = sum(one["kind"] == "slate" for one in rows[100:])
    next(one for one in reversed(rows) if one["kind"] == "slate")["scores"][0] += 1e-3
    found = replay(rows, lambda _: Engine.open(bundle, PARAMS))
    assert (found.slates, found.unscored) == (200, later - 1)
    assert "propensities that its policy does not give" in found.faults[0].says


def off(rows, name):
    """Plant a fault in the tenth slate, or before it."""
    slates = [one for one in rows if one["kind"] == "slate"]
    slate = slates[9]
    if name == "probability":
        slate["probabilities"][1][0] += 1e-7
    elif name == "score":
        slate["scores"][0] += 1e-3
    elif name == "chosen":
        slate["chosen"][:2] = slate["chosen"][1::-1]
    elif name == "bundle":
        slate["context_version"] = "0" * 12 + "+0"
    else:
        again = {one["user_id"] for one in slates[-50:]}
        done = next(one for one in rows if one["kind"] == "event" and one["user_id"] in again)
        if name == "event":
            done["item_id"] = "i05" if done["item_id"] != "i05" else "i06"
        else:
            done["moment"] -= 3_600_000_000


@pytest.mark.parametrize(
    ("name", "says"),
    [("probability", "propensities that its policy does not give"),
     ("score", "propensities that its policy does not give"),
     ("chosen", "propensities that its policy does not give"),
     ("bundle", "was drawn by another"),
     ("time", "scores that its bundle does not give"),
     ("event", "scores that its bundle does not give")],
)  # fmt: skip
def test_a_planted_difference_is_found_when_the_log_is_played_again(bundle, day, name, says):
    rows = list(records(day))
    off(rows, name)
    found = replay(rows, lambda _: Engine.open(bundle, PARAMS))
    assert found.slates == 200
    assert says in found.faults[0].says


def plant(name, engine):
    """Spoil one number of a bundle that is open."""
    if name == "weights":
        next(engine.scorer.ranker.model.parameters()).data[-1, 0] = float("nan")
        return engine
    if name == "vectors":
        vector_ND = engine.search.index.reconstruct_n(0, engine.search.index.ntotal)
        vector_ND[-1, 0] = np.inf
        engine.search.index.reset()
        engine.search.index.add(vector_ND)
        return engine
    scores = engine.scorer.scores
    spoilt = SimpleNamespace(
        **{
            each: getattr(engine.scorer, each)
            for each in ("ranker", "state", "vector", "now", "is_gone", "erased_until")
        },
        scores=lambda now, item_C: scores(now, item_C) * (np.nan if now.user == ME else 1),
    )
    return replace(engine, scorer=spoilt)


@pytest.mark.parametrize("name", ["weights", "vectors", "scores"])
def test_a_bundle_with_a_number_that_is_none_is_refused(bundle, engine, name):
    require_fit(engine, engine.acted(), 1.0)
    with pytest.raises(BrokenBundle, match=f"its {name} are not finite: train it again"):
        require_fit(plant(name, Engine.open(bundle, PARAMS)), set(), 1.0)


def test_what_was_acted_on_are_the_items_of_the_histories(engine, told, split):
    before = told.events.filter(told.events.event_ts <= split.cut).item_id.to_pyarrow()
    assert engine.acted() == set(before.to_pylist()) & engine.item_row.keys()


def test_an_engine_that_is_swapped_out_leaves_nothing_behind(bundle, split, tmp_path):
    service = Service(Engine.open(bundle, PARAMS), lambda: ServedLog(tmp_path / "1.log"))
    service.overshadow(Engine.open(bundle, PARAMS, "shadow"))
    service.try_out(Engine.open(bundle, PARAMS, "canary"), 0.5)
    for n in range(6):
        service.recommend(f"r{n}", f"u{n:03d}", at_noon(split), 3)
    arms = service.arms
    seen = [weakref.ref(one) for one in arms.engines()]
    models = [weakref.ref(one.scorer.ranker.model) for one in arms.engines()]
    del arms
    service.swap(Engine.open(bundle, PARAMS, "next"))
    service.overshadow(None)
    service.try_out(None)
    gc.collect()
    assert [one() for one in (*seen, *models)] == [None] * 6
    service.close()


def test_both_arms_are_replayed_by_their_bundles_and_the_shadow_scores_as_it_would_serve(
    bundle, split, tmp_path
):
    service = Service(Engine.open(bundle, PARAMS, "v1"), lambda: ServedLog(tmp_path / "1.log"))
    service.try_out(Engine.open(bundle, PARAMS, "candidate-1"), 0.5)
    service.overshadow(Engine.open(bundle, PARAMS, "v1s"))
    rows = sorted(happenings(split, USERS), key=lambda row: row["moment"])[:40]
    for n, row in enumerate(rows):  # in time, so that what comes later changes no score
        service.recommend(f"r{n}", row["user_id"], row["moment"], 3)
        service.happened([Event(**row)])
    service.close()
    told = list(records(tmp_path))
    slates = {one["request_id"]: one for one in told if one["kind"] == "slate"}
    assert {one["policy_id"] for one in slates.values()} == {"v1", "candidate-1"}
    opened = []
    found = replay(
        told, lambda version: opened.append(version) or Engine.open(bundle, PARAMS, version)
    )
    assert not found.faults
    assert found.propensity < 1e-12
    assert sorted(opened) == ["candidate-1", "v1"]
    shadows = [one for one in told if one["kind"] == "shadow"]
    assert len(shadows) == 40
    for one in shadows:
        shown = slates[one["request_id"]]
        np.testing.assert_allclose(one["scores"], shown["scores"], atol=1e-5)
        np.testing.assert_allclose(one["propensities"], shown["propensities"], atol=1e-5)
