"""A canary answers its share, a shadow is never waited for, and both know what happened."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tessera.contracts.errors import BadParams, BrokenBundle, BrokenHistory
from tessera.serve import follower, guardrail, measures
from tessera.serve.arms import in_share
from tessera.serve.challengers import Challenger, Challengers, Unfound
from tessera.serve.closed import seal_closed
from tessera.serve.erased import Erased
from tessera.serve.events import Event
from tessera.serve.follower import Follower
from tessera.serve.hours import records
from tessera.serve.log import ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.shadow import Shadow
from tessera.serve.whole_log import write_log
from tessera.shared.policies.slate import SlatePolicy, slate_propensities

NOW = 1_700_000_000_000_000
DAY = 86_400_000_000
MANY = [f"u{n}" for n in range(4000)]


def identity_of(name):
    """What a planted bundle is known by."""
    return name.ljust(64, "0")


def kinds(service, kind):
    return [one for one in records(service.log.path.parent) if one["kind"] == kind]


def test_who_is_in_a_share_follows_from_id_and_key_alone():
    found = {user for user in MANY if in_share(user, "a" * 64, 0.05)}
    assert 150 < len(found) < 250
    assert found < {user for user in MANY if in_share(user, "a" * 64, 0.1)}
    other = {user for user in MANY if in_share(user, "b" * 64, 0.05)}
    assert len(found & other) < 30
    assert [in_share("u17", "a" * 64, share) for share in (0.5, 0.9)] == [True, True]
    assert not in_share("u1", "a" * 64, 0.0)


def test_a_canary_answers_its_share_and_the_log_tells_which_arm_and_how_likely(service, engine):
    service.try_out(engine("v2"), 0.3)
    for n, user in enumerate(MANY[:200]):
        slate = service.recommend(f"r{n}", user, NOW + n, 3)
        assert slate.version == ("v2" if in_share(user, identity_of("v2"), 0.3) else "v1")
    logged = kinds(service, "slate")
    assert {one["policy_id"] for one in logged} == {"v1", "v2"}
    told = {(one["canary"], one["canary_identity"], one["share"]) for one in logged}
    assert told == {("v2", identity_of("v2"), 0.3)}
    for one in logged[:20]:
        score_1C = np.array([one["scores"]])
        propensity, _ = slate_propensities(
            score_1C, np.ones_like(score_1C, bool), SlatePolicy(1.0, 0.2, 3),
            np.array([one["chosen"]]),
        )  # fmt: skip
        np.testing.assert_allclose(propensity[0], one["propensities"], atol=1e-12)
    service.try_out(None)
    service.recommend("last", "u1", NOW + 999, 3)
    assert "canary" not in kinds(service, "slate")[-1]


def test_all_that_is_asked_knows_what_happened_before_and_since(service, engine):
    service.happened([Event("e1", "u1", "i0", "click", NOW)])
    canary, shadow = engine("v2"), engine("v3")
    service.try_out(canary, 0.5)
    service.overshadow(shadow)
    service.happened([Event("e2", "u1", "i1", "click", NOW + 1)])
    for one in (service.engine, canary, shadow):
        assert len(one.scorer.state.known("u1").events) == 2
    service.forget("u1")
    for one in (service.engine, canary, shadow):
        assert not one.scorer.state.known("u1").events


def test_a_shadow_scores_what_was_shown_and_shows_nothing(service, engine, tmp_path):
    service.overshadow(engine("v2"))
    slate = service.recommend("r1", "u1", NOW, 3)
    service.overshadow(None)
    (one,) = kinds(service, "shadow")
    assert (one["request_id"], one["policy_id"], slate.version) == ("r1", "v2", "v1")
    assert one["scores"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    score_1C = np.array([one["scores"]])
    want, _ = slate_propensities(
        score_1C, np.ones_like(score_1C, bool), SlatePolicy(1.0, 0.2, 3),
        slate.drawn.chosen_L[None],
    )  # fmt: skip
    np.testing.assert_array_equal(one["propensities"], want[0])
    folder = service.log.path.parent
    (tmp_path / "out").mkdir()
    assert write_log(folder, tmp_path / "out")["exposures"]["rows"] == 3
    assert not list(records(folder, events_only=True))


def test_a_slow_shadow_is_never_waited_for_and_misses_what_finds_no_place(service, engine):
    go_on, slow = threading.Event(), engine("v2")
    scores = slow.scores_of
    slow.scores_of = lambda *asked: (go_on.wait(10), scores(*asked))[1]
    before = measures.SHADOW.labels("missed")._value.get()
    shadow = Shadow(slow, service._intake.append, most=2)
    slate = service.recommend("r1", "u1", NOW, 3)
    for _ in range(10):
        shadow.offer(slate)
    assert measures.SHADOW.labels("missed")._value.get() - before in (7, 8)
    go_on.set()
    shadow.close()
    assert len(kinds(service, "shadow")) in (2, 3)


def test_a_shadow_that_fails_is_counted_and_goes_on(service, engine):
    odd = engine("v2")
    odd.scores_of = lambda *asked: 1 / 0
    before = measures.SHADOW.labels("failed")._value.get()
    service.overshadow(odd)
    for n in range(2):
        service.recommend(f"r{n}", "u1", NOW, 3)
    service.overshadow(None)
    assert measures.SHADOW.labels("failed")._value.get() - before == 2


def test_that_a_shadow_cannot_be_logged_is_counted_and_said_once(service, engine, caplog, until):
    kinds = ("unlogged", "scored")
    before = [measures.SHADOW.labels(kind)._value.get() for kind in kinds]
    service.overshadow(engine("v2"))
    slate = service.recommend("r1", "u1", NOW, 3)
    until(lambda: measures.SHADOW.labels("scored")._value.get() == before[1] + 1)
    service.log._failed = OSError(28, "no space left on device")
    for _ in range(3):
        service.arms.shadow.offer(slate)
    until(lambda: measures.SHADOW.labels("unlogged")._value.get() == before[0] + 3)
    assert caplog.text.count("what shadow v2 scores is not logged: [Errno 28]") == 1
    assert measures.SHADOW.labels("scored")._value.get() == before[1] + 1


class Registry:
    """Says what is wanted, and keeps the acts."""

    def __init__(self):
        self.wanted, self.acts, self.broken = Challengers(), [], False
        self.drawing, self.unread = True, False

    def challengers(self):
        return self.wanted

    def explores(self):
        if self.unread:
            raise OSError("the history cannot be read")
        return self.drawing

    def began(self, role, challenger):
        self.acts.append((f"{role}-begin", challenger.version))

    def ended(self, canary, reason):
        if self.broken:
            raise BrokenHistory("the history is broken")
        self.acts.append(("canary-end", canary.version))
        self.reason = reason


@pytest.fixture
def trial(service, engine, monkeypatch):
    """A follower whose registry wants what a test says."""
    monkeypatch.setattr(
        follower.Engine,
        "open",
        lambda bundle, _params, version=None: engine(version, identity_of(bundle.name)),
    )
    registry = Registry()
    params = ServeParams(canary_days=0.5, canary_margin=0.02, canary_alpha=0.05)
    found = Follower(service, lambda: Path("v1"), params, registry)
    found.registry = registry
    return found


def challenger(version, fault=None, bundle=None):
    def check():
        if fault:
            raise BrokenBundle(fault)

    bundle = bundle or version
    return Challenger(Path(bundle), version, identity_of(bundle), check)


def test_what_the_registry_wants_stands_beside_and_goes_again(trial, service, client):
    trial.registry.wanted = Challengers(challenger("v2"), 0.25, challenger("v3"))
    for _ in range(3):
        assert not trial.look()
    told = client.get("/v1/version").json()
    assert (told["canary"], told["share"], told["shadow"]) == ("v2", 0.25, "v3")
    assert trial.registry.acts == [("canary-begin", "v2"), ("shadow-begin", "v3")]
    trial.registry.wanted = Challengers()
    trial.look()
    assert service.challengers() == {}


def test_a_challenger_that_is_broken_is_refused_and_the_published_one_answers(
    trial, service, caplog
):
    trial.registry.wanted = Challengers(challenger("v2", "v2 is not what it was"), 0.25)
    trial.look()
    trial.look()
    assert service.arms.canary is None
    assert not trial.registry.acts
    assert (service.refused.version, service.refused.role) == ("v2", "canary")
    assert caplog.text.count("no canary: v2 is not what it was") == 1
    assert service.recommend("r", "u1", NOW, 3).version == "v1"


def test_what_is_wanted_and_not_there_is_refused_by_its_name(trial, service, client, caplog):
    unfound = {"canary": Unfound("candidate", BadParams("there is no candidate"))}
    trial.registry.wanted = Challengers(None, 0.25, challenger("v3"), unfound)
    for _ in range(2):
        trial.look()
    assert service.challengers() == {"shadow": "v3"}
    told = {"version": "candidate", "reason": "there is no candidate", "role": "canary"}
    assert client.get("/v1/version").json()["refused"] == told
    assert client.get("/readyz").json()["refused"] == told
    assert caplog.text.count("no canary: there is no candidate") == 1
    trial.registry.wanted = Challengers(challenger("v2"), 0.25, challenger("v3"))
    trial.look()
    assert service.refused is None
    trial.registry.wanted = Challengers(None, 0.25, None, unfound)
    trial.look()
    assert service.challengers()["canary"] == "v2"
    assert "canary v2 stays: there is no candidate" in caplog.text


def test_what_was_found_damaged_is_hashed_again_only_when_a_file_changes(trial, tmp_path, service):
    checked = []

    def check():
        checked.append(1)
        if (bundle / "weights").read_text() == "damaged":
            raise BrokenBundle("v2 is not what was sealed")

    bundle = tmp_path / "v2"
    bundle.mkdir()
    (bundle / "weights").write_text("damaged")
    wanted = Challenger(bundle, "v2", identity_of("v2"), check)
    trial.registry.wanted = Challengers(wanted, 0.25, wanted)
    for _ in range(5):
        trial.look()
    assert len(checked) == 2, "once for each role"
    assert service.refused.reason == "v2 is not what was sealed"
    (bundle / "weights").write_text("mended")
    trial.look()
    assert service.challengers() == {"canary": "v2", "share": 0.25, "shadow": "v2"}
    assert service.refused is None


def come(service, days=2, users=1500):
    """Let investors come."""
    return [
        service.recommend(f"{user}-a", user, NOW + n * days * DAY // users, 3)
        for n, user in enumerate(MANY[:users])
    ]


def dismiss(service, slates, bad):
    """Those of the canary dismiss as often as it is bad, the others seldom."""
    rng = np.random.default_rng(3)
    service.happened(
        Event(f"{slate.user_id}-{one}", slate.user_id, slate.drawn.candidate_ids[one], "dismiss",
              slate.moment + 5, slate.request_id)
        for slate in slates for one in slate.drawn.shown()
        if rng.random() < (bad if slate.version == "v2" else 0.05)
    )  # fmt: skip


def ask(service, bad, users=1500):
    dismiss(service, come(service, users=users), bad)


@pytest.mark.parametrize("how", ["open", "sealed", "broken history"])
def test_a_bad_canary_ends_by_itself_for_good(trial, service, caplog, monkeypatch, how):
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.registry.broken = how == "broken history"
    trial.look()
    ask(service, bad=0.5)
    if how == "sealed":
        later = service.log.path.with_name("2.log")
        monkeypatch.setattr(service._intake, "_open_log", lambda: ServedLog(later))
        service.roll()
        assert seal_closed(service.log.path.parent, time.time_ns() + 2 * 3_600_000_000_000)
    trial.look()
    assert service.arms.canary is None
    assert "canary v2 ends: of " in caplog.text
    assert trial.registry.broken != (("canary-end", "v2") in trial.registry.acts)
    trial.look()
    assert service.arms.canary is None
    assert service.recommend("r", MANY[0], NOW, 3).version == "v1"


def ended(trial, service):
    """A bad canary v2 that the guardrail ended."""
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.look()
    ask(service, bad=0.5)
    trial.look()
    assert service.arms.canary is None


def test_a_canary_that_ended_is_known_under_another_name_and_another_bundle_is_not_it(
    trial, service
):
    ended(trial, service)
    trial.registry.wanted = Challengers(challenger("candidate-1", bundle="v2"), 0.3)
    trial.look()
    assert service.arms.canary is None
    trial.registry.wanted = Challengers(challenger("v2", bundle="another"), 0.3)
    trial.look()
    assert service.arms.canary.engine.identity == identity_of("another")
    trial.look()  # what the other one was dismissed for is not held against it
    assert service.arms.canary is not None


def test_another_bundle_of_the_same_name_takes_the_place_of_a_canary_and_of_a_shadow(
    trial, service
):
    for bundle in ("v2", "another"):
        wanted = challenger("v2", bundle=bundle)
        trial.registry.wanted = Challengers(wanted, 0.3, wanted)
        trial.look()
        arms = service.arms
        assert arms.canary.engine.identity == identity_of(bundle)
        assert arms.shadow.engine.identity == identity_of(bundle)


def test_a_broken_challenger_does_not_stand_for_another_of_its_name(
    trial, service, engine, monkeypatch
):
    opens = []

    def opened(bundle, _params, version=None):
        opens.append(bundle.name)
        if bundle.name == "v2":
            raise BrokenBundle("v2 is damaged")
        return engine(version, identity_of(bundle.name))

    monkeypatch.setattr(follower.Engine, "open", opened)
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.look()
    trial.look()
    assert service.arms.canary is None
    trial.registry.wanted = Challengers(challenger("v2", bundle="mended"), 0.3)
    trial.look()
    assert opens == ["v2", "mended"]
    assert service.arms.canary.engine.identity == identity_of("mended")


def test_a_canary_that_is_published_meanwhile_stands_beside_itself_no_more(trial, service):
    trial.registry.wanted = Challengers(challenger("candidate-1", bundle="v2"), 0.3)
    trial.look()
    assert service.arms.canary is not None
    trial._current = lambda: Path("v2")
    assert trial.look()
    assert (service.engine.version, service.arms.canary) == ("v2", None)


@pytest.mark.parametrize("erased", ["nobody", "before the guardrail read", "after it read"])
def test_who_is_erased_does_not_end_a_canary(trial, service, erased):
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.look()
    slates = come(service, users=600)
    if erased == "after it read":
        trial.look()
        assert len(trial._guard._trial.dismissals().value_N) > 400
    gone = [one.user_id for one in slates if one.version == "v2"] if erased != "nobody" else ()
    for user in gone:
        Erased(service.log.path.parent).add(user, NOW + 9 * DAY)
    dismiss(service, slates, bad=0.6)
    trial.look()
    assert (service.arms.canary is None) == (erased == "nobody")
    assert trial._guard._trial.dismissals().canary_N.any() == (erased == "nobody")
    for user in gone[:1]:  # what another process logs of them late
        service.recommend("late", user, NOW + DAY // 9, 3)
        trial.look()
    assert "late" not in trial._guard._trial._shown


def test_a_canary_like_the_champion_stays(trial, service):
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.look()
    ask(service, bad=0.05)
    trial.look()
    assert service.arms.canary is not None
    assert trial.registry.acts == [("canary-begin", "v2")]


def test_a_sealed_hour_is_read_once_and_a_trial_that_takes_long_is_looked_at_less_often(
    trial, service, monkeypatch
):
    trial.registry.wanted = Challengers(challenger("v2"), 0.3)
    trial.look()
    ask(service, bad=0.05, users=200)
    later = service.log.path.with_name("2.log")
    monkeypatch.setattr(service._intake, "_open_log", lambda: ServedLog(later))
    service.roll()
    hours = seal_closed(service.log.path.parent, time.time_ns() + 2 * 3_600_000_000_000)
    looks, now = [], [0.0]
    monkeypatch.setattr(guardrail.time, "perf_counter", lambda: now[0])

    def exceeds(units, *_):
        looks.append(len(units.value_N))
        now[0] += 0.1
        return False

    monkeypatch.setattr(guardrail, "exceeds", exceeds)
    trial.look()
    for hour in hours:
        (hour / "hour.json").write_text("gone")
        (hour / "records.parquet").unlink()
    trial.look()
    assert looks == [looks[0]], "it took a tenth of a second, so that it rests for three"
    now[0] = 3.1
    trial.look()
    assert looks == [looks[0]] * 2
    assert looks[0] > 100
    assert "canary" not in service.refusals


def test_where_exploration_is_stopped_the_best_are_shown_and_marked(trial, service):
    service.recommend("drawn", "u1", NOW, 3)
    trial.registry.drawing = False
    trial.look()
    slate = service.recommend("best", "u1", NOW + 1, 3)
    assert (slate.policy_id, slate.flags) == ("v1/greedy", ("undrawn",))
    assert slate.drawn.shown() == [4, 3, 2]
    assert slate.reasons
    assert measures.EXPLORES._value.get() == 0
    trial.registry.unread = True
    trial.look()
    assert service.recommend("still", "u1", NOW + 2, 3).policy_id == "v1/greedy"
    trial.registry.unread, trial.registry.drawing = False, True
    trial.look()
    assert service.recommend("again", "u1", NOW + 3, 3).policy_id == "v1"
    logged = [(one["policy_id"], "undrawn" in one["flags"]) for one in kinds(service, "slate")]
    assert logged == [("v1", False), ("v1/greedy", True), ("v1/greedy", True), ("v1", False)]


def test_a_canary_does_not_draw_either(trial, service, engine):
    service.try_out(engine("v2"), 1.0)
    service.explore(wanted=False)
    assert service.recommend("r", "u1", NOW, 3).policy_id == "v2/greedy"


def test_a_service_that_starts_while_exploration_is_stopped_draws_nothing_at_all(trial, service):
    trial.registry.drawing = False
    trial._stopped.set()
    trial.start()
    trial.stop()
    assert not service.explores
