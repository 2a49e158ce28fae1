"""A run is done once: what a kill left half done is run again, what had ended is only told."""

from datetime import UTC, datetime, timedelta

import pytest

from tessera.platform.release import registry
from tessera.platform.release.history import history
from tessera.platform.simulate import retraining


@pytest.fixture
def ran(place, make_candidate, monkeypatch):
    """Days behind which the pipeline ran; each run publishes by the verdict that is planned."""
    days, decisions = [], {}

    def run(place, day, _lock):
        days.append(day)
        against = "v0" if day < 0 else "v1"
        decision = decisions.get(day, "PROMOTE")
        make_candidate(place.workspace, decision, judged_against=against, weight=float(day))
        registry.publish(place.workspace, None, None, False)

    monkeypatch.setattr(retraining, "_run", run)
    return type("Ran", (), {"days": days, "decisions": decisions, "run": run})


def test_what_came_of_a_run_is_told_and_its_candidate_kept(place, ran):
    told = retraining.retrain(place, -1, None)
    assert (told["decision"], told["published"], told["champion"]) == ("PROMOTE", "v1", None)
    assert told["override"] is None
    kept = retraining.candidate_of(place, -1) / "model" / "config.json"
    assert kept.read_text() == '{"weight": -1.0}'
    assert retraining.runs(place) == [told]


def test_a_run_that_was_told_is_told_again_as_it_was(place, ran):
    first = retraining.retrain(place, -1, None)
    retraining.retrain(place, 1, None)
    assert retraining.retrain(place, -1, None) == first
    assert ran.days == [-1, 1]


def test_a_run_that_ended_before_a_kill_is_told_and_not_run_again(place, ran):
    retraining._begin(place, -1)
    ran.run(place, -1, None)
    assert retraining.retrain(place, -1, None)["published"] == "v1"
    assert ran.days == [-1]


def test_a_run_that_was_killed_is_run_again(place, ran):
    retraining.retrain(place, -1, None)
    retraining._begin(place, 1)
    assert retraining.retrain(place, 1, None)["published"] == "v2"
    assert ran.days == [-1, 1]


def test_what_is_held_stays_where_a_model_serves(place, ran):
    retraining.retrain(place, -1, None)
    ran.decisions[1] = "HOLD"
    told = retraining.retrain(place, 1, None)
    assert (told["decision"], told["published"], told["champion"]) == ("HOLD", None, "v1")
    assert told["learnt_until"] == "2024-07-19", "the service began then"


def test_the_first_model_serves_whatever_the_verdict_and_it_is_recorded(place, ran):
    ran.decisions[-1] = "INVALID"
    told = retraining.retrain(place, -1, None)
    assert told["published"] == "v1"
    assert told["override"] == "the first model of a simulation serves whatever the verdict"
    assert history(place.workspace)[-1]["approver"] == "the simulation"


def test_what_the_last_days_brought_is_judged_by(place):
    begun = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=place.plan.log_days)
    cuts = [(retraining.cut_behind(day, place) - begun).days for day in (1, 3, 5, 9)]
    assert cuts == [0, 2, 4, 8]  # a run every 2 days
