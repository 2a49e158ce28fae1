"""The DAGs of the acts ask a person first; whoever does not approve publishes nothing."""

from __future__ import annotations

import pytest

from tessera.contracts.verdict import FORMAT
from tessera.platform.release import pointer, registry
from tessera.platform.release.history import history

GOOD = [{}, {"profile": "far-trans", "version": "v12"}]
BAD = [{"profile": "nowhere"}, {"profile": None}, {"version": "1"}, {"version": "v1; rm -rf ."},
       {"version": "v1\n"}, {"version": ""}, {"version": "-v1"}, {"profile": "$(id)"}]  # fmt: skip
WHY = "complaints of investors"
GOOD_BACK = [{"reason": WHY}, {"reason": WHY, "to": "v3"}]
BAD_BACK = [{}, {"reason": "short"}, {"reason": None}, {"reason": WHY, "to": "../v1"},
            {"reason": f"{WHY}\0"}, {"reason": WHY, "to": "v1\n"}]  # fmt: skip
HOSTILE = "'; touch {mark}; $(touch {mark}) `touch {mark}` {{{{ 7 * 7 }}}} \" --to=v0"


@pytest.fixture(scope="module")
def told(ask_acts):
    return ask_acts({"promotes": GOOD + BAD, "rollbacks": GOOD_BACK + BAD_BACK})


@pytest.fixture
def acts_of():
    """Names of the acts that a registry has seen."""
    return lambda workspace: [entry["act"] for entry in history(workspace)]


def test_reading_the_dags_imports_no_heavy_library(told):
    assert told["imported"] == []


def test_a_person_stands_between_the_verdict_and_the_publishing(told):
    assert told["promote"]["id"] == "tessera_promote"
    assert told["promote"]["edges"] == [
        ["approval", "approved"],
        ["approval", "promote"],
        ["approved", "hold"],
        ["verdict", "approval"],
    ]
    rules = told["promote"]["trigger_rules"]
    assert rules.pop("hold") == "all_skipped", "it runs past a rejection alone"
    assert set(rules.values()) == {"all_success"}, "nothing else runs past a rejection"
    assert told["promote"]["paused"] is False, "who was asked for must not wait for a switch"


def test_the_rollback_is_one_task(told):
    assert told["rollback"]["id"] == "tessera_rollback"
    assert told["rollback"]["tasks"] == ["rollback"]


@pytest.mark.parametrize("name", ["promote", "rollback"])
def test_acts_are_done_once_when_asked_for_and_report_their_failure(told, name):
    assert told[name]["schedule"] is None
    assert set(told[name]["retries"]) == {0}
    assert all(told[name]["calls_back"])
    assert told[name]["doc"]
    assert (told[name]["tags"], told[name]["owners"]) == (["tessera"], ["tessera"])


def test_the_approval_waits_a_day_and_no_answer_is_a_rejection(told):
    approval = told["approval"]
    assert "ApprovalOperator" in approval["kind"]
    assert (approval["options"], approval["multiple"]) == (["Approve", "Reject"], False)
    assert approval["defaults"] == ["Reject"]
    assert approval["timeout_s"] == 24 * 3600
    assert set(approval["form"]) == {"reason"}
    parked = {"next": "execute_complete", "timeout_s": 24 * 3600}
    assert approval["waits"] == parked, "no worker and no triggerer is held by who waits"


def test_the_forms_take_good_answers_and_refuse_bad_ones(told):
    assert told["promote_form"] == [True] * len(GOOD) + [False] * len(BAD)
    assert told["rollback_form"] == [True] * len(GOOD_BACK) + [False] * len(BAD_BACK)


@pytest.mark.parametrize("answer", [{"chosen": ["Reject"], "by": "ada"}, {}], ids=["no", "timeout"])
def test_a_rejection_or_no_answer_in_time_publishes_nothing(
    ask_acts, workspace, make_candidate, acts_of, answer
):
    make_candidate(workspace)
    registry.publish(workspace, None, None, approval=True)
    (done,) = ask_acts({"answers": [{"root": str(workspace.root), **answer}]})["approved"]
    assert (done["done"], done["tasks"]) == ("skipped", ["approved", "promote"])
    assert pointer.current_version(workspace) == "v0"
    assert acts_of(workspace) == ["bootstrap", "wait", "hold"]
    assert history(workspace)[-1]["reason"].startswith("not approved: rejected in run run-1 of")


