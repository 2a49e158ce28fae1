"""A day that was served is measured whole, the same whenever it is measured."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest

from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.series import days
from tessera.platform.watching import day as watching
from tessera.platform.watching.day import watch_day
from tessera.platform.watching.kept import FOLDER
from tessera.serve.classes import InvestorClass
from tessera.serve.erased import Erased
from tessera.serve.log import BrokenLog
from tests.platform.watching.conftest import NUMBER


def values(day):
    return {(one.series, one.slice): one for one in day.points()}


def bytes_of(day):
    names = ("series.parquet", "movers.parquet", "day.json")
    return {one: hashlib.sha256((day.path / one).read_bytes()).hexdigest() for one in names}


def test_a_day_has_what_was_shown_and_who_saw_it(served):
    served.write(served.records(0))
    day = watch_day(served.workspace, served.day(0))
    found = values(day)
    assert day.status == "measured"
    assert found["positions", "all"].value == 3.0
    assert found["positions", "all"].rows == 60
    assert 0 < found["gini", "all"].value < 1
    assert found["unsuitable_share", "all"].value == 0.0
    assert found["propensity.replay_weight", "all"].value == pytest.approx(1.0, abs=1e-9)
    assert found["latency.score_ms", "all"].value == 2.0
    assert found["novelty", "segment=retail"].investors >= 10
    day.check()


def test_series_are_sorted_and_a_changed_file_is_found_out(served):
    served.write(served.records(0))
    day = watch_day(served.workspace, served.day(0))
    keys = [(one.series, one.slice) for one in day.points()]
    assert keys == sorted(keys)
    (day.path / "series.parquet").write_bytes(b"other")
    with pytest.raises(BadInput, match="is not what was measured"):
        day.check()


def test_what_came_of_slates_is_told_a_day_later(served):
    served.write([*served.records(0), *served.records(1)])
    assert ("click_rate", "all") not in values(watch_day(served.workspace, served.day(0)))
    found = values(watch_day(served.workspace, served.day(1)))["click_rate", "all"]
    clicked = {(one["request_id"], one["item_id"]) for one in served.records(0)
               if one["kind"] == "event" and one["action"] == "click"}  # fmt: skip
    assert found.value == pytest.approx(len(clicked) / 180)


def test_complaints_of_what_was_shown_are_a_rate_with_an_interval(served):
    records = [one for one in served.records(0) if one.get("action") != "complain"]
    pairs = [(one, one["candidate_ids"][one["chosen"][0]]) for one in records
             if one["kind"] == "slate"]  # fmt: skip
    for number, (slate, item) in enumerate(pairs[:9]):
        told = {"kind": "event", "event_id": f"c{number}", "user_id": slate["user_id"],
                "item_id": item, "action": "complain", "moment": slate["moment"] + 5,
                "request_id": slate["request_id"], "value": 0.0, "channel": None}  # fmt: skip
        records += [told, told | {"event_id": f"again {number}"}]
    served.write([*records, *served.records(1)])
    found = values(watch_day(served.workspace, served.day(1)))["complaint_rate", "all"]
    assert found.value == pytest.approx(9 / 180)
    assert found.low < found.value < found.high


def test_what_comes_later_than_the_window_or_before_the_slate_is_no_outcome(served):
    records = served.records(0)
    clicks = [one for one in records if one["kind"] == "event" and one["action"] == "click"]
    pairs = {(one["request_id"], one["item_id"]) for one in clicks}
    early, late = clicks[0], clicks[1]
    early["moment"] -= DAY_US // 24
    late["moment"] += DAY_US
    served.write([*records, *served.records(1)])
    found = values(watch_day(served.workspace, served.day(1)))["click_rate", "all"]
    assert found.value == pytest.approx((len(pairs) - 2) / 180)


def test_a_day_measured_later_from_sealed_hours_comes_out_to_the_byte(served):
    """Seven days as they came, each measured at its end; then all of them again."""
    daily = {}
    for number in range(7):
        served.write(served.records(number))
        daily[number] = bytes_of(watch_day(served.workspace, served.day(number)))
        if number % 2:
            served.seal()
    backfill = {
        number: bytes_of(watch_day(served.workspace, served.day(number))) for number in range(7)
    }
    assert backfill == daily
    for path in (served.workspace.watched / FOLDER).glob("*"):
        assert path.stat().st_mode & 0o077 == 0
    # Without what is kept, and in another order.
    shutil.rmtree(served.workspace.watched)
    again = {n: bytes_of(watch_day(served.workspace, served.day(n))) for n in reversed(range(7))}
    assert again == daily


def test_rows_of_a_later_day_change_nothing(served):
    served.write(served.records(0))
    before = bytes_of(watch_day(served.workspace, served.day(0)))
    served.write(served.records(1))
    assert bytes_of(watch_day(served.workspace, served.day(0))) == before


def test_a_day_without_rows_is_empty_and_says_so(served):
    served.write(served.records(0))
    day = watch_day(served.workspace, served.day(3))
    assert (day.status, day.points(), day.movers()) == ("empty", [], [])
    assert "Nothing was shown on this day." in day.remarks
    assert day.facts["inputs"]["slate"]["rows"] == 0
    day.check()


def test_without_any_log_a_day_is_empty(served):
    assert watch_day(served.workspace, served.day(0)).status == "empty"


def test_a_torn_line_is_left_out_and_said(served):
    served.write(served.records(0), torn=b'{"kind":"slate","request_id":"half')
    day = watch_day(served.workspace, served.day(0))
    assert day.facts["inputs"]["slate"]["rows"] == 60
    assert "34 bytes at the end of a segment were torn off and are left out." in day.remarks


def test_a_changed_line_stops_the_day_and_leaves_nothing(served):
    path = served.write(served.records(0))
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"moment":17', b'"moment":18', 1))
    with pytest.raises(BrokenLog, match="is damaged in line 1"):
        watch_day(served.workspace, served.day(0))
    assert days(served.workspace.watched) == []


def test_what_was_asked_for_through_several_channels_is_measured_apart(served):
    records = served.records(0)
    slates = [one for one in records if one["kind"] == "slate"]
    for number, one in enumerate(slates):
        one["channel"] = "app" if number < 35 else "branch" if number < 50 else "\x1b[31m"
    slates[51]["channel"] = None
    del slates[50]["channel"]  # as an older version wrote it
    served.write(records)
    found = values(watch_day(served.workspace, served.day(0)))
    assert found["gini", "channel=app"].rows == 35 * 3
    assert found["gini", "channel=branch"].rows == 15 * 3
    assert found["gini", "all"].rows == 60 * 3, "nobody says through what the others came"
    assert {name for _, name in found if name.startswith("channel")} == {
        "channel=app", "channel=branch",
    }  # fmt: skip


def count(served, name, *, requests, shed=None, log=None, number=0):
    moment = (served.day(number) - date(1970, 1, 1)).days * DAY_US + 60_000_000
    return {"kind": "count", "count_id": name, "moment": moment, "requests": requests,
            "shed": shed or {}, "log": log or {}}  # fmt: skip


def test_errors_and_requests_turned_away_are_counted_once(served):
    plain = values(watch_day(served.workspace, served.day(0)))
    busy = count(served, "b", requests={"2xx": 40, "gone": 1}, shed={"busy": 3, "rate": 2})
    failed = count(served, "a", requests={"2xx": 50, "5xx": 4}, log={"slates": 60, "ms": 180.0})
    later = count(served, "c", requests={"5xx": 100}, number=1)
    served.write([*served.records(0), busy, failed, later, failed])
    day = watch_day(served.workspace, served.day(0))
    found = values(day)
    assert found["error_rate", "all"].value == 0.04
    assert found["shed_rate", "all"].value == 0.05
    assert found["latency.log_ms", "all"].value == 3.0
    assert day.facts["inputs"]["count"]["rows"] == 2
    assert "1 records lie in the log twice and count once." in day.remarks
    before = bytes_of(day)
    served.seal()
    shutil.rmtree(served.workspace.watched)
    assert bytes_of(watch_day(served.workspace, served.day(0))) == before
    assert not plain


def test_a_day_on_which_all_was_turned_away_is_measured_and_alarms(served):
    shed = [count(served, str(n), requests={"2xx": 1}, shed={"busy": 9}) for n in range(20)]
    served.write(shed)
    day = watch_day(served.workspace, served.day(0))
    assert (day.status, day.remarks[0]) == ("measured", "Nothing was shown on this day.")
    found = values(day)
    assert found["shed_rate", "all"].value == 0.9
    assert found["shed_rate", "all"].alarm
    assert not found["error_rate", "all"].alarm
    watch_day(served.workspace, served.day(1))  # it is a day before another one, too
    before = bytes_of(day)
    assert len(served.seal()) == 1
    assert bytes_of(watch_day(served.workspace, served.day(0))) == before


def test_a_log_that_counts_nothing_leaves_the_series_out_and_says_nothing(served):
    served.write(served.records(0))
    day = watch_day(served.workspace, served.day(0))
    assert not values(day).keys() & {(name, "all") for name in ("error_rate", "shed_rate")}
    assert ("latency.log_ms", "all") not in values(day)
    assert not [one for one in day.remarks if "reference" not in one]


def test_several_policies_in_an_hour_are_slices_and_are_said(served):
    served.world.write_bundle(served.workspace.bundles / "v2")
    records = served.records(0)
    for one in records[::2]:
        if one["kind"] == "slate":
            one["policy_id"] = "v2"
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    assert "Several policies answered: v1 (30 slates), v2 (30 slates)." in day.remarks
    assert values(day)["positions", "policy=v2"].rows == 30


def test_a_policy_nobody_knows_is_counted_and_said(served):
    records = served.records(0)
    for one in records:
        if one["kind"] == "slate":
            one["policy_id"] = "v9"
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    (said,) = [one for one in day.remarks if "v9" in one]
    assert said.startswith("Nobody here knows policy v9: of its 60 slates only what stands in")
    assert values(day)["positions", "all"].rows == 60
    assert values(day)["unknown_policy_share", "all"].alarm
    assert ("unsuitable_share", "all") not in values(day), "nobody can tell"
    assert ("average_popularity", "all") not in values(day)
    assert ("propensity.replay_weight", "all") not in values(day)
    assert day.facts["inputs"]["bundles"] == {"v9": None}


def test_a_bundle_of_another_registry_under_a_name_of_ours_is_not_ours(served):
    records = served.records(0)
    for one in [one for one in records if one["kind"] == "slate"][::2]:
        one["context_version"] = "abcdefabcdef+7"
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    assert values(day)["unknown_policy_share", "all"].value == pytest.approx(0.5)
    assert any("Nobody here knows policy v1@abcdefabcdef: of its 30" in one for one in day.remarks)


def test_a_canary_that_was_trained_again_was_ours(served, monkeypatch):
    name = "candidate-abcdefabcdef"
    tried = [{"act": "canary-begin", "tried": name}]
    records = served.records(0)
    for one in [one for one in records if one["kind"] == "slate"][:6]:
        one["policy_id"] = name
    served.write(records)
    monkeypatch.setattr(watching, "history", lambda _: tried)
    day = watch_day(served.workspace, served.day(0))
    assert values(day)["unknown_policy_share", "all"].value == 0.0
    assert any(f"Nobody here knows policy {name}" in one for one in day.remarks), "it is said"


def test_a_clock_that_jumps_is_said_and_each_slate_counts_on_its_day(served):
    records = served.records(0)
    slates = [one for one in records if one["kind"] == "slate"]
    late = max(one["moment"] for one in slates)
    slates[30]["moment"] = late + 1
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    (said,) = [one for one in day.remarks if "clock" in one]
    assert "went back by up to" in said
    assert day.facts["inputs"]["slate"]["rows"] == 60


def test_a_log_of_an_older_version_is_measured_as_far_as_it_says(served):
    records = served.records(0)
    for one in records:
        for name in ("flags", "sources", "scores", "took_ms"):
            one.pop(name, None)
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    (said,) = [one for one in day.remarks if "older version" in one]
    assert said.startswith("60 slates were logged by an older version")
    found = values(day)
    assert found["gini", "all"].value > 0
    assert ("score.mean", "all") not in found
    assert ("exploration_share", "all") not in found
    assert not [one for one in found if one[0].startswith("latency.")]


def test_what_the_model_expected_is_held_against_what_came_a_day_later(served):
    """It says never, and is off by what came; some slates are of a version that said nothing."""
    records = served.records(0)
    slates = [one for one in records if one["kind"] == "slate"]
    for one in slates[:50]:
        one["chances"] = {"click": [0.0] * len(one["chosen"])}
    served.write(records)
    served.write(served.records(1))
    found = values(watch_day(served.workspace, served.day(1)))
    error, rate = found["calibration_error.click", "all"], found["click_rate", "all"]
    assert error.rows == sum(len(one["chosen"]) for one in slates[:50])
    assert error.investors < rate.investors
    assert error.value == pytest.approx(rate.value, rel=0.25)
    assert ("calibration_error.buy", "all") not in found


def test_outcomes_of_slates_that_nobody_was_shown_are_counted(served):
    records = served.records(0)
    strange = [one for one in records if one["kind"] == "event" and one["request_id"]][:4]
    for one in strange:
        one["request_id"] = "nobody"
    served.write(records)
    day = watch_day(served.workspace, served.day(0))
    assert "4 events name a slate that the log lacks." in day.remarks
    assert values(day)["events.orphan_share", "all"].value > 0


def test_an_outcome_of_a_slate_of_long_ago_is_no_orphan(served):
    served.spec(reference_days=2, gap_days=0, least_days=2)
    served.write(served.records(0))
    served.seal()
    named = (one for one in served.records(0) if one["kind"] == "event" and one["request_id"])
    first = next(named)
    late = first | {"event_id": "late", "moment": first["moment"] + 6 * DAY_US}
    served.write([*served.records(6), late])
    found = values(watch_day(served.workspace, served.day(6)))
    assert found["events.orphan_share", "all"].value == 0


def test_a_segment_of_one_person_is_hidden_and_never_alarms(served):
    """A limit that any value breaks: the few are not shown, the many alarm."""
    served.spec(sample_investors=500)
    path = served.workspace.root / "monitoring" / "served.yaml"
    text = path.read_text().replace(
        "unsuitable_share: {kind: exact, limit: 0.0", "unsuitable_share: {kind: exact, limit: -1.0"
    )
    path.write_text(text)
    records = served.records(0)
    alone = next(one["user_id"] for one in records if one["kind"] == "slate")
    served.world.write_users(served.workspace.artifact("users"), alone={alone: "family office"})
    served.write(records)
    found = values(watch_day(served.workspace, served.day(0)))
    hidden = found["unsuitable_share", "segment=family office"]
    assert (hidden.hidden, hidden.alarm, hidden.value, hidden.low, hidden.p_value) == (
        True, False, None, None, None,
    )  # fmt: skip
    assert hidden.investors == 1
    assert found["unsuitable_share", "segment=retail"].alarm


def test_what_lies_twice_in_the_log_counts_once(served):
    records = served.records(0)
    served.write(records)
    before = bytes_of(watch_day(served.workspace, served.day(0)))
    served.write(records[:3])
    day = watch_day(served.workspace, served.day(0))
    assert "3 records lie in the log twice and count once." in day.remarks
    assert bytes_of(day)["series.parquet"] == before["series.parquet"]


def test_an_event_that_was_sent_again_behind_midnight_counts_once_however_it_is_read(served):
    """Whatever days are kept: nothing hangs on which of them are read."""
    served.spec(reference_days=3, gap_days=0, least_days=2)
    told = {}
    for number in range(4):
        records = served.records(number)
        for before in range(1, number + 1):  # a day later, and two and three days later
            again = next(one for one in served.records(number - before) if one["kind"] == "event")
            records.append(again | {"moment": again["moment"] + before * DAY_US})
        served.write(records)
        day = watch_day(served.workspace, served.day(number))
        told[number] = bytes_of(day)
        if number == 1:
            assert "1 records lie in the log twice and count once." in day.remarks
    for _ in range(2):
        again = {n: bytes_of(watch_day(served.workspace, served.day(n))) for n in range(4)}
        assert again == told
        shutil.rmtree(served.workspace.watched)


def test_a_close_of_nothing_moves_no_price(served):
    for number in range(2):
        moment = (NUMBER + number) * DAY_US
        close = {"kind": "close", "item_id": "i1", "moment": moment + 5, "told": moment + 6}
        served.write([*served.records(number), close | {"close_eur": float(number)}])
    assert watch_day(served.workspace, served.day(1)).status == "measured"


def test_what_the_reference_days_have_and_a_day_lacks_is_said(served):
    """Scores that are no numbers leave out what would alarm of them."""
    served.spec(reference_days=3, gap_days=0, least_days=2)
    for number in range(4):
        records = served.records(number)
        for one in records:
            if number == 3 and one["kind"] == "slate":
                one["scores"] = [None] * len(one["scores"])
        served.write(records)
        day = watch_day(served.workspace, served.day(number))
        said = [one for one in day.remarks if "cannot alarm" in one]
        assert bool(said) == (number == 3)
    assert "propensity.replay_gap" in said[0]
    assert "wasserstein.prediction.score" in said[0]
    assert "gini" not in said[0]


def test_whoever_was_erased_is_in_no_day_any_more(served):
    """Nor in what was kept of the days before: without it the same comes out."""
    served.spec(gap_days=0, least_days=2)
    for number in range(4):
        served.write(served.records(number))
    before = values(watch_day(served.workspace, served.day(3)))["positions", "all"]
    came = [{one["user_id"] for one in served.records(number) if one["kind"] == "slate"}
            for number in (1, 3)]  # fmt: skip
    user = min(came[0] & came[1])
    moment = max(one["moment"] for one in served.records(3))
    Erased(served.workspace.served).add(user, moment)
    day = watch_day(served.workspace, served.day(3))
    assert values(day)["positions", "all"].investors == before.investors - 1
    told = bytes_of(day)
    kept = [one for one in (served.workspace.watched / FOLDER).rglob("*") if one.is_file()]
    assert not [one for one in kept if user.encode() in one.read_bytes()]
    shutil.rmtree(served.workspace.watched)
    assert bytes_of(watch_day(served.workspace, served.day(3))) == told


def test_of_whoever_was_erased_nothing_is_kept_of_any_day(served):
    """Their rows would lie there, under a hash that whoever knows an id can make."""
    for number in range(3):
        served.write(served.records(number))
        watch_day(served.workspace, served.day(number))
    user = next(one["user_id"] for one in served.records(2) if one["kind"] == "slate")
    name = hashlib.blake2b(user.encode(), digest_size=16).hexdigest()
    kept = served.workspace.watched / FOLDER
    assert any(name in path.read_text() for path in kept.rglob("facts.json"))
    Erased(served.workspace.served).add(user, (NUMBER + 3) * DAY_US)
    watch_day(served.workspace, served.day(0))
    assert not any(name in path.read_text() for path in kept.rglob("facts.json"))
    assert list(kept.glob("[0-9]*")), "and what is kept now stays"


@pytest.mark.parametrize(
    ("line", "said"),
    [("reference_days: 0", "served.yaml: reference_days: Input should be greater"),
     ("least_days: 15", "served.yaml: all of it: .* nothing would be compared"),
     ("outcome_days: 17", "served.yaml: all of it: .* no rate would be measured"),
     ("series: {gini: {kind: bound, limit: .nan, side: above}}", "limit: Input should be a finite"),
     ("reference_dayz: 3", "served.yaml: reference_dayz: Extra inputs are not permitted"),
     ("series: {gini: {kind: bound, limit: 1}}", "series.gini: Value error, a bound says side")],
)  # fmt: skip
def test_a_mistake_in_the_specification_is_one_line(line, said, served):
    path = served.workspace.root / "monitoring" / "served.yaml"
    name = line.partition(":")[0]
    lines = path.read_text().splitlines()
    kept = [one for one in lines if not one.startswith(name)]
    if name == "series":
        kept = [one for one in kept if not one.startswith("  ")]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(BadParams, match=said):
        watch_day(served.workspace, served.day(0))


def test_days_are_listed_from_the_oldest(served):
    served.write(served.records(0))
    for number in (1, 0):
        watch_day(served.workspace, served.day(number))
    found = days(served.workspace.watched)
    assert [one.day for one in found] == [served.day(0), served.day(0) + timedelta(days=1)]
    assert json.loads((found[0].path / "day.json").read_text())["day"] == str(served.day(0))
    for end in (".bak", "-old"):
        shutil.copytree(found[0].path, found[0].path.with_name(f"{found[0].path.name}{end}"))
    assert days(served.workspace.watched) == found


def test_a_day_is_measured_by_one_at_a_time(served, monkeypatch):
    """Of two at once one would take away what the other writes aside."""
    served.write(served.records(0))
    at_once, most = [0], [0]
    real = watching.Watch.measured

    def measured(self):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        found = real(self)
        at_once[0] -= 1
        return found

    monkeypatch.setattr(watching.Watch, "measured", measured)
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: bytes_of(watch_day(served.workspace, served.day(0))),
                             range(3)))  # fmt: skip
    assert (most[0], told[0] == told[1] == told[2]) == (1, True)


def lowered(served, records, after=0):
    """Tell that whoever saw most is of the lowest class, before or after their first slate."""
    slates = [one for one in records if one["kind"] == "slate"]
    risk = dict(enumerate(served.world.risk_I.tolist()))
    above = {
        one["request_id"]: sum(risk[int(one["candidate_ids"][at][1:])] > 1 for at in one["chosen"])
        for one in slates
    }
    first = max(slates, key=lambda one: (above[one["request_id"]], one["request_id"]))
    told = first["moment"] + after
    one = InvestorClass("\x1fa", first["user_id"], 1, None, told, told)
    wanted = sum(
        above[one["request_id"]] for one in slates
        if one["user_id"] == first["user_id"] and one["moment"] > told
    )  # fmt: skip
    return one, first, wanted / sum(len(one["chosen"]) for one in slates)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("after", [-1, 1])
def test_suitable_is_judged_by_the_class_that_was_known_at_the_slate(served, sealed, after):
    records = served.records(0)
    one, _, wanted = lowered(served, records, after)
    assert (wanted > 0) is (after < 0)
    served.write([one.record() | {"moment": one.moment - 400 * DAY_US}] if after < 0
                 else [one.record()])  # fmt: skip
    served.write(records)
    if sealed:
        served.seal()
    found = values(watch_day(served.workspace, served.day(0)))
    assert found["unsuitable_share", "all"].value == pytest.approx(wanted)


def test_what_a_slate_says_that_it_knew_counts_though_it_was_asked_for_as_of_before(served):
    records = served.records(0)
    one, first, _ = lowered(served, records)
    told = one.record() | {"moment": one.moment + DAY_US // 4, "valid_from": one.valid_from - 1}
    first["context_version"] = f"{first['context_version'].split('+')[0]}+0+0+{told['moment']}"
    served.write([told, *records])
    assert values(watch_day(served.workspace, served.day(0)))["unsuitable_share", "all"].value > 0
