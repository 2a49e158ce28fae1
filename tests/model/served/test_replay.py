"""A served day is read by the gate, and played again to the same propensities and scores."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import DAY_US, schema
from tessera.contracts.tables import SCORES, UNEXPLORED
from tessera.platform.watching.skew import Sample, skew
from tessera.serve.engine import Engine
from tessera.serve.events import Event, forget_record
from tessera.serve.hours import records
from tessera.serve.log import ServedLog, line
from tessera.serve.replay import replay
from tessera.serve.service import Service
from tessera.serve.whole_log import write_log
from tessera.stages.ope.case import build_case
from tessera.stages.ope.checks import overlap_checks
from tessera.stages.ope.exposures import aligned_scores
from tessera.stages.ope.judge import log_faults
from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reading import read_case_log
from tessera.stages.ope.spending import Standing

SERVED = []
"""Records of the one day that all tests read."""


@pytest.fixture
def day(bundle, few, users, at_noon, tmp_path):
    """Return the folder of a log; those who ask come again, two or three times."""
    folder = tmp_path / "served"
    if not SERVED:
        serve_a_day(lambda: Engine.open(bundle, few), users, at_noon, folder)
        SERVED.extend(records(folder))
    else:
        folder.mkdir()
        (folder / "0.log").write_bytes(b"".join(map(line, SERVED)))
    return folder


def serve_a_day(engines, users, at_noon, folder, requests=200):
    """Let investors ask, click, dismiss and buy by planted chances; a restart in the middle."""
    rng, step = np.random.default_rng(5), 430_000_000
    for half in range(2):
        service = Service(engines(), lambda half=half: ServedLog(folder / f"{half}.log"))
        assert (service.restore(records(folder, events_only=True)) > 0) == bool(half)
        for n in range(half * requests // 2, (half + 1) * requests // 2):
            moment = at_noon(n * step)
            slate = service.recommend(f"r{n:04d}", users[n % len(users)], moment, 3)
            shown = [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()]
            done = [item for item in shown if rng.random() < 0.03 * int(item[1:])]
            action = "buy" if n % 97 == 0 else "dismiss" if n % 41 == 0 else "click"
            if done:
                service.happened(
                    Event(f"s{n}-{item}", slate.user_id, item, action, moment + 1, slate.request_id)
                    for item in done
                )
            if n % 29 == 14:
                who, request = slate.user_id, slate.request_id
                service.happened([Event(f"c{n}", who, shown[0], "complain", moment + 2, request)])
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


def test_a_log_played_again_gives_every_propensity_and_every_score(bundle, day, few):
    asked = []

    def opened(version):
        asked.append(version)
        return Engine.open(bundle, few)

    found = replay(records(day), opened)
    assert asked == [bundle.name], "each bundle is opened once"
    assert (found.slates, found.faults) == (200, [])
    assert found.propensity <= 1e-9
    assert found.score <= 1e-5


def test_slates_that_nobody_drew_are_not_drawn_again(bundle, day, few):
    rows = list(records(day))
    next(one for one in rows if one["kind"] == "slate")["policy_id"] += UNEXPLORED
    found = replay(rows, lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unexplored, found.faults) == (199, 1, [])


def test_after_events_were_forgotten_propensities_alone_are_compared(bundle, day, few):
    rows = list(records(day))
    last = next(one["event_id"] for one in reversed(rows) if one["kind"] == "event")
    rows[100:100] = [forget_record([last])]
    later = sum(one["kind"] == "slate" for one in rows[100:])
    next(one for one in reversed(rows) if one["kind"] == "slate")["scores"][0] += 1e-3
    found = replay(rows, lambda _: Engine.open(bundle, few))
    assert (found.slates, found.unscored) == (200, later - 1)
    assert "propensities that its policy does not give" in found.faults[0].says


def test_what_several_processes_logged_is_compared_as_far_as_its_order_is_known(bundle, day, few):
    rows, here = list(records(day)), {}
    for one in rows:
        here[one["kind"]] = not here.get(one["kind"], False)
        one["other"] = one["kind"] == "event" and here["event"]
    rows.sort(key=lambda one: one.pop("other"))  # the segment of another process comes later
    found = replay(rows, lambda _: Engine.open(bundle, few))
    assert (found.slates, found.faults, found.is_shared) == (200, [], True)
    assert 0 < found.unordered < 200
    assert max(found.score, found.propensity) <= 1e-5
    off(rows, "probability")
    found = replay(rows, lambda _: Engine.open(bundle, few))
    assert ["propensities" in one.says for one in found.faults] == [True]


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
def test_a_planted_difference_is_found_when_the_log_is_played_again(bundle, day, name, says, few):
    rows = list(records(day))
    off(rows, name)
    found = replay(rows, lambda _: Engine.open(bundle, few))
    assert found.slates == 200
    assert says in found.faults[0].says


def test_both_arms_are_replayed_by_their_bundles_and_the_shadow_scores_as_it_would_serve(
    bundle, tmp_path, few, happenings
):
    service = Service(Engine.open(bundle, few, "v1"), lambda: ServedLog(tmp_path / "1.log"))
    service.try_out(Engine.open(bundle, few, "candidate-1"), 0.5)
    service.overshadow(Engine.open(bundle, few, "v1s"))
    rows = sorted(happenings(), key=lambda row: row["moment"])[:40]
    for n, row in enumerate(rows):  # in time, so that what comes later changes no score
        service.recommend(f"r{n}", row["user_id"], row["moment"], 3)
        service.happened([Event(**row)])
    service.close()
    told = list(records(tmp_path))
    slates = {one["request_id"]: one for one in told if one["kind"] == "slate"}
    assert {one["policy_id"] for one in slates.values()} == {"v1", "candidate-1"}
    opened = []
    found = replay(
        told, lambda version: opened.append(version) or Engine.open(bundle, few, version)
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


NAMES = {f"r{n:04d}" for n in range(200)}


def test_a_sample_of_a_served_day_has_no_skew(day, bundle, few, at_noon):
    number = at_noon(0) // DAY_US
    sample = Sample(20)
    for name in sorted(NAMES):
        sample.take(name)
    assert len(sample.names) == 20
    found = skew(day, number, sample.names, lambda _: Engine.open(bundle, few))
    assert found["skew.score", "all"].rows == 20
    assert found["skew.score", "all"].value <= 1e-5
    assert found["skew.propensity", "all"].value <= 1e-9


def test_a_score_that_the_bundle_does_not_give_is_skew(day, bundle, few, at_noon):
    """One score is a tenth higher than it was, and what was drawn with it too."""
    rows = list(records(day))
    slate = next(one for one in rows if one["kind"] == "slate" and len(one["scores"]) > 3)
    slate["scores"][0] += 0.1
    for path in day.glob("*.log"):
        path.unlink()
    (day / "0.log").write_bytes(b"".join(map(line, rows)))
    number = at_noon(0) // DAY_US
    found = skew(day, number, {slate["request_id"]}, lambda _: Engine.open(bundle, few))
    assert found["skew.propensity", "all"].value > 1e-4


@pytest.mark.parametrize("name", ["bundle", "nan"])
def test_what_cannot_be_compared_is_as_far_as_can_be(day, bundle, few, at_noon, monkeypatch, name):
    """Another bundle under the name that is logged, or one that gives no numbers any more."""
    rows = list(records(day))
    if name == "bundle":
        off(rows, name)
    slate = [one for one in rows if one["kind"] == "slate"][9]
    for path in day.glob("*.log"):
        path.unlink()
    (day / "0.log").write_bytes(b"".join(map(line, rows)))
    engine = Engine.open(bundle, few)
    if name == "nan":
        nothing = lambda _self, _now, item_C: np.full(len(item_C), np.nan)  # noqa: E731
        monkeypatch.setattr(type(engine.scorer), "scores", nothing)
    found = skew(day, at_noon(0) // DAY_US, {slate["request_id"]}, lambda _: engine)
    expected = {"bundle": ("skew.propensity", 1.0), "nan": ("skew.score", 1e6)}
    series, far = expected[name]
    assert found[series, "all"].value == far


def test_nothing_is_told_of_a_bundle_that_is_gone(day, at_noon):
    assert skew(day, at_noon(0) // DAY_US, NAMES, lambda _: None) == {}
    assert skew(day, at_noon(0) // DAY_US, set(), lambda _: None) == {}