def test_a_rejection_of_what_did_not_wait_records_nothing(
    ask_acts, workspace, make_candidate, acts_of
):
    make_candidate(workspace)
    (done,) = ask_acts({"answers": [{"root": str(workspace.root)}]})["approved"]
    assert done["done"] == "skipped"
    assert acts_of(workspace) == []


def test_what_waits_is_published_in_the_name_of_who_approved(ask_acts, workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None, approval=True)
    answer = {"root": str(workspace.root), "chosen": ["Approve"], "by": "ada"}
    (done,) = ask_acts({"answers": [answer]})["approved"]
    assert done["done"] == "published"
    entry = history(workspace)[-1]
    assert (entry["act"], entry["to"], entry["approver"]) == ("promote", "v1", "ada")


def test_the_form_shows_the_verdict_and_where_it_lies(ask_acts, workspace, make_candidate):
    judged = {
        "version": FORMAT,
        "primary": {
            "metric": "clicks", "lift": 0.01, "relative_lift": 0.1, "alpha": 0.05, "alpha_k": 0.03,
            "level": 0.03, "lower": -0.004, "upper": 0.02,
        },
        "estimates": {"champion": {"mean": 0.1}},
        "n_requests": 1234,
        "prechecks": [{"name": "overlap", "ok": False, "value": 0.5, "threshold": 0.8}],
        "guardrails": [{"name": "coverage", "ok": True, "value": 0.5, "threshold": 0.4}],
    }  # fmt: skip
    make_candidate(workspace, "HOLD", evidence=judged)
    (done,) = ask_acts({"answers": [{"root": str(workspace.root)}]})["approved"]
    assert done["subject"] == "Publish the candidate of profile market? The verdict is HOLD"
    assert "**HOLD**: planted HOLD" in done["body"]
    assert "- clicks: champion 0.1000, lift +0.0100 (+10.0%)" in done["body"]
    assert "\n- pre-checks: 1 of 1 fail (overlap 0.5 vs 0.8)\n- guardrails: all 1" in done["body"]
    assert f"({(workspace.artifact('bundle') / 'verdict.json').as_uri()})" in done["body"]
    page = workspace.artifact("verdict_page")
    assert f"The whole verdict: [with pictures]({page.as_uri()}),\n[verdict.json](" in done["body"]
    assert "To approve is an override" in done["body"]
    assert "within\n24 hours nothing is published" in done["body"]


def test_an_approval_publishes_with_the_name_of_who_gave_it(
    ask_acts, workspace, make_candidate, tmp_path
):
    mark = tmp_path / "injected"
    make_candidate(workspace, "HOLD")
    answer = {"root": str(workspace.root), "chosen": ["Approve"], "by": "ada"}
    hostile = HOSTILE.format(mark=mark)
    answers = [answer, {**answer, "reason": hostile}]
    told = ask_acts(
        {
            "answers": answers,
            "back": [{"root": str(workspace.root), "reason": hostile, "by": "eve"}],
        }
    )
    assert [one["done"] for one in told["approved"]] == ["failed", "published"], (
        "an override without a reason fails"
    )
    assert told["rolled_back"] == ["done"]
    assert told["events"] == [
        ["tessera://market/published", {"version": version}] for version in ("v1", "v0")
    ], "and nothing of what failed"
    promoted, back = history(workspace)[-2:]
    assert (promoted["override_reason"], promoted["approver"]) == (hostile, "ada")
    assert (back["act"], back["to"], back["reason"]) == ("rollback", "v0", hostile)
    assert back["approver"] == "eve"
    assert not mark.exists()


def test_a_candidate_that_changed_after_it_was_shown_is_not_published(
    ask_acts, workspace, make_candidate, acts_of, tmp_path
):
    other = make_candidate(workspace, weight=2.0).rename(tmp_path / "other")
    make_candidate(workspace)
    answer = {
        "root": str(workspace.root),
        "chosen": ["Approve"],
        "by": "ada",
        "meanwhile": str(other),
    }
    (done,) = ask_acts({"answers": [answer]})["approved"]
    assert done["done"] == "failed"
    assert acts_of(workspace) == []


def test_a_publishing_that_is_cleared_after_a_rejection_publishes_nothing(
    ask_acts, workspace, make_candidate, acts_of
):
    make_candidate(workspace)
    answer = {"root": str(workspace.root), "chosen": ["Reject"], "by": "ada", "cleared": True}
    (done,) = ask_acts({"answers": [answer]})["approved"]
    assert done["done"] == "failed"
    assert acts_of(workspace) == []
