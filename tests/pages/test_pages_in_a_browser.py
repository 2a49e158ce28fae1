"""The pages that a run leaves stand in a real browser: whole, offline, without a script error."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tessera.contracts.pages import templates
from tessera.contracts.series import Mover, Point, read_day, write_day
from tessera.contracts.split import Split
from tessera.platform.validation.validation_page import render_page
from tessera.platform.watching.page import write_page as write_watched
from tessera.platform.watching.raising import raise_alarms
from tessera.serve.clock import Clock
from tessera.serve.http.app import make_app
from tessera.serve.http.bodies import Shown
from tessera.serve.http.figures import Figures
from tessera.serve.http.keys import Keys
from tessera.serve.http.reference import rendered
from tessera.serve.investors import Investor
from tessera.serve.recommend import Lead
from tessera.stages.monitor import page as watch_page
from tessera.stages.monitor.bias import figures
from tessera.stages.monitor.drift import Drifted
from tessera.stages.monitor.frames import Pair, Window
from tessera.stages.monitor.params import MonitorParams
from tessera.stages.monitor.report import drift_report
from tessera.stages.monitor.spec import Rule, load_watch

WITNESS = """<script>
  const wrong = [];
  addEventListener("error", event => wrong.push(String(event.message)));
  addEventListener("load", () => setTimeout(() => {
    const asked = performance.getEntriesByType("resource").map(one => one.name);
    document.body.dataset.seen = JSON.stringify({asked, wrong});
  }, 1000));
