"""Where train, validation, test and the folds lie."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import ibis
import pytest

from tessera.contracts.errors import BadParams
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.periods import plan, read_asked

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)
EVENTS = ibis.memtable(
    {"event_ts": [START + timedelta(days=number) for number in range(501)]},
    schema={"event_ts": "timestamp('UTC')"},
)


DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dated(*days):
    """Events at the midnight of each day, as FAR-Trans has them."""
    return ibis.memtable(
        {"event_ts": [moment(day) for day in days]}, schema={"event_ts": "timestamp('UTC')"}
    )


@pytest.fixture
def placed(tmp_path):
    def go(asked=None, events=EVENTS, **params):
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"cut": asked}))
        return plan(events, IngestParams(**params), read_asked(request))

    return go


def test_the_market_is_cut_at_the_day_where_seventy_percent_have_passed(placed):
    split = placed()
    assert split.cut == datetime(2024, 12, 16, tzinfo=UTC)
    assert split.validation_from == split.cut - timedelta(days=28)
    assert split.test_until == START + timedelta(days=500)


def test_the_request_wins_over_the_params(placed):
    split = placed("2024-06-01T00:00:00+02:00", cut="2024-07-01")
    assert split.cut == datetime(2024, 5, 31, 22, tzinfo=UTC)


def test_the_params_cut_is_a_date_or_a_moment(placed):
    for text in ("2024-06-01", "2024-06-01T00:00:00+00:00"):
        assert placed(cut=text).cut == datetime(2024, 6, 1, tzinfo=UTC)


def test_a_schedule_goes_on_after_the_log_has_ended(placed, caplog):
    day = datetime(2024, 12, 1, tzinfo=UTC)
    assert placed(f"{day.isoformat()} or earlier").cut == day
    assert not caplog.records
    late = placed("2026-11-22T00:00:00+00:00 or earlier")
    assert late == placed()
    assert "the log ends at 2025-05-15" in caplog.text
    with pytest.raises(BadParams, match="leaves one side empty"):
        placed("2026-11-22T00:00:00+00:00")


def test_periods_have_the_lengths_that_were_asked_for(placed):
    split = placed(cut="2024-06-01", validation_days=10, test_days=20)
    assert split.cut - split.validation_from == timedelta(days=10)
    assert split.test_until - split.cut == timedelta(days=20)


def test_folds_step_back_from_the_cut_inside_the_history(placed):
    for folds in (3, 5):
        split = placed(folds=folds)
        assert len(split.folds) == folds
        assert sorted(split.folds) == list(split.folds)
        assert split.folds[0] > START
        assert split.folds[-1] < split.cut
    short = placed(test_days=14)
    assert [short.cut - fold for fold in short.folds] == [
        timedelta(days=14 * back) for back in (3, 2, 1)
    ]


def test_leave_last_out_is_labelled_and_has_no_folds(placed):
    split = placed(protocol="leave_last_out")
    assert (split.protocol, split.ordinal, split.folds) == ("leave_last_out", False, ())


@pytest.fixture
def half_years(placed):
    """Place the periods of FAR-Trans, with two events on each day of 2019 to 2022."""
    days = ibis.memtable(
        {"event_ts": [moment("2019-01-01") + DAY / 2 * n for n in range(8 * 365)]},
        schema={"event_ts": "timestamp('UTC')"},
    )

    def go(asked=None, **params):
        return placed(asked, days, source="far_trans", **params)

    return go


@pytest.mark.parametrize(
    ("cut", "until"),
    [
        ("2021-07-01", "2022-01-01"),
        ("2021-07-02", "2022-01-01"),
        ("2021-12-30", "2022-01-01"),
        ("2021-12-30T23:59:59.999999", "2022-01-01"),
        ("2021-12-31", "2022-07-01"),
        ("2021-12-31T23:59:59.999999", "2022-07-01"),
        ("2022-01-01", "2022-07-01"),
        ("2022-06-29", "2022-07-01"),
        ("2022-06-30", "2023-01-01"),
        ("2022-06-30T23:59:59.999999", "2023-01-01"),
        ("2022-07-01", "2023-01-01"),
    ],
)
def test_a_cut_at_the_end_of_a_half_year_is_tested_on_the_next(half_years, cut, until):
    split = half_years(cut)
    assert split.cut == moment(cut)
    assert split.test_until == moment(until) - TICK
    assert split.test_until - split.cut >= DAY, "sources that date by the day have events then"


def test_folds_of_a_half_year_are_half_years_that_do_not_overlap(half_years):
    for cut in ("2021-06-30", "2021-07-01", "2021-12-31"):
        split = half_years(cut)
        length = split.test_until - split.cut
        assert len(split.folds) == 3
        for fold, following in zip(split.folds, [*split.folds[1:], split.cut], strict=True):
            assert length > DAY * 100
            assert fold + length <= following


def test_the_half_year_before_the_cut_validates_whole(half_years):
    for cut in ("2022-06-30", "2022-07-01"):
        split = half_years(cut)
        assert split.cut - split.validation_from == DAY * 181


def test_an_empty_test_period_is_refused_in_one_line(placed):
    gap = dated("2020-01-01", "2020-06-01", "2020-12-01", "2021-03-01", "2022-08-01", "2022-08-01")
    with pytest.raises(BadParams, match=r"^the test period .* holds no event: .*test_days$") as bad:
        placed("2021-07-01", gap, source="far_trans")
    assert "\n" not in str(bad.value)
    assert placed("2021-07-01", gap, source="far_trans", test_days=400)
    with pytest.raises(BadParams, match="the test period"):
        placed("2021-07-01", gap, test_days=30)


def test_an_empty_validation_period_is_said(placed, caplog):
    gap = dated("2020-01-01", "2020-06-01", "2021-08-01", "2021-08-02")
    placed("2021-07-01", gap, source="far_trans", validation_days=400)
    assert "to validate on" not in caplog.text
    placed("2021-07-01", gap, source="far_trans")
    assert "no event from 2021-01-01 00:00:00+00:00 to the cut to validate on" in caplog.text


def test_a_fold_without_an_event_is_left_out(placed, caplog):
    gap = dated("2020-01-01", "2020-01-25", "2021-02-01", "2021-03-10", "2021-07-02", "2021-07-03")
    split = placed("2021-07-01", gap, validation_days=200, test_days=30)
    assert split.folds == ()
    assert "3 folds left out" in caplog.text
    near = placed("2021-03-12", gap, validation_days=200, test_days=130)
    assert near.folds == (moment("2020-11-23"),)


def test_a_test_period_of_hours_has_folds_of_hours(placed):
    hourly = ibis.memtable(
        {"event_ts": [START + timedelta(hours=number) for number in range(240)]},
        schema={"event_ts": "timestamp('UTC')"},
    )
    split = placed((START + timedelta(hours=237)).isoformat(), hourly)
    assert [split.cut - fold for fold in split.folds] == [
        (timedelta(hours=2) + TICK) * back for back in (3, 2, 1)
    ]


def test_a_single_event_to_test_on_is_refused(placed):
    days = dated("2020-01-01", "2020-06-01", "2020-12-01", "2021-01-01", "2021-08-01")
    with pytest.raises(BadParams, match=r"holds one event alone: move the cut"):
        placed("2021-07-01", days, validation_days=200)


def wrong(*days):
    """A year of events, one a day, and some wrong dates."""
    year = [moment("2021-01-01") + DAY * n for n in range(365)]
    return ibis.memtable(
        {"event_ts": [*year, *map(moment, days)]}, schema={"event_ts": "timestamp('UTC')"}
    )


@pytest.mark.parametrize(
    "days",
    [
        ("2099-12-31",),
        ("2023-01-01",),
        ("1970-01-01",),
        ("1970-01-01", "1970-01-01", "2012-01-01"),
        ("2099-12-31", "2098-12-31", "2030-01-01"),
    ],
)
def test_absurd_dates_do_not_choose_the_cut(placed, days, caplog):
    split = placed(events=wrong(*days))
    assert moment("2021-09-08") <= split.cut <= moment("2021-09-20"), "as without them"
    assert split.cut - split.validation_from == 28 * DAY
    assert split.test_until <= moment("2022-04-10"), "profit is measured until then"
    assert "look for wrong dates" in caplog.text


def test_a_log_without_absurd_dates_is_cut_by_time_and_tested_to_its_end(placed, caplog):
    split = placed(events=wrong())
    assert split.cut == moment("2021-09-12")
    assert split.test_until == moment("2021-12-31")
    assert not caplog.records
