"""What is served as of now is what the batch would compute of the same moment, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import ACTIONS, PRICES
from tessera.model.sequences.catalogue import microsecond, read_catalogue
from tessera.model.sequences.fact_tables import FactTables, open_facts, people_of, read_facts
from tessera.model.sequences.reading import read_histories, tie_order
from tessera.model.sequences.requests import Requests
from tessera.model.trunk.log_scores import Known, score_log
from tessera.serve.closes import Close
from tessera.serve.online import recent as recent_events
from tessera.serve.online.investor import ME
from tessera.serve.online.recent import Recent
from tessera.serve.online.scorer import Scorer
from tessera.serve.ranker import open_ranker
from tessera.shared.features.facts import NOBODY, Queries
from tessera.shared.features.ranking import slate_features

DAY = timedelta(days=1)


def feed(scorer, rows):
    for row in rows:
        scorer.state.add(**row)


def behind(users, versions):
    """Put versions behind those of a table."""
    if not versions:
        return users
    rows = users.to_pyarrow()
    later = pa.Table.from_pylist(list(versions)).select(rows.column_names)
    return ibis.memtable(pa.concat_tables([rows, later.cast(rows.schema)]))


def batch(folder, split, rows, asked, closes=(), versions=()):
    """Score requests as the batch does, from one table each of all events, closes and versions.

    Return the features of each request too.
    """
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
    users = behind(tables.users, versions)
    people = people_of(histories.user_id_U, users)
    codes = ranker.model.codes_VC.numpy()
    named = {name: getattr(tables, name) for name in FactTables.__annotations__} | {"users": users}
    told = [{"item_id": one.item_id, "price_ts": one.moment, "close_eur": one.close_eur}
            for one in closes]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(told, schema(PRICES)), folder / "told.parquet")
    named["prices"] = named["prices"].select(*PRICES.names).union(
        engine.read_parquet(folder / "told.parquet", table_name="told")
    )  # fmt: skip
    facts = read_facts(FactTables(**named), histories, catalogue, codes, people)
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
    _, feature_RMF = slate_features(
        facts, person, requests.moment_R, np.tile(items, (len(asked), 1)),
        ranker.model.shape.feature_groups,
    )  # fmt: skip
    return found.served_C.reshape(len(asked), -1), feature_RMF


@pytest.fixture
def served(scorer, users, happenings):
    """Ask while events arrive: before each request all events that happened before it are known."""
    rows = sorted(happenings(), key=lambda row: row["moment"])
    rng = np.random.default_rng(7)
    asked, scores, known = [], [], 0
    items = np.arange(1, 13)
    for stop in range(40, len(rows), 9):
        feed(scorer, (rows[n] for n in known + rng.permutation(stop - known)))
        user, moment, known = users[rng.integers(len(users))], rows[stop]["moment"], stop
        asked.append((user, moment))
        scores.append(scorer.scores(scorer.now(user, moment), items))
    return rows, asked, np.array(scores)


def test_scores_as_of_now_are_those_of_the_batch(folder, split, served):
    rows, asked, scores = served
    assert np.ptp(scores, axis=1).min() > 1e-3
    np.testing.assert_allclose(scores, batch(folder, split, rows, asked)[0], atol=1e-5)


def test_an_event_that_is_moved_by_a_microsecond_is_seen(folder, split, served):
    rows, asked, scores = served
    at = {moment for _, moment in asked}
    moved = [row | {"moment": row["moment"] - (row["moment"] in at)} for row in rows]
    assert np.abs(scores - batch(folder, split, moved, asked)[0]).max() > 1e-4


DAY_US = 86_400_000_000


def ends_of_days(split, days=40, seed=3):
    """Draw closes of the days after the cut, told before the day is over, if at its last second."""
    rng = np.random.default_rng(seed)
    first = microsecond(split.cut) // DAY_US * DAY_US
    return [
        Close(f"i{item:02d}", first + (day + 1) * DAY_US - 1_000_000 * int(rng.integers(1, 3)),
              float(100 * np.exp(rng.normal(0, 0.3))), 0)
        for day in range(days) for item in range(0, 12, 2) if rng.random() < 0.7
    ]  # fmt: skip


def features_of(scorer, now, items):
    groups = scorer.ranker.model.shape.feature_groups
    found = slate_features(now.facts, np.array([ME]), np.array([now.moment]), items[None], groups)
    return found[1][0]


@pytest.fixture
def priced(scorer, split, users, happenings):
    """Ask just before and after midnight, while events and closes arrive, each in its time."""
    rows = sorted(happenings(), key=lambda row: row["moment"])[:200]
    closes = ends_of_days(split)
    midnights = sorted({one.moment // DAY_US + 1 for one in closes})
    asked = [
        (users[(7 * n + k) % len(users)], day * DAY_US + seconds * 1_000_000)
        for n, day in enumerate(midnights)
        for k, seconds in enumerate((-1, 0, 1, 40_000))
    ]
    scores, features, items = [], [], np.arange(1, 13)
    for user, moment in asked:
        feed(scorer, (one for one in rows if one["moment"] < moment))
        scorer.state.prices.learn(
            replace(one, told=one.moment) for one in closes if one.moment <= moment
        )
        now = scorer.now(user, moment)
        scores.append(scorer.scores(now, items))
        features.append(features_of(scorer, now, items))
    return rows, closes, asked, np.array(scores), np.array(features)


def skew(one, other):
    """Return the largest difference; what is unknown on one side alone is a large one."""
    gap = np.abs(one - other)
    return float(np.where(np.isnan(one) & np.isnan(other), 0.0, np.nan_to_num(gap, nan=9.0)).max())


def test_features_read_closes_that_came_while_serving_as_the_batch_does(folder, split, priced):
    rows, closes, asked, scores, features = priced
    batch_scores, batch_features = batch(folder, split, rows, asked, closes)
    assert skew(features, batch_features) < 1e-6
    np.testing.assert_allclose(scores, batch_scores, atol=1e-5)
    assert skew(features, batch(folder, split, rows, asked)[1]) > 0.01, "they are read at all"


@pytest.mark.parametrize("plant", ["one price", "one second"])
def test_one_price_or_one_second_is_seen_between_service_and_batch(folder, split, priced, plant):
    rows, closes, asked, _, features = priced
    n = next(n for n, one in enumerate(closes) if one.moment % DAY_US == DAY_US - 1_000_000)
    if plant == "one price":
        closes[n] = replace(closes[n], close_eur=closes[n].close_eur + 0.01)
    else:
        closes[n] = replace(closes[n], moment=closes[n].moment + 1_000_000)
    assert skew(features, batch(folder, split, rows, asked, closes)[1]) > 1e-5


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


def counted(rows, actions, asked, ago):
    return [
        sum(row[0] == item and row[1] in actions and row[2] < moment - ago for row in rows)
        for item, moment in zip(asked.item_Q, asked.moment_Q, strict=True)
    ]


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 2600])
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
        wanted = counted(rows, actions, asked, ago)
        assert recent.seen().item_counts(actions, asked, ago).tolist() == wanted


def test_counts_are_those_of_a_loop_whenever_requests_ask_and_whatever_came_since(
    scorer, monkeypatch
):
    monkeypatch.setattr(recent_events, "_ROWS", 4)
    monkeypatch.setattr(recent_events, "_FAR", 2.0)
    recent, rng, rows, snapshots = Recent(scorer.ranker.facts), np.random.default_rng(0), [], []
    for number in range(300):
        # Moments move on, and what comes is late by up to a third of all time.
        row = (int(rng.integers(1, 13)), int(rng.integers(len(ACTIONS))),
               number - int(rng.integers(0, 100) * (rng.random() < 0.2)))  # fmt: skip
        recent.add(*row)
        rows.append(row)
        snapshots.append(recent.seen())
        # Of now, of then with what is known now, and of a request that began a while ago.
        for moment, seen in ((number + 1, number), (int(rng.integers(-9, 310)), number),
                             (number - 5, max(number - 7, 0))):  # fmt: skip
            asked = Queries(np.array([0]), np.array([moment]), np.zeros(12, int), np.arange(1, 13))
            for actions, ago in (((2,), 0), ((0, 1), 60)):
                wanted = counted(rows[: seen + 1], actions, asked, ago)
                assert snapshots[seen].item_counts(actions, asked, ago).tolist() == wanted


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
