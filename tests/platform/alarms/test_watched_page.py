"""The page shows what was measured: lines with gaps, thresholds, arms, slices, what was done."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import date, timedelta

import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.series import Point
from tessera.platform.release import exploration
from tessera.platform.watching.exposition import write_figures
from tessera.platform.watching.page import write_page
from tessera.platform.watching.raising import raise_alarms
from tessera.platform.watching.trends import chart

FIRST, LAST = date(2025, 1, 1), date(2025, 1, 11)


def drawn(values, **facts):
    days = {FIRST + timedelta(days=n): Point("gini", "all", value, **facts)
            for n, value in values.items()}  # fmt: skip
    return chart("gini", {"all": days}, FIRST, LAST)


def test_a_day_that_is_missing_leaves_a_gap_and_a_lone_day_is_a_dot():
    (line,) = drawn({0: 0.0, 1: 0.5, 2: 1.0, 5: 0.5, 8: 0.2, 9: 0.3}).lines
    assert line.path.count("M") == 2
    assert re.findall(r"M([\d.]+) ", line.path) == ["0.0", "80.0"]
    assert re.findall(r"M([\d.]+) ", line.dots) == ["50.0", "90.0"]


def test_the_threshold_and_the_interval_lie_where_the_values_do():
    found = drawn({0: 1.0, 10: 3.0}, low=1.0, high=3.0, threshold=2.0, side="above")
    strokes = re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)", found.limits)
    assert [(left, right) for left, _, right in strokes] == [("0.0", "5.0"), ("95.0", "100.0")]
    for _, height, _ in strokes:
        assert float(height) == pytest.approx(20.0, abs=0.8), "half-way between 1 and 3"
    assert found.bottom < 1.0 < 3.0 < found.top
    assert found.band.endswith("Z")
    assert drawn({0: 0.0, 1: 0.0}).bottom == 0.0


def test_days_that_alarm_have_a_dot_and_hidden_ones_nothing():
    shown = Point("gini", "all", 0.5)
    days = {FIRST: shown, FIRST + timedelta(1): replace(shown, alarm=True),
            FIRST + timedelta(2): replace(shown, value=None, hidden=True)}  # fmt: skip
    found = chart("gini", {"all": days}, FIRST, LAST)
    assert found.alarms.count("M") == 1
    assert found.latest.hidden
    assert chart("gini", {"all": {FIRST: days[LAST - timedelta(8)]}}, FIRST, LAST) is None


def test_mondays_are_marked():
    found = drawn({0: 1.0, 10: 2.0})
    assert found.mondays == [pytest.approx(50.0)], "6 January 2025 was a Monday"


@pytest.fixture
def page(planted, mover):
    """Two weeks with arms, slices and an alarm; the text of the page."""
    point = planted.point
    for number in range(14):
        alarm = number >= 12
        day = planted.day(
            number,
            point("gini", alarm=False),
            *(point("gini", f"arm={arm}", alarm=False) for arm in ("champion", "canary", "shadow")),
            point("psi.investors.segment", alarm=alarm),
            point("psi.investors.segment", "segment=<i>", alarm=alarm),
            point("psi.investors.segment", "risk_class=4", alarm=False, hidden=True, value=None,
                  low=None, high=None, p_value=None, investors=6),
            movers=[mover("i<1>", 0.02, 0.07)],
            remarks=["2 slates of a policy that nobody knows"],
        )  # fmt: skip
        raise_alarms(planted.workspace, day, planted.after(day))
    return write_page(planted.workspace).read_text()


def test_the_page_says_what_alarmed_and_what_was_done(page):
    assert "<title>Tessera watched: 2 alarms on 2025-01-14</title>" in page
    for day in ("2025-01-13", "2025-01-14"):
        assert re.search(rf'href="incidents/{day}-[0-9a-f]+\.html">{day}</a>', page), day
    assert "retrain: a run of the pipeline is asked for" in page
    assert "2025-01-13: " not in page, "of days before the newest stands what was done alone"
    assert re.search(r"<b>Done:</b> retrain: a run of the pipeline is asked for, as psi.inv", page)
    assert page.count('class="stack"') == 1
    assert page.count("how far shares lie from those of the days before") == 1
    assert "2 slates of a policy that nobody knows" in page


def test_the_page_draws_arms_slices_and_movers_and_hides_the_few(page):
    for kind in ("champion", "canary", "challenger"):
        assert f'class="l {kind}"' in page
    assert "2 slices, 1 alarmed" in page
    assert "too few" in page
    assert "i&lt;1&gt;" in page
    assert "+5.00 points" in page
    assert "<i>" not in page.replace("<i>01 Jan</i><i>14 Jan</i>", "")


def test_the_page_asks_for_nothing_and_has_no_script(page):
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!incidents/)", page)


def test_a_profile_that_was_never_watched_says_so(workspace):
    with pytest.raises(
        BadInput, match="no day of profile market was watched: run `tessera monitor`"
    ):
        write_page(workspace)


def test_an_empty_day_and_stopped_exploration_are_said(planted):
    planted.day(0, planted.point(alarm=False))
    planted.day(1, status="empty", remarks=["Nothing was shown on this day."])
    exploration.stop(planted.workspace, "the committee looks into it")
    text = write_page(planted.workspace).read_text()
    assert "Nothing was measured on 2025-01-02" in text
    assert "of which 1 without a slate" in text
    assert "Nothing was shown on this day." in text
    assert "Exploration is stopped" in text


def test_days_of_more_than_six_weeks_ago_are_left_out(planted):
    for number in (0, 41, 42):
        planted.day(number, planted.point(alarm=False))
    assert (
        "2 days in UTC, from 2025-02-11 to 2025-02-12" in write_page(planted.workspace).read_text()
    )


def test_the_same_days_give_the_same_bytes(planted):
    planted.day(0, planted.point(alarm=False))
    first = write_page(planted.workspace).read_bytes()
    assert write_page(planted.workspace).read_bytes() == first


def test_a_day_on_which_nothing_was_served_is_no_good_day(planted):
    planted.day(0, planted.point(alarm=False))
    assert "No alarm on 2025-01-01" in write_page(planted.workspace).read_text()
    planted.day(1, status="empty", remarks=["Nothing was shown on this day."])
    text = write_page(planted.workspace).read_text()
    assert "No alarm on" not in text
    assert "Nothing was measured on 2025-01-02" in text


def test_figures_say_when_the_newest_day_was_measured_not_when_they_were_written(planted):
    day = planted.day(0, planted.point())
    os.utime(day.path / "day.json", (5, 5))
    text = write_figures(planted.workspace, day).read_text()
    assert 'tessera_watched_at_seconds{profile="market"} 5.0' in text


def test_it_says_whom_it_hit_and_which_version_began(planted):
    """Before the first alarm, then and now; everybody in a sentence, the parts in a table."""
    for number in range(9):
        low = 0.1 if 5 <= number < 8 else 0.4
        is_bad, part = number in (5, 6, 7), low - 0.05
        point = planted.point("click_rate", value=low, alarm=is_bad)
        slices = planted.point("click_rate", "segment=mass", value=part, alarm=False)
        bundles = {"v1" if number < 4 else "v2": "x"}
        day = planted.day(number, point, slices, bundles=bundles)
        raise_alarms(planted.workspace, day, planted.after(day))
    page = re.sub(r"<[^>]+>|\s+", " ", write_page(planted.workspace).read_text())
    text = re.sub(r" +", " ", page)
    assert "response : click_rate was 0.4 before 2025-01-06, 0.1 until 2025-01-08 (-75 %)" in text
    assert "and is 0.2 now: 33 % of the way back (least segment=mass, 33 %)" in text
    assert "segment=mass 0.35 0.05 -86 % 0.15 33 %" in text
    assert "not back yet is response" in text
    assert "v2 had begun to answer on 2025-01-05: it may be of that version" in text
    assert "2025-01-01 v1 answers 2025-01-05 v2 begins to answer 2025-01-06 response alarms" in text
    assert "Served by v1 from 2025-01-01, v2 from 2025-01-05" in text
    assert "(segment=mass)" not in text


def test_charts_mark_where_another_version_begins_and_days_that_are_not_judged(planted):
    for number in range(8):
        judged = {} if number < 6 else {"threshold": None, "p_value": None}
        point = planted.point("score.mean", alarm=False, **judged)
        planted.day(number, point, bundles={"v1" if number < 6 else "v2": "x"})
    page = write_page(planted.workspace).read_text()
    assert page.count('class="begin"') == 1
    assert "not judged on this day" in page
    planted.day(8, planted.point("score.mean", alarm=False), bundles={"v2": "x"})
    assert "not judged on this day" not in write_page(planted.workspace).read_text()


def test_a_value_beyond_a_threshold_that_is_not_sure_says_so(planted):
    planted.day(0, planted.point("c2st.auc", value=0.3, threshold=0.4, side="below", alarm=False))
    planted.day(1, planted.point("c2st.auc", value=0.7, threshold=0.6, side="above", alarm=False))
    page = write_page(planted.workspace).read_text()
    assert "bad above 0.6 (of two the nearer): beyond it, not surely" in page
    planted.day(2, planted.point("c2st.auc", value=0.5, threshold=0.6, side="above", alarm=False))
    assert "not surely" not in write_page(planted.workspace).read_text()


def test_items_are_told_of_the_last_day_and_of_the_first_that_alarmed(planted, mover):
    for number in range(6):
        moved = [mover(f"of-day-{number}", 0.01, 0.05)]
        point = planted.point("gini", alarm=number == 3)
        day = planted.day(number, point, movers=moved)
        raise_alarms(planted.workspace, day, planted.after(day))
    page = write_page(planted.workspace).read_text()
    assert [n for n in range(6) if f"of-day-{n}<" in page] == [3, 5]
