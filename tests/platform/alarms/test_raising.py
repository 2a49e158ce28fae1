"""A day's alarms are grouped, recorded once, snoozed, and act at most once, each act in history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tessera.bundles.manifest import read_manifest
from tessera.contracts.errors import BadParams, BrokenHistory
from tessera.platform.release import acts, exploration, journal, retraining
from tessera.platform.release.history import history
from tessera.platform.release.journal import state_fault
from tessera.platform.release.pointer import current_version
from tessera.platform.watching import acting, incidents, raising, record
from tessera.platform.watching.raising import raise_alarms, served_now
from tessera.platform.watching.snooze import snooze
from tessera.platform.workspace import files


def kinds(workspace):
    return [one["kind"] for one in record.entries(workspace)]


def drifted(planted, number, **more):
    return planted.day(number, planted.point(), **more)


def raised(planted, day, days=0):
    return raise_alarms(planted.workspace, day, planted.after(day, days))


def acted(planted, *numbers):
    """Whether drift retrains on each of some days."""
    found = [raised(planted, drifted(planted, number))[0].done for number in numbers]
    return [(one.done, one.says) for one in found]


@pytest.fixture
def two(workspace, make_candidate):
    """v2 is current, v1 was before."""
    for number, against in ((1.0, "v0"), (2.0, "v1")):
        make_candidate(workspace, judged_against=against, weight=number)
        acts.promote(workspace)
    return workspace


def identity(workspace, version):
    return read_manifest(workspace.bundles / version)["identity"]


def test_series_of_one_family_and_slice_are_one_alarm_the_surest_first(planted):
    point = planted.point
    day = planted.day(
        0,
        point("psi.items.issuer", p_value=1e-9),
        point("c2st.auc", p_value=1e-3, value=0.8, low=0.7, high=0.9, threshold=0.65),
        point("psi.items.issuer", "segment=retail"),
        point("gini"),
        point("coverage", alarm=False),
        point("click_rate", "segment=one", hidden=True, value=None, low=None, high=None),
    )
    found = [(one.alarm.family, one.alarm.slice) for one in raised(planted, day)]
    assert found == [("drift", "all"), ("drift", "segment=retail"), ("popularity", "all")]
    first = record.entries(planted.workspace)[0]
    assert first["says"] == "psi.items.issuer is 0.4 (0.3 to 0.5), bad above 0.1, and 1 more series"
    assert [one["series"] for one in first["evidence"]] == ["psi.items.issuer", "c2st.auc"]
    assert (first["severity"], first["owner"]) == ("warning", "recommender team")
    assert first["runbook"] == "docs/monitoring.md#drift"
    assert first["series_sha256"] == day.facts["files"]["series.parquet"]


def test_a_day_that_is_run_again_adds_nothing_and_a_new_cause_is_added(planted):
    day = drifted(planted, 0)
    raised(planted, day)
    before = record.entries(planted.workspace)
    raised(planted, day)
    assert record.entries(planted.workspace) == before
    raised(planted, planted.day(0, planted.point(value=0.5), planted.point("gini")))
    added = record.entries(planted.workspace)[len(before) :]
    assert [(one["kind"], one.get("family")) for one in added] == [("alarm", "popularity")]


def test_a_quiet_day_writes_nothing(planted):
    assert raised(planted, planted.day(0, planted.point(alarm=False))) == []
    assert not record.chain(planted.workspace).file.exists()


def test_drift_retrains_on_the_second_day_in_a_row_and_not_while_it_cools_down(planted):
    first, second, third = acted(planted, 0, 1, 2)
    assert first == (False, "it alarms on day 1 of the 2 in a row that the rule asks for")
    assert second == (True, "a run of the pipeline is asked for")
    assert not third[0]
    assert third[1].endswith("did it: it cools down until 2025-01-09")
    assert [done for done, _ in acted(planted, 4, 7, 8, 9)] == [False, False, True, False], (
        "a day without an alarm begins the count again"
    )
    asked = retraining.asked(planted.workspace)
    assert [one["act"] for one in asked] == ["retrain", "retrain"]
    assert asked[0]["reason"].startswith("alarm 2025-01-02-")
    assert state_fault(planted.workspace) is None


def test_another_family_shares_the_cool_down_of_the_action(planted):
    acted(planted, 0, 1)
    raised(planted, planted.day(2, planted.point("click_rate")))
    (last,) = raised(planted, planted.day(3, planted.point("click_rate")))
    assert not last.done.done


def test_a_slice_that_the_rule_does_not_name_informs_alone(planted):
    for number in (0, 1):
        day = planted.day(number, planted.point(slice_="segment=retail"))
        (found,) = raised(planted, day)
        assert found.done is None
        assert found.breach
    assert not retraining.asked(planted.workspace)


def test_a_day_that_is_long_over_is_recorded_and_nothing_is_done(planted):
    days = [drifted(planted, number) for number in (0, 1)]
    for day in days:
        (found,) = raised(planted, day, days=3)
        assert found.past
        assert found.done is None
    assert kinds(planted.workspace) == ["alarm", "alarm"]
    assert not history(planted.workspace)


def test_a_snooze_silences_the_cause_until_its_last_day(planted):
    first = drifted(planted, 0)
    (alarm,) = raised(planted, first)
    workspace = planted.workspace
    snooze(workspace, alarm.alarm.id, "the campaign of January, known", date(2025, 1, 3))
    for number, silent in ((1, True), (2, True), (3, False)):
        (found,) = raised(planted, drifted(planted, number))
        assert (found.snoozed is not None, found.breach) == (silent, not silent)
        assert (found.done is None) == silent
    (other,) = raised(planted, planted.day(1, planted.point(slice_="segment=retail")))
    assert other.breach, "another slice is another cause"
    snooze(workspace, alarm.alarm.id, "it was no campaign after all", date(2025, 1, 1))
    (again,) = raised(planted, drifted(planted, 4))
    assert again.breach


def test_a_snooze_names_an_alarm_a_reason_and_an_end_that_is_not_far(planted):
    (alarm,) = raised(planted, drifted(planted, 0))
    name, workspace = alarm.alarm.id, planted.workspace
    with pytest.raises(BadParams, match="no alarm '2025-01-01-00000000'"):
        snooze(workspace, "2025-01-01-00000000", "known since long ago", date(2025, 1, 3))
    with pytest.raises(BadParams, match="a reason must be given in words"):
        snooze(workspace, name, "  ", date(2025, 1, 3))
    with pytest.raises(BadParams, match="name 2025-04-01 at most, or move the threshold"):
        snooze(workspace, name, "known since long ago", date(2025, 4, 2))
    assert "snooze" not in kinds(workspace)


def test_propensities_that_do_not_hold_stop_exploration_until_a_person_lets_it_go_on(planted):
    workspace = planted.workspace
    (found,) = raised(planted, planted.day(0, planted.point("propensity.replay_gap")))
    assert found.done.done
    assert not exploration.explores(workspace)
    stopped = history(workspace)[-1]
    assert stopped["act"] == "explore-stop"
    assert stopped["reason"].startswith(f"alarm {found.alarm.id}: propensity.replay_gap is 0.4")
    exploration.resume(workspace, "the join was mended and checked", "A. Rossi")
    assert exploration.explores(workspace)
    raised(planted, planted.day(0, planted.point("propensity.replay_gap")))
    assert exploration.explores(workspace), "one alarm acts once, whatever happened since"


def test_scores_that_are_not_the_bundles_bring_the_version_before_back(two, planted):
    bundles = {"v2": identity(two, "v2")}
    day = planted.day(0, planted.point("skew.score"), bundles=bundles)
    (found,) = raised(planted, day)
    assert found.done.done
    assert current_version(two) == "v1"
    assert history(two)[-1]["reason"].startswith(f"alarm {found.alarm.id}: ")
    (again,) = raised(planted, day)
    assert again.done.done
    assert [one["act"] for one in history(two)].count("rollback") == 1
    (next_day,) = raised(
        planted, planted.day(1, planted.point("skew.score"), bundles={"v1": identity(two, "v1")})
    )
    assert not next_day.done.done
    assert current_version(two) == "v1", "it cools down"


def fewer_clicks(planted, number, new_for):
    day = planted.day(number, planted.point("click_rate"), new_for=new_for)
    return raised(planted, day)[0].done


def test_a_new_version_that_earned_less_from_its_first_day_on_is_rolled_back(two, planted):
    first, second = (fewer_clicks(planted, number, number + 1) for number in range(2))
    assert first == acting.Done(
        "roll_back", False, "it alarms on day 1 of the 2 in a row that the rule asks for"
    )
    assert (second.action, second.done) == ("roll_back", True)
    assert current_version(two) == "v1"
    assert not retraining.asked(two)


def test_of_a_new_version_too_an_action_cools_down_and_there_must_be_one_to_go_back_to(
    two, planted, make_candidate
):
    for number in range(2):
        fewer_clicks(planted, number, number + 1)
    make_candidate(two, judged_against="v1", weight=3.0)
    acts.promote(two)
    _, again = (fewer_clicks(planted, 2 + number, number + 1) for number in range(2))
    assert "did it: it cools down until" in again.says
    assert current_version(two) == "v3"
    acts.rollback(two, None, "back to the first, by hand")
    for number in range(2):
        last = fewer_clicks(planted, 40 + number, number + 1)
    assert last.says.startswith("v0 is the policy that wrote the log")
    assert current_version(two) == "v1"


@pytest.mark.parametrize("new_for", [3, None])
def test_what_came_behind_a_good_day_of_it_or_of_an_old_version_is_no_fault_of_it(
    two, planted, new_for
):
    fewer_clicks(planted, 0, new_for and new_for - 1)
    last = fewer_clicks(planted, 1, new_for)
    assert (last.action, last.done) == ("retrain", True)
    assert current_version(two) == "v2"


def test_an_alarm_acts_once_whatever_is_known_of_its_row_later(two, planted):
    for number in (1, 2):
        last = fewer_clicks(planted, number, number + 1)
    assert (last.action, last.done) == ("retrain", True)
    fewer_clicks(planted, 0, 1)  # measured behind the others: now all its days alarm
    assert fewer_clicks(planted, 2, 3) == last
    assert current_version(two) == "v2"


def test_nothing_is_rolled_back_that_did_not_serve_or_to_what_cannot(two, planted):
    (late,) = raised(
        planted, planted.day(0, planted.point("skew.score"), bundles={"v1": identity(two, "v1")})
    )
    assert late.done.says == "v2 did not answer on that day: it was published since"
    acts.rollback(two, None, "back to the first, by hand")
    (first,) = raised(planted, planted.day(1, planted.point("skew.score")))
    assert first.done.says.startswith("v0 is the policy that wrote the log")
    assert current_version(two) == "v1"


def test_an_alarm_of_a_canary_rolls_nothing_back(two, planted):
    day = planted.day(0, planted.point("unsuitable_share", "arm=canary"))
    (found,) = raised(planted, day)
    assert found.done.says == "it tells of a canary, which its own guardrail ends"


def test_a_version_is_not_rolled_back_for_what_another_one_showed_on_the_day(two, planted):
    """A canary, or the version before the swap at noon: both answered beside the current one."""
    bundles = {"v2": identity(two, "v2"), "candidate-1": "another"}
    others = ("all", "segment=retail", "policy=candidate-1", "arm=canary")
    points = [planted.point("unsuitable_share", one) for one in others]
    said = [one.done.says for one in raised(planted, planted.day(0, *points, bundles=bundles))]
    assert current_version(two) == "v2"
    assert said.count("several versions answered on that day, and v2 does not alarm by itself") == 3
    points.append(planted.point("unsuitable_share", "policy=v2"))
    raised(planted, planted.day(1, *points, bundles=bundles))
    assert current_version(two) == "v1"


@pytest.mark.parametrize("with_ours", [False, True])
def test_a_version_is_not_rolled_back_for_what_nobody_here_published(two, planted, with_ours):
    """A policy that is not known here has no identity, and it answered all the same."""
    bundles = {"v9": None} | ({"v2": identity(two, "v2")} if with_ours else {})
    for number in range(2):
        day = planted.day(number, planted.point("click_rate"), new_for=number + 1, bundles=bundles)
        done = raised(planted, day)[0].done
    assert (done.action, done.done) == ("roll_back", False)
    assert "answered on that day" in done.says or "did not answer" in done.says
    assert current_version(two) == "v2"


def test_a_kill_in_the_middle_of_a_rollback_goes_back_once(two, planted, monkeypatch):
    day = planted.day(0, planted.point("skew.score"))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            raised(planted, day)
    (found,) = raised(planted, day)
    assert found.done.done
    assert current_version(two) == "v1"
    assert [one["act"] for one in history(two)].count("rollback") == 1


def test_a_day_that_is_measured_behind_a_later_one_cools_down_too(planted):
    propensity = planted.point("propensity.replay_gap")
    raised(planted, planted.day(2, propensity))
    exploration.resume(planted.workspace, "the join was mended and checked", "A. Rossi")
    (found,) = raised(planted, planted.day(1, propensity))
    assert not found.done.done
    assert exploration.explores(planted.workspace)


def test_an_action_that_fails_is_said_and_tried_again_when_the_day_is_run_again(
    planted, monkeypatch
):
    def broken(*_):
        raise BrokenHistory("the history is broken\nat its end")

    day = planted.day(0, planted.point("propensity.replay_gap"))
    with monkeypatch.context() as patch:
        patch.setattr(exploration, "stop", broken)
        for _ in range(2):
            (found,) = raised(planted, day)
            assert (found.done.done, found.done.says) == (False, "the history is broken at its end")
    assert kinds(planted.workspace) == ["alarm", "action"]
    (found,) = raised(planted, day)
    assert found.done.done


def test_a_kill_between_the_act_and_its_line_does_it_no_second_time(planted, monkeypatch):
    day = planted.day(0, planted.point("propensity.replay_gap"))
    real = record.Record.add

    def killed(self, facts):
        if facts["kind"] == "action":
            raise KeyboardInterrupt
        real(self, facts)

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            raised(planted, day)
    assert [one["act"] for one in history(planted.workspace)] == ["explore-stop"]
    raised(planted, day)
    assert kinds(planted.workspace) == ["alarm", "action"]
    assert [one["act"] for one in history(planted.workspace)] == ["explore-stop"]


def test_the_clock_is_that_of_the_service(workspace, monkeypatch):
    monkeypatch.setattr(raising.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    wall = datetime.fromtimestamp(1_700_000_000, UTC)
    assert served_now(workspace) == wall
    files.write_json({"ahead_us": -86_400_000_000}, workspace.served / "clock.json")
    assert served_now(workspace) == wall - timedelta(days=1)


def test_a_page_with_the_evidence_is_left_for_each_alarm(planted):
    day = planted.day(0, planted.point(), planted.point(slice_="segment=<b>&'retail"))
    for one in raised(planted, day):
        text = (planted.workspace.watched / "incidents" / f"{one.alarm.id}.html").read_text()
        assert "<b>&" not in text
        needs = ["psi.investors.segment", "0.3 to 0.5", "above 0.1", "monitoring.md#drift"]
        for needed in (*needs, day.facts["files"]["series.parquet"], f"--snooze {one.alarm.id}"):
            assert needed in text


def test_the_page_of_an_alarm_tells_the_verdict_of_the_run_that_it_asked_for(
    planted, make_candidate
):
    workspace = planted.workspace
    days = [drifted(planted, number) for number in (0, 1)]
    first, second = (raised(planted, day)[0].alarm.id for day in days)

    def page(alarm):
        incidents.refresh(workspace)
        return (workspace.watched / "incidents" / f"{alarm}.html").read_text()

    assert "the run that followed" not in page(second)
    make_candidate(workspace, judged_against="v0", weight=1.0)
    acts.promote(workspace)
    assert "the run that followed: PROMOTE, published as v1 (" in page(second)
    assert "the run that followed" not in page(first), "it asked for none"
    assert f'--snooze {second} --reason "..." --until 2025-01-09' in page(second)


@pytest.mark.parametrize("harm", ["change", "cut", "forge", "other key"])
def test_a_record_that_somebody_changed_raises_and_does_nothing(planted, harm):
    workspace = planted.workspace
    raised(planted, drifted(planted, 0))
    found = record.chain(workspace)
    lines = found.lines()
    if harm == "change":
        lines[0] = lines[0].replace('"warning"', '"note"')
    elif harm == "cut":
        lines.pop()
    elif harm == "forge":
        lines.append(found.next_line({"kind": "snooze", "cause": "x", "until": "2026-01-01"}))
    else:
        found.head_file.write_text(found.head_file.read_text().replace('"mac": "', '"mac": "0'))
    found.file.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(BrokenHistory, match="the record of alarms of profile market is broken"):
        raised(planted, drifted(planted, 1))
    assert not history(workspace)


def test_a_crash_between_line_and_head_is_completed(planted, monkeypatch):
    def killed(self, line):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record.Chain, "write_head", killed)
        with pytest.raises(KeyboardInterrupt):
            raised(planted, drifted(planted, 0))
    raised(planted, drifted(planted, 0))
    assert kinds(planted.workspace) == ["alarm", "action"]
    assert record.chain(planted.workspace).fault() is None


def test_a_crash_before_the_line_is_completed_too(planted, monkeypatch):
    def killed(self, line):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record.Chain, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            raised(planted, drifted(planted, 0))
    assert kinds(planted.workspace) == []
    with record.one_record(planted.workspace) as found:
        assert [one["kind"] for one in found.entries] == ["alarm"]
