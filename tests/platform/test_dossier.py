"""The document for auditors tells every act of its period, and what does not match."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape

import pytest
from typer.testing import CliRunner

from tessera.contracts.errors import BadInput, BrokenHistory
from tessera.contracts.series import Point, read_day, write_day
from tessera.contracts.verdict import FORMAT
from tessera.platform.cli.cli import app
from tessera.platform.dossier.gather import gather
from tessera.platform.dossier.page import render
from tessera.platform.dossier.parts import PARTS
from tessera.platform.dossier.period import Period
from tessera.platform.release import acts, retraining
from tessera.platform.release import chain as chains
from tessera.platform.release.chain import digest
from tessera.platform.release.history import chain, history
from tessera.platform.release.overrides import Override
from tessera.platform.watching.raising import raise_alarms

TODAY = datetime.now(UTC).date()
NOW = Period(TODAY - timedelta(days=1), TODAY + timedelta(days=1))
EVIDENCE = {
    "version": FORMAT,
    "primary": {"metric": "clicks per request", "lift": 0.01, "lower": -0.02, "upper": 0.04},
    "n_users": 4321,
    "n_requests": 98765,
    "guardrails": [
        {"name": "gini_rise", "value": 0.3, "threshold": 0.2, "says": "it narrows", "ok": False},
        {"name": "roi_lower", "value": None, "threshold": 0.0, "says": "it loses", "ok": None},
    ],
}
WHY, BACK = "the committee wants it for the pilot", "complaints about loans came in"


@pytest.fixture
def acted(workspace, make_candidate):
    """Publish by a verdict, publish against one, and go back."""
    make_candidate(workspace)
    acts.promote(workspace)
    make_candidate(workspace, "HOLD", judged_against="v1", weight=2.0, evidence=EVIDENCE)
    acts.promote(workspace, override=Override(WHY, "Ada Lovelace"))
    acts.rollback(workspace, None, BACK, "Grace Hopper")
    return workspace


def test_every_act_is_told_with_its_hash_and_who_answers(acted):
    page = render(gather(acted, NOW))
    for line in chain(acted).lines():
        assert digest(line) in page
    for text in (WHY, BACK, "Ada Lovelace", "Grace Hopper", "(override)"):
        assert text in page
    assert page == render(gather(acted, NOW))


def test_the_verdict_is_told_with_what_failed_and_what_was_not_measured(acted):
    page = render(gather(acted, NOW))
    for text in ("clicks per request", "98,765", "4,321", "-0.02", "gini rise failed: it narrows",
                 "roi lower was not measured", "<strong>fails</strong>: it narrows"):  # fmt: skip
        assert text in page


def test_versions_stand_in_the_order_in_which_they_were_in_force(acted):
    told = gather(acted, NOW)
    assert [stay.version for stay in told.stays] == ["v0", "v1", "v2", "v1"]
    assert [stay.until is None for stay in told.stays] == [False, False, False, True]
    assert [one.name for one in told.versions] == ["v0", "v1", "v2"]
    assert told.faults == []
    assert told.head["entries"] == len(history(acted))


def test_what_lies_outside_the_period_is_not_told(acted):
    before = gather(acted, Period(date(2020, 1, 1), date(2020, 12, 31)))
    assert (before.acts, before.stays, before.versions) == ([], [], [])
    page = render(before)
    assert "No version was in force in this period" in page
    assert WHY not in page
    after = gather(acted, Period(TODAY + timedelta(days=2), TODAY + timedelta(days=3)))
    assert [stay.version for stay in after.stays] == ["v1"]
    assert after.acts == []


def test_what_ended_behind_the_period_is_not_told_to_be_in_force_now(acted, monkeypatch):
    later = datetime.now(UTC) + timedelta(days=40)
    monkeypatch.setattr(chains, "now", lambda: later.isoformat(timespec="seconds"))
    acts.promote(acted, "v2", override=Override(WHY, "Ada Lovelace"))
    told = gather(acted, NOW)
    assert [stay.version for stay in told.stays] == ["v0", "v1", "v2", "v1"]
    assert told.stays[-1].until == later.isoformat(timespec="seconds")


@pytest.mark.parametrize(
    "line", ["no json", "{}", '{"act": "publish"}', '{"act": "publish", "at": "2025-01-01"}']
)
def test_a_line_that_no_act_wrote_is_a_fault_and_the_rest_is_told(acted, line):
    with chain(acted).file.open("a") as file:
        file.write(f"{line}\n")
    told = gather(acted, NOW)
    assert told.faults[0].startswith("the history is broken at entry")
    assert len(told.acts) == len(history(acted)) - 1
    render(told)


def test_what_is_missing_is_said_in_its_part(acted):
    page = render(gather(acted, NOW))
    for part in PARTS:
        section = re.search(rf'<section id="{part.key}">.*?</section>', page, re.DOTALL)
        assert section is not None
        for one in part.missing:
            assert one in unescape(section[0])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda w: _change(chain(w).file, WHY, "nothing was wrong"), "the history is broken"),
        (lambda w: _change(w.bundles / "v2" / "verdict.json", "HOLD", "PROMOTE"), "v2"),
        (lambda w: (w.bundles / "v1" / "manifest.json").unlink(), "v1"),
    ],
)
def test_what_was_changed_is_said_first_and_ends_with_an_error(
    acted, tmp_path, monkeypatch, harm, said
):
    harm(acted)
    monkeypatch.chdir(acted.root)
    page = tmp_path / "report.html"
    done = _report(acted, page)
    assert isinstance(done.exception, BrokenHistory)
    assert said in str(done.exception)
    banner = page.read_text().partition("<section")[0]
    assert "Not to be relied on" in banner
    assert said in banner


def test_a_whole_document_ends_well(acted, tmp_path, monkeypatch):
    monkeypatch.chdir(acted.root)
    page = tmp_path / "report.html"
    assert _report(acted, page).exit_code == 0
    assert "was checked when this was made" in page.read_text()


def test_a_profile_in_which_nothing_was_done_is_refused(workspace):
    with pytest.raises(BadInput, match="nothing was ever published"):
        gather(workspace, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "May",
        "2025-13",
        "2025-02-30",
        "2025-05..",
        "..2025",
        "2025-1",
        "2025-05..2025-04",
        "1..2..3",
    ],
)
def test_what_is_no_period_is_refused(text):
    with pytest.raises(BadInput, match="period"):
        Period.parse(text)


def _report(workspace, page):
    span = f"{NOW.first}..{NOW.last}"
    words = ["report", "--period", span, "--page", str(page), "--profile", workspace.profile]
    return CliRunner().invoke(app, words)


def _change(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


SEEN = Period(date(2025, 1, 1), date(2025, 1, 31))


def _watch(workspace, number, value, *, alarm=False):
    """A day with a series, as `tessera monitor` leaves it, and its alarm."""
    day = date(2025, 1, 8) + timedelta(number)
    folder = workspace.watched / str(day)
    folder.mkdir(parents=True)
    point = Point("gini", "all", value, None, None, 4000, 900, 0.8, "above", 1e-5, alarm)
    part = Point("gini", "segment=a", 0.1, threshold=0.8, side="above")
    free = Point("novelty", "all", 3.0)
    facts = {"status": "measured", "remarks": [], "inputs": {}}
    write_day(folder, day, [point, part, free], [], facts)
    raise_alarms(workspace, read_day(folder), datetime(2025, 1, 11, tzinfo=UTC))


def _rows(page):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in rows]


def test_watched_days_and_their_alarms_are_told(acted):
    for number, value in enumerate((0.6, 0.9, 0.7)):
        _watch(acted, number, value, alarm=number == 1)
    _watch(acted, 40, 0.99, alarm=True)
    told = gather(acted, SEEN)
    assert told.faults == []
    page = render(told)
    assert "3 days of this period were watched, from 2025-01-08 to 2025-01-10" in page
    assert "gini 0.6 0.7 0.6 0.9 bad above 0.8 1" in _rows(page)
    alarm = "2025-01-09 popularity, all warning gini is 0.9, bad above 0.8 raised recommender team"
    assert alarm in _rows(page)
    assert "novelty" not in page
    assert "0.99" not in page
    assert "no day of this period was watched" not in page
    assert page == render(gather(acted, SEEN))


def test_a_watched_day_or_an_alarm_that_was_changed_is_said(acted):
    for number in range(2):
        _watch(acted, number, 0.9, alarm=True)
    _change(acted.watched / "alarms.jsonl", '"warning"', '"note"')
    (acted.watched / "2025-01-09" / "movers.parquet").write_bytes(b"")
    found = gather(acted, SEEN)
    assert len(found.faults) == 2
    assert "2025-01-09" in found.faults[0]
    assert "is not what was measured" in found.faults[0]
    assert found.faults[1].startswith("the record of alarms is broken at entry 1")
    assert [day.day.day for day in found.watched.days] == [8]


def test_days_between_that_were_not_watched_are_said_to_be_missing(acted):
    for number in (0, 1, 4):
        _watch(acted, number, 0.6)
    page = unescape(render(gather(acted, SEEN)))
    assert "2 days between them: 2025-01-10, 2025-01-11." in page


def test_a_record_of_alarms_that_was_taken_away_is_said(acted):
    _watch(acted, 0, 0.9, alarm=True)
    for line in ("{}", '{"kind": "alarm"}'):
        with (acted.watched / "alarms.jsonl").open("a") as file:
            file.write(f"{line}\n")
        assert len(gather(acted, SEEN).faults) == 1
    (acted.watched / "alarms.jsonl").unlink()
    assert "the record of alarms is broken at entry 1: it is missing" in gather(acted, SEEN).faults


def test_a_record_of_alarms_that_was_begun_anew_is_said(acted):
    for number in (0, 1):
        _watch(acted, number, 0.9, alarm=number == 0)
    for path in acted.watched.glob("alarms.*"):
        path.unlink()
    (said,) = gather(acted, SEEN).faults
    assert said.startswith("series of 2025-01-08 alarm and the record of alarms has none of that")


def test_what_an_alarm_did_and_no_record_tells_is_said(acted):
    retraining.ask(acted, "alarm 2025-01-09-0a1b2c3d: gini is 0.9, bad above 0.8")
    (said,) = gather(acted, SEEN).faults
    assert "lacks alarm 2025-01-09-0a1b2c3d, by which something was done" in said
