"""As time runs out parts are left out, the dear ones first, and the answer says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tessera.contracts.tables import UNEXPLORED
from tessera.serve.logged import record_of
from tessera.serve.online.scorer import Scorer


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


def at_share(engine, at_noon, share, user="u003"):
    return engine.answer("r1", user, at_noon(), 3, Gone(share))


def test_with_time_left_a_deadline_changes_nothing(engine, at_noon):
    whole, timed = engine.answer("r1", "u003", at_noon(), 3), at_share(engine, at_noon, 0.5)
    assert (timed.flags, timed.policy_id, timed.reasons) == ((), "bundle", whole.reasons)
    assert timed.drawn.chosen_L.tolist() == whole.drawn.chosen_L.tolist()


def test_explanations_go_first_and_the_slate_stays_the_judged_one(engine, at_noon):
    whole, hurried = engine.answer("r1", "u003", at_noon(), 3), at_share(engine, at_noon, 0.7)
    assert hurried.flags == ("degraded",)
    assert hurried.policy_id == whole.policy_id
    assert hurried.drawn.propensity_L.tolist() == whole.drawn.propensity_L.tolist()
    assert list(hurried.reasons) == list(whole.reasons)
    who = engine.who("u003", engine.scorer.now("u003", at_noon()))
    assert set(hurried.reasons.values()) == {f"suitable for {who.level} investors"}


@pytest.mark.parametrize(
    ("share", "asked", "flags"), [(0.5, True, ()), (0.7, False, ("degraded",))]
)
def test_dear_retrievers_are_asked_only_with_time(engine, at_noon, share, asked, flags):
    dear = Dear()
    assert at_share(beside(engine, dear), at_noon, share).flags == flags
    assert (dear.asked > 0) == asked


def test_a_slate_that_was_not_scored_is_the_best_found_and_nobody_judges_by_it(
    engine, monkeypatch, at_noon
):
    monkeypatch.setattr(Scorer, "scored", lambda *_: 1 / 0)
    slate = at_share(engine, at_noon, 0.9)
    assert slate.policy_id == f"bundle{UNEXPLORED}"
    assert slate.flags == ("degraded",)
    assert slate.drawn.shown() == [0, 1, 2], "in the order in which they were found"
    assert slate.drawn.source_C[0] == "dense"
    assert slate.drawn.propensity_L.tolist() == [1.0] * 3
    assert list(slate.reasons) == [slate.drawn.candidate_ids[one] for one in (0, 1, 2)]
    logged = record_of(slate)
    assert (logged["flags"], logged["policy_id"]) == (["degraded"], f"bundle{UNEXPLORED}")
    assert list(logged["took_ms"]) == [
        "hydrate", "retrieve", "score", "choose", "draw", "explain",
    ]  # fmt: skip
    assert min(logged["took_ms"].values()) >= 0


def test_what_was_left_out_early_takes_the_explanations_along(engine, at_noon):
    class Sooner(Gone):
        def used(self):
            self.share -= 0.1  # time does not run backwards; a step may only be the last in doubt
            return self.share

    both = beside(engine, Dear())
    slate = both.answer("r1", "u003", at_noon(), 3, Sooner(0.75))
    assert slate.flags == ("degraded",)
    assert all(reason.startswith("suitable for") for reason in slate.reasons.values())