</script>"""


@pytest.fixture
def browse(chromium):
    """Open a page; return its text lines after its scripts ran, its DOM, and what went wrong."""

    def look(page):
        witnessed = page.with_name(f"witnessed-{page.name}")
        witnessed.write_text(page.read_text().replace("<head>", f"<head>{WITNESS}", 1))
        done = chromium("--dump-dom", witnessed.as_uri())
        seen = re.search(r'data-seen="([^"]*)"', done.stdout)
        assert seen, done.stderr
        told = json.loads(unescape(seen.group(1)))
        logged = [line for line in done.stderr.splitlines() if "Uncaught" in line]
        remote = [name for name in told["asked"] if not name.startswith(("data:", "blob:"))]
        return done.stdout, {"asked": remote, "wrong": told["wrong"], "logged": logged}

    return look


NOTHING = {"asked": [], "wrong": [], "logged": []}


def _words(dom, tag):
    """Text of every element of one kind."""
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", dom, flags=re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for text in found]


def _rows(dom):
    return [text for text in _words(dom, "tr") if text]


def _check(rule, *, passed=True, **facts):
    facts = {"rows": 9, "unexpected": 0, "observed": "", "examples": [], **facts}
    return {"expectation": "expect_it", "rule": rule, "column": "x", "passed": passed, **facts}


def _table(folder, name, rows, *checks, quarantined=()):
    passed = all(check["passed"] for check in checks)
    summary = {"table": name, "rows": rows, "passed": passed, "checks": checks}
    (folder / f"{name}.json").write_text(json.dumps({**summary, "quarantined": quarantined}))


def test_the_witness_sees_a_request_and_a_script_error(browse, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<html><head></head><body><img src="http://example.org/x.png">'
        "<script>nothing.here()</script></body></html>"
    )
    _, seen = browse(page)
    assert seen["asked"] == ["http://example.org/x.png"]
    assert len(seen["wrong"]) == len(seen["logged"]) == 1


def test_the_validation_page(browse, tmp_path):
    bad = _check("amount_eur is at least 0", passed=False, unexpected=2, examples=[[7, "-1.0"]])
    _table(tmp_path, "events", 12345, bad, _check("rows", observed="12345"))
    _table(tmp_path, "items", 9, _check("item_id is never missing"))
    reasons = [{"table": "events", "reason": "user_id: missing", "rows": 155}]
    _table(tmp_path, "quarantine", 155, _check("reason is never missing"), quarantined=reasons)
    render_page(tmp_path, tmp_path / "index.html")
    dom, seen = browse(tmp_path / "index.html")
    assert seen == NOTHING
    assert _words(dom, "title") == ["Tessera validation: 1 table failed"]
    assert _words(dom, "h1") == ["Validation of the tables"]
    assert _words(dom, "h2") == ["What failed", "Quarantine", "Tables"]
    assert [text.split()[0] for text in _words(dom, "summary")] == ["events", "items", "quarantine"]
    assert dom.count("<details") - dom.count('open=""') == 2, "only what failed is open"
    rows = _rows(dom)
    assert "events amount_eur is at least 0 expect_it 2 of 9 row 7: -1.0" in rows
    assert "events user_id: missing 155 1.24 %" in rows
    assert "✓ rows 12,345 0" in rows


@pytest.fixture
def window(repository):
    cut, end = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 9, 1, tzinfo=UTC)
    watch = load_watch(repository / "monitoring/watch.yaml")
    return Window(Split(cut, cut, end), watch, MonitorParams())


def test_the_watch_page(browse, window, tmp_path):
    drifted = [
        Drifted("events", "action", "psi", 0.0001, 0.25, alarm=False),
        Drifted("events", "log_amount", "wasserstein", 0.7123456789, 0.5, alarm=True),
    ]
    rows = {name: {"reference": 1000, "current": 20_000} for name in watch_page.REPORTS}
    bias = figures(np.array([[0, 1], [0, 2]]), np.array([5, 4, 1, 0]), 5, window.watch)
    (tmp_path / "events.html").touch()
    watch_page.write_page(tmp_path / "index.html", window, drifted, bias, rows)
    dom, seen = browse(tmp_path / "index.html")
    assert seen == NOTHING
    assert _words(dom, "title") == ["Tessera watch: 1 alarm"]
    assert _words(dom, "h1") == ["Watch: drift and popularity bias"]
    assert _words(dom, "h2") == [
        "Popularity bias of the recommendations",
        "Drift of what investors did (events)",
        "Drift of what was shown (exposures)",
        "Drift of what is recommended (lists)",
    ]
    assert _words(dom, "dt") == ["Drift", "PSI", "Wasserstein", "Popularity bias", "An alarm"]
    assert _words(dom, "li") == ["events.log_amount moved: wasserstein 0.712, alarm at 0.5"]
    shown = _rows(dom)
    assert "log_amount amount, as a power of ten of euros 0.712 0.5 Wasserstein" in shown
    assert "action buy, sell, view and so on < 0.001 0.25 PSI" in shown
    assert len([row for row in shown if "should" not in row and "measure" not in row]) == 5 + 2
    assert re.findall(r'href="([^"]+)"', dom) == ["events.html"], "links only to what was written"


def test_no_number_of_the_watch_page_has_more_digits_than_can_be_read(window, tmp_path):
    bias = figures(np.array([[0, 1], [1, 2]]), np.array([5, 3, 1]), 7, window.watch)
    rows = {name: {"reference": 0, "current": 0} for name in watch_page.REPORTS}
    watch_page.write_page(tmp_path / "index.html", window, [], bias, rows)
    text = re.sub(r"<style>.*?</style>", "", (tmp_path / "index.html").read_text(), flags=re.DOTALL)
    assert re.findall(r"\d\.\d{4,}", text) == []


def test_a_report_of_distributions_says_what_it_compares(browse, rng, tmp_path):
    def drawn(share):
        return pd.DataFrame(
            {
                "action": rng.choice(["buy", "sell"], 300, p=[share, 1 - share]),
                "log_amount": rng.normal(2, 1, 300),
            }
        )

    rules = {
        "action": Rule(method="psi", alarm=0.25),
        "log_amount": Rule(method="wasserstein", alarm=0.5),
    }
    drift_report("events", Pair(drawn(0.3), drawn(0.7)), rules, tmp_path / "events.html")
    dom, seen = browse(tmp_path / "events.html")
    assert seen == NOTHING
    assert _words(dom, "h1")[0] == "Tessera watch: distributions of events"
    assert "what came after the cut" in dom
    drawn_by_scripts = re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    assert re.findall(r"Drift in column '(\w+)'", drawn_by_scripts) == ["action", "log_amount"]
    assert 'class="main-svg"' in drawn_by_scripts


MEASURED = """<script>
  addEventListener("load", () => setTimeout(() => {
    const reach = [...document.querySelectorAll("a, button, input, select, summary")]
      .filter(one => one.type !== "hidden");
    reach.forEach(one => one.focus());
    parent.postMessage({
      wide: document.documentElement.scrollWidth,
      keys: reach.every(one => (one.focus(), document.activeElement === one)),
      unlabelled: reach.filter(one => !(one.textContent.trim() || one.labels?.length)).length,
      positive: document.querySelectorAll("[tabindex]").length,
    }, "*");
  }, 200));
