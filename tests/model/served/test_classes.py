"""Classes that are told count for the very next slate, and are played again with the log."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.model.sequences.fact_tables import open_facts, pin_standing
from tessera.model.sequences.requests import read_requests
from tessera.serve.classes import InvestorClass
from tessera.serve.engine import Engine
from tessera.serve.erased import Erased
from tessera.serve.events import Event
from tessera.serve.hours import records
from tessera.serve.log import ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.replay import replay
from tessera.serve.sealing import users as told_users
from tessera.serve.service import Service
from tessera.serve.shadow import shadow_record
from tessera.serve.slate import at
from tessera.serve.whole_log import write_log
from tessera.stages.hstu.published import Happened, _versions, scores_of_published
from tests.model.served.test_scores import batch, features_of

DAY_US = 86_400_000_000


def telling(user, risk, moment, *, since=None, capacity=None):
    since = moment if since is None else since
    return InvestorClass(f"\x1f{user}{since}{moment}", user, risk, capacity, since, moment)


@pytest.fixture
def service(bundle, few, tmp_path):
    found = Service(Engine.open(bundle, few), lambda: ServedLog(tmp_path / "served" / "0.log"))
    yield found
    found.close()


def risks(engine):
    items = engine.recommender.items
    return dict(zip(items["item_id"].to_pylist(), items["risk_class"].to_pylist(), strict=True))


def test_the_next_slate_of_whoever_is_of_a_lower_class_now_shows_nothing_above_it(service, at_noon):
    risk_of, moment = risks(service.engine), at_noon(DAY_US)
    before = service.recommend("r0", "u003", moment, 12)
    assert max(risk_of[item] for item in before.drawn.candidate_ids) == 4
    for n, risk in enumerate((1, 3, 2)):
        # At the very moment of the request, which is the last one before it.
        assert service.classed([telling("u003", risk, moment + n)]) == 1
        slate = service.recommend(f"r{n + 1}", "u003", moment + n, 12)
        found = [risk_of[item] for item in slate.drawn.candidate_ids]
        assert max(found) == risk
        now = service.engine.scorer.now("u003", moment + n)
        assert now.facts.risk_as_of(np.array([0]), np.array([moment + n])).tolist() == [risk]
    assert service.recommend("r9", "u007", moment, 12).removed.get("risk") is None
    assert service.engine.who("u003", service.engine.scorer.now("u003", moment)).risk_class == 1


def test_an_investor_nobody_knew_is_served_by_the_class_that_was_told(service, at_noon):
    moment, risk_of = at_noon(DAY_US), risks(service.engine)
    before = service.recommend("r0", "nobody", moment, 12)
    assert ("cold" in before.flags, max(risk_of[one] for one in before.reasons)) == (True, 1)
    service.classed([telling("nobody", 3, moment)])
    after = service.recommend("r1", "nobody", moment, 12)
    assert "cold" not in after.flags
    assert max(risk_of[item] for item in after.drawn.candidate_ids) == 3


def test_what_is_too_dear_by_the_capacity_that_was_told_is_not_shown(bundle, at_noon):
    params = ServeParams(retrieved=12, uniform=0, capacity_eur=[102.5, 30_000.0])
    engine, moment = Engine.open(bundle, params), at_noon(DAY_US)
    engine.scorer.state.classify([telling("u003", 4, moment, capacity=2)])
    assert "capacity" not in engine.answer("r1", "u003", moment, 12).removed
    engine.scorer.state.classify([telling("u003", 4, moment + 1, capacity=1)])
    slate = engine.answer("r1", "u003", moment + 1, 12)
    assert slate.removed["capacity"] == 3
    assert not {"i03", "i04", "i05"} & set(slate.drawn.candidate_ids)
    engine.scorer.state.classify([telling("u003", 2, moment + 2)])
    assert engine.who("u003", engine.scorer.now("u003", moment + 2)).capacity_class == 1


def test_a_bundle_says_since_when_it_knows_a_class_and_nothing_of_whoever_was_erased(
    bundle, few, at_noon, tmp_path
):
    engine, moment = Engine.open(bundle, few), at_noon(DAY_US)
    said = engine.published("u003")
    (told,) = (row for row in pq.read_table(bundle / "facts" / "users.parquet").to_pylist()
               if row["user_id"] == "u003")  # fmt: skip
    assert (at(said.since), said.risk_class) == (told["valid_from"], told["risk_class"])
    assert engine.published("nobody") is None
    erased = Erased(tmp_path / "served")
    erased.add("u003", moment)
    again = replace(engine, scorer=replace(engine.scorer, erased=erased))
    assert again.published("u003") is None
    engine.scorer.state.classify([telling("u003", 2, moment)])
    assert again.who("u003", again.scorer.now("u003", moment + 9)).risk_class == 1
    engine.scorer.state.classify([telling("u003", 2, moment + 1)])
    assert again.who("u003", again.scorer.now("u003", moment + 9)).risk_class == 2


def test_a_class_that_nobody_was_of_before_is_scored(bundle, few, at_noon):
    """The effects of the bundle are by class, up to the highest that it knows."""
    engine, moment = Engine.open(bundle, few), at_noon(DAY_US)
    low = replace(engine.scorer.ranker.facts, risk_U=np.ones_like(
        engine.scorer.ranker.facts.risk_U))  # fmt: skip
    ranker = replace(engine.scorer.ranker, facts=low)
    scorer = type(engine.scorer).fresh(ranker)
    scorer.state.classify([telling("u003", 4, moment)])
    assert np.isfinite(scorer.scores(scorer.now("u003", moment), np.arange(1, 13))).all()


def test_features_read_the_class_as_the_batch_does_of_the_next_run(
    folder, scorer, split, users, happenings
):
    rows = sorted(happenings(), key=lambda row: row["moment"])[:200]
    rng, items, told, asked, features = np.random.default_rng(3), np.arange(1, 13), [], [], []
    for row in rows:
        moment = row["moment"]
        if rng.random() < 0.8 and all(at < moment - 1 for _, at in asked):
            user = users[rng.integers(len(users))]
            told.append(telling(user, int(rng.integers(1, 5)), moment - int(rng.integers(0, 2)),
                                since=moment - int(rng.integers(2, 90_000_000))))  # fmt: skip
            scorer.state.classify(told[-1:])
        user = told[-1].user_id if told and rng.random() < 0.5 else row["user_id"]
        asked.append((user, moment))
        features.append(features_of(scorer, scorer.now(user, moment), items))
        scorer.state.add(**row)
    versions = told_users([one.record() for one in told]).to_pylist()
    assert len(versions) > 40
    _, found = batch(folder, split, rows, asked, versions=versions)
    np.testing.assert_allclose(features, found, atol=1e-6)
    moved = [one | {"valid_from": one["valid_from"] + timedelta(days=99)} for one in versions]
    _, other = batch(folder, split, rows, asked, versions=moved)
    assert np.nanmax(np.abs(np.array(features) - other)) >= 1


def serve_days_with_classes(engines, users, at_noon, folder, requests=120):
    """Let classes change, some told late, some corrected; a restart halfway."""
    rng, step = np.random.default_rng(5), 7_200_000_000
    for half in range(2):
        service = Service(engines(), lambda half=half: ServedLog(folder / f"{half}.log"))
        service.restore(records(folder, events_only=True))
        for n in range(half * requests // 2, (half + 1) * requests // 2):
            moment, user = at_noon(n * step), users[n % 30]
            if n % 3 == 0:
                since = moment - int(rng.integers(0, 20)) * DAY_US // 4
                service.classed(
                    telling(one, int(rng.integers(1, 5)), moment, since=since)
                    for one in {user, users[int(rng.integers(30))]}
                )
            service.recommend(f"r{n:04d}", user, moment, 3)
            service.happened([Event(f"s{n}", user, f"i{n % 12:02d}", "click", moment + 1)])
        service.close()


@pytest.fixture
def days(bundle, few, users, at_noon, tmp_path):
    serve_days_with_classes(lambda: Engine.open(bundle, few), users, at_noon, tmp_path / "served")
    return list(records(tmp_path / "served"))


def test_a_log_with_classes_between_its_slates_is_played_again(bundle, few, days):
    classes = [one for one in days if one["kind"] == "class"]
    assert len(classes) > 40
    assert any(one["valid_from"] < one["moment"] - DAY_US for one in classes), "told late"
    slates = [one for one in days if one["kind"] == "slate"]
    assert len({one["context_version"].split("+")[3] for one in slates}) > 35
    found = replay(days, lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unscored, found.faults) == (120, 0, [])
    assert found.propensity <= 1e-9
    risk_of = risks(Engine.open(bundle, few))
    known = {}
    for one in days:
        if one["kind"] == "class":
            known[one["user_id"]] = one["risk_class"]
        elif one["kind"] == "slate" and one["user_id"] in known:
            assert max(risk_of[item] for item in one["candidate_ids"]) <= known[one["user_id"]]


def test_a_class_that_is_told_late_changes_nothing_of_what_was_known_before(bundle, few, days):
    late = [one for one in days if one["kind"] == "slate"][60]
    strange = telling(late["user_id"], 5 - 1, 10**18, since=late["moment"] - DAY_US).record()
    found = replay([strange, *days], lambda _: Engine.open(bundle, few))
    assert (found.slates, found.faults) == (120, [])


@pytest.mark.parametrize("plant", ["class", "told", "lost", "since"])
def test_a_class_that_was_another_one_is_found_when_the_log_is_played_again(
    bundle, few, days, plant
):
    classes = [one for one in days if one["kind"] == "class"]
    for one in classes:
        if plant == "class":
            one["risk_class"] = 5 - one["risk_class"]
        elif plant == "told":
            one["moment"] += 2 * DAY_US
        elif plant == "since":
            one["valid_from"] += 3 * DAY_US
        else:
            days.remove(one)
    found = replay(days, lambda _: Engine.open(bundle, few))
    assert "scores that its bundle does not give" in found.faults[0].says
    assert found.propensity <= 1e-9


def test_of_two_processes_one_may_have_known_no_class_yet(bundle, few, at_noon, tmp_path):
    moment = at_noon(3 * DAY_US)
    told, untold = (
        Service(Engine.open(bundle, few), lambda n=n: ServedLog(tmp_path / f"{n}.log"))
        for n in range(2)
    )
    told.classed([telling("u003", 1, moment)])
    told.recommend("r1", "u003", moment, 3)
    untold.recommend("r2", "u003", moment, 3)
    told.close()
    untold.close()
    found = replay(records(tmp_path), lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unscored, found.faults) == (2, 0, [])


def test_a_canary_and_a_shadow_count_the_class_too(service, bundle, few, at_noon):
    moment, risk_of = at_noon(DAY_US), risks(service.engine)
    other = Engine.open(bundle, few, "v2")
    service.try_out(other, 1.0)
    service.classed([telling("u003", 1, moment)])
    slate = service.recommend("r1", "u003", moment, 12)
    assert slate.version == "v2"
    assert max(risk_of[item] for item in slate.drawn.candidate_ids) == 1
    beside = Engine.open(bundle, few, "v3")
    before = shadow_record(beside, slate)["scores"]
    service.inform(beside)
    after = shadow_record(beside, slate)
    np.testing.assert_array_equal(after["scores"], slate.drawn.score_C.astype(float))
    assert np.abs(np.array(after["scores"]) - before).max() > 1e-6
    assert after["context_version"] == slate.context_version


@pytest.mark.parametrize("is_told", [True, False])
def test_the_champion_is_asked_with_the_classes_that_it_was_told(
    bundle, split, days, tmp_path, is_told
):
    out, champion, engine = tmp_path / "out", tmp_path / "champion", ibis.duckdb.connect()
    out.mkdir()
    write_log(tmp_path / "served", out)
    shutil.copytree(bundle / "model", champion / "model")
    pin_standing(bundle / "facts", champion / "facts")
    (champion / "champion.json").write_text(json.dumps({"version": "v1", "kind": "model"}))
    engine.raw_sql("SET TimeZone = 'UTC'")
    before, tables = open_facts(bundle / "facts", engine)
    names = before.to_pyarrow().schema
    happened = pq.read_table(out / "events.parquet").select(names.names).cast(names)
    events = ibis.memtable(pa.concat_tables([before.to_pyarrow(), happened]))
    users = tables.users.to_pyarrow()
    if is_told:
        behind = pq.read_table(out / "users.parquet").select(users.column_names)
        users = pa.concat_tables([users, behind.cast(users.schema)])
    shown = engine.read_parquet(out / "exposures.parquet")
    rows = read_requests(shown, split)
    later = replace(split, test_until=split.test_until + timedelta(days=4000))
    happened = Happened(events, tables.prices, ibis.memtable(users))
    found = scores_of_published(champion, rows, happened, later, None)
    logged = {one["request_id"]: one["scores"] for one in days if one["kind"] == "slate"}
    wanted = np.concatenate([logged[name] for name in rows["request_id"].to_pylist()])
    gap = np.abs(found - wanted).max()
    assert (gap < 1e-5) if is_told else (gap > 1e-3)


def test_behind_a_bundles_last_version_of_an_investor_those_of_the_run_count():
    def versions(*rows):
        names = ("user_id", "valid_from", "risk_class")
        made = [dict(zip(names, (user, at(day * DAY_US), risk), strict=True))
                for user, day, risk in rows]  # fmt: skip
        return ibis.memtable(pa.Table.from_pylist(made))

    bundle = versions(("a", 1, 1), ("a", 5, 2), ("b", 9, 3))
    run = versions(("a", 1, 4), ("a", 5, 4), ("a", 6, 4), ("b", 3, 4), ("c", 2, 1))
    found = _versions(bundle, run).to_pyarrow().to_pylist()
    assert [(row["user_id"], (row["valid_from"] - at(0)).days, row["risk_class"])
            for row in found] == [
        ("a", 1, 1), ("a", 5, 2), ("a", 6, 4), ("b", 9, 3), ("c", 2, 1)
    ]  # fmt: skip
