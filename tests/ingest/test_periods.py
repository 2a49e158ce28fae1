"""Where train, validation, test and the folds lie."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import ibis
import pytest

from tessera.contracts.errors import BadParams
from tessera.ingest.params import IngestParams
from tessera.ingest.periods import plan

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)
EVENTS = ibis.memtable(
    {"event_ts": [START + timedelta(days=number) for number in range(501)]},
    schema={"event_ts": "timestamp('UTC')"},
)


@pytest.fixture
def placed(tmp_path):
    def go(asked=None, **params):
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"cut": asked}))
        return plan(EVENTS, IngestParams(**params), request)

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