</script>"""


@pytest.fixture
def narrow(chromium, tmp_path):
    """Show a page 390 pixels wide; return how wide it is and whether keys reach all of it."""

    def look(page):
        (tmp_path / "inner.html").write_text(page.replace("<head>", f"<head>{MEASURED}", 1))
        outer = tmp_path / "outer.html"
        outer.write_text(
            '<iframe src="inner.html" width="390" height="800" style="border:0"></iframe>'
            "<script>addEventListener('message', event => "
            "document.body.dataset.seen = JSON.stringify(event.data))</script>"
        )
        done = chromium("--dump-dom", outer.as_uri())
        seen = re.search(r'data-seen="([^"]*)"', done.stdout)
        assert seen, done.stderr
        return json.loads(unescape(seen.group(1)))

    return look


def console_pages():
    """Render the pages of the console with more than they usually hold."""
    pages = templates("tessera.serve.http")
    shared = {"csrf": "x", "role": "operator", "version": "v12", "policy": "softmax, " * 20}
    items = [
        Shown(position=n, facts=[], item_id=f"i{n:05d}",
              name="Birch covered bond of a long name " * 2,
              category="bond", score=-12.3456, propensity=0.0123, source="uniform",
              reason="holding something is estimated to raise the chance of buying it " * 2)
        for n in range(1, 4)
    ]  # fmt: skip
    edges = {one.item_id: [Lead("causal", "Alder credit card 019", 0.1, 0.05, 24)] for one in items}
    happened = {"time": datetime(2024, 5, 1, tzinfo=UTC), "action": "dismiss",
                "item_id": "i00001", "name": "Birch"}  # fmt: skip
    told = {
        "login.html": {"role": None, "wrong": True},
        "home.html": {"some": ["u000001"] * 8, "identity": "f" * 64, "events": 7},
        "investor.html": {
            "who": Investor("u" * 128, 2, (), (), None), "held": ["Birch small cap"] * 30,
            "dismissed": [], "slate": items, "evidence": edges, "history": [happened] * 3,
            "events": 3, "may_act": True, "versions": ["v11"], "answers": "v12",
        },
        "compare.html": {
            "investor": "u1", "wrong": None, "both": {"i00001"},
            "sides": [{"version": name, "policy": "softmax", "slate": items}
                      for name in ("v12", "v11")],
        },
        "live.html": {"figures": Figures(300.0, 12345.678, 10**6, 12.5, 999.9, 0.2)},
    }  # fmt: skip
    made = {name: pages.get_template(name).render(shared | more) for name, more in told.items()}
    app = make_app(SimpleNamespace(), Clock(), Keys(Path("keys.json")))
    return made | {"reference.html": rendered(app)}


@pytest.mark.parametrize("name", ["login", "home", "investor", "compare", "live", "reference"])
def test_the_console_fits_a_telephone_and_needs_no_mouse(browse, narrow, tmp_path, name):
    page = console_pages()[f"{name}.html"].replace('http-equiv="refresh"', "")
    (tmp_path / "console.html").write_text(page)
    assert browse(tmp_path / "console.html")[1] == NOTHING
    seen = narrow(page)
    assert seen["wide"] <= 390
    assert seen["keys"], "each control takes the focus"
    assert (seen["unlabelled"], seen["positive"]) == (0, 0)


def _watched(workspace, number):
    """A day with an arm, a segment and, from the third on, an alarm."""
    day = date(2025, 1, 6) + timedelta(number)
    folder = workspace.watched / str(day)
    folder.mkdir(parents=True)
    told = (0.4, 0.3, 0.5, 4000, 900, 0.1, "above", 1e-5)
    slices = ("all", "arm=canary", "segment=retail")
    points = [Point("psi.items.issuer", one, *told, alarm=number > 1) for one in slices]
    facts = {"status": "measured", "remarks": [], "inputs": {}}
    write_day(folder, day, points, [Mover("i1", 0.02, 0.07)], facts)
    raise_alarms(workspace, read_day(folder), datetime(2025, 1, 10, tzinfo=UTC))


def test_the_page_of_watched_days(browse, workspace):
    for number in range(4):
        _watched(workspace, number)
    dom, seen = browse(write_watched(workspace))
    assert seen == NOTHING
    assert _words(dom, "title") == ["Tessera watched: 3 alarms on 2025-01-09"]
    assert _words(dom, "h2") == [
        "What happened, in order",
        "Whom it hit, and whether it is over",
        "What alarmed, and what was done",
        "Drift of inputs and scores",
        "Items whose share moved most",
    ]
    assert _words(dom, "h3") == ["psi.items.issuer"]
    assert _words(dom, "summary") == ["by slice (2)", "2 slices, 2 alarmed"]
    first = next(row for row in _rows(dom) if row.startswith("drift"))
    assert first.startswith("drift warning 2025-01-08 , 2025-01-09 psi.items.issuer is")
    assert "2025-01-08: " not in first, "of days before the newest what was done stands there"
    assert first.endswith("docs/monitoring.md#drift")
    assert "i1 2.00 % 7.00 % +5.00 points" in _rows(dom)
    incident = next((workspace.watched / "incidents").glob("2025-01-09-*.html"))
    dom, seen = browse(incident)
    assert seen == NOTHING
    assert "psi.items.issuer 0.4 0.3 to 0.5 above 0.1 1e-05 4,000 900" in _rows(dom)
