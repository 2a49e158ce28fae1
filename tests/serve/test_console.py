"""The console: what people see of an investor, and what they may do."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from tessera.serve.events import Event
from tessera.serve.http import versions
from tessera.serve.http.figures import Counted, Recently
from tessera.serve.http.keys import add_key
from tessera.serve.log import read_segment

MODEL = '{"kind": "model"}'


def words(page, tag):
    """Text of every element of one kind."""
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, flags=re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for text in found]


@pytest.fixture
def people(client, keys, log_in):
    """A browser that is logged in, by role."""
    opened = []

    def enter(role):
        browser = httpx.Client(base_url=client.base_url, trust_env=False, timeout=60)
        opened.append(browser)
        secret = add_key(keys, f"a-{role}", role)
        assert log_in(browser, secret).status_code == 303
        return browser

    yield enter
    for one in opened:
        one.close()


def investor(browser):
    return browser.get("/console/investor", params={"id": "u1"}).text


def act(browser, page, action, item="i0"):
    data = {
        "csrf": re.search(r'name="csrf" value="([^"]+)"', page)[1],
        "investor": "u1",
        "item": item,
        "action": action,
    }
    return browser.post("/console/events", data=data)


def test_the_address_itself_leads_to_the_console(client):
    answer = httpx.get(f"{client.base_url}", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


def test_what_a_person_does_changes_the_next_slate_and_is_logged(people, service):
    browser = people("operator")
    before = investor(browser)
    assert "Nobody knows this investor" in before
    assert act(browser, before, "buy", "i3").headers["location"].endswith("id=u1#slate")
    (event,) = read_segment(service.log.path).records
    assert (event["action"], event["item_id"], event["channel"]) == ("buy", "i3", "console")
    service.happened([Event("e2", "u1", "i3", "buy", 1)])  # the clock stands still
    after = investor(browser)
    assert "Nobody knows" not in after
    assert words(after, "dd")[1] == "Fund i3"
    assert any("13.000" in row for row in words(after, "tr")), "10 more for what was met"


def test_each_item_shows_what_found_it_why_and_the_evidence(people, client):
    event = {"event_id": "e1", "investor_id": "u1", "item_id": "i4", "action": "buy",
             "time": "2023-11-14T22:13:19Z"}  # fmt: skip
    client.post("/v1/events", json={"events": [event]})
    page = investor(people("viewer"))
    edge = "causal from Fund i4: weight 0.250, 24 investors behind it, sign wrong in 3.1 % of such"
    assert words(page, "li") == [edge] * 3
    first = next(row for row in words(page, "tr") if "dense" in row)
    item = re.search(r"i\d", first).group()
    assert f"{item} suits Evidence (1)" in first
    assert "<button name=" not in page, "a viewer only looks"


def test_a_viewer_may_not_act(people, service):
    browser = people("viewer")
    assert act(browser, investor(browser), "buy").status_code == 403
    assert read_segment(service.log.path).records == []


def test_a_canary_answers_its_investors_in_the_console_too(people, service, engine):
    service.try_out(engine("v2"), 0.5)
    by_arm = {service.arms.of(f"u{n}").version: f"u{n}" for n in range(20)}
    browser = people("viewer")
    for version, user in by_arm.items():
        page = browser.get("/console/investor", params={"id": user}).text
        assert ("The canary v2 answers this investor" in page) == (version == "v2")
        asked = {"id": user, "beside": "v9"}
        (side,) = words(browser.get("/console/compare", params=asked).text, "h2")
        assert side == f"{version} served now"
    assert set(by_arm) == {"v1", "v2"}


@pytest.mark.parametrize("path", ["/console/live", "/console/compare?id=u1&beside=v2",
                                  "/console/investor?id=u1"])  # fmt: skip
def test_without_a_session_there_is_only_the_door(client, path):
    answer = httpx.get(f"{client.base_url}{path}", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


@pytest.fixture
def registry(tmp_path, engine, monkeypatch):
    """A registry of three versions; count what is opened."""
    opened = []

    def opener(bundle, _params):
        opened.append(bundle.name)
        return engine(bundle.name)

    for name in ("v0", "v1", "v2", "v10"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
        (tmp_path / "bundles" / name / "manifest.json").write_text(MODEL)
    (tmp_path / "bundles" / "v0" / "manifest.json").write_text('{"kind": "logging"}')
    monkeypatch.setattr(versions, "check", lambda _bundle: {})
    monkeypatch.setattr(versions.Engine, "open", opener)
    return opened


def test_two_versions_stand_side_by_side_and_know_the_same(people, client, registry):
    browser = people("viewer")
    assert words(investor(browser), "option") == ["v10", "v2"], "all but the one that is served"
    event = {"event_id": "e1", "investor_id": "u1", "item_id": "i0", "action": "buy",
             "time": "2023-11-14T22:13:19Z"}  # fmt: skip
    asked = {"id": "u1", "beside": "v2"}
    for known in (False, True):
        page = browser.get("/console/compare", params=asked).text
        assert words(page, "h2") == ["v1 served now", "v2"]
        left, right = words(page, "table")
        assert left == right, "equal engines and one seed"
        assert ("10.000" in page) is known
        client.post("/v1/events", json={"events": [event]})
    browser.get("/console/compare", params=asked | {"beside": "v10"})
    browser.get("/console/compare", params=asked)
    assert registry == ["v2", "v10", "v2"], "one at a time, and only when it is asked for"


@pytest.mark.parametrize("name", ["v0", "v1", "v3", "..", "../served"])
def test_what_is_no_other_version_is_said_on_the_page(people, registry, name):
    answer = people("viewer").get("/console/compare", params={"id": "u1", "beside": name})
    assert answer.status_code == 404
    assert 'role="alert">no such version in the registry' in answer.text
    assert registry == []


def test_a_bundle_that_cannot_be_opened_is_said_on_the_page(people, tmp_path):
    (tmp_path / "bundles" / "v2").mkdir(parents=True)
    (tmp_path / "bundles" / "v2" / "manifest.json").write_text(
        '{"kind": "model", "files": {"a": "0"}}'
    )
    page = people("viewer").get("/console/compare", params={"id": "u1", "beside": "v2"}).text
    assert "v2: a does not match the manifest" in page


def test_live_figures_are_those_since_the_service_began(people, client):
    browser = people("viewer")
    for _ in range(5):
        client.post("/v1/recommendations", json={"investor_id": "u1"})
    page = browser.get("/console/live").text
    told = dict(zip(words(page, "dt"), words(page, "dd"), strict=True))
    assert told["Slates"] == "5"
    assert float(told["Requests a second"]) > 0
    assert told["Latency, median"].endswith(" ms")
    assert '<meta http-equiv="refresh" content="5">' in page


def test_figures_look_back_a_window_and_no_further():
    counts = iter([Counted(0.0, 0), Counted(100.0, 10), Counted(350.0, 50), Counted(500.0, 500)])
    recently = Recently(lambda: next(counts), window_s=300)
    assert [round(recently.look().per_s, 3) for _ in range(3)] == [0.1, 0.143, 1.225]


def test_a_share_of_positions_explores():
    before, after = Counted(0.0, positions=10, explored=1), Counted(1.0, positions=30, explored=6)
    counts = iter([before, after])
    assert Recently(lambda: next(counts)).look().explored == 0.25


def test_no_page_may_load_anything(people, registry):
    browser = people("viewer")
    for path in ("", "/live", "/investor?id=u1", "/compare?id=u1&beside=v2"):
        answer = browser.get(f"/console{path}")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert "<script" not in answer.text
