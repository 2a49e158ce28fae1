"""docs/security.md names a test for each risk: they exist; and those that stand nowhere else."""

from __future__ import annotations

import ast
import re

import httpx
import pytest

from benchmarks.audit import told
from tessera.serve.http.bodies import Answer, Shown
from tessera.serve.http.keys import add_key

NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
RISKS = [f"API{n}" for n in range(1, 11)]


@pytest.fixture
def page(repository):
    return (repository / "docs" / "security.md").read_text()


def names_in(path):
    return {node.name for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef)}  # fmt: skip


def missing(text, repository):
    """Tests that a page names and that are nowhere."""
    found = {path.name: path for path in repository.glob("tests/**/test_*.py")}
    return [name for name in NAMED.findall(text)
            if name[0] not in found or name[1] not in names_in(found[name[0]])]  # fmt: skip


def test_every_named_test_exists(page, repository):
    assert missing(page, repository) == []
    assert missing("`test_security.py::test_nobody`", repository)


@pytest.mark.parametrize("risk", RISKS)
def test_every_risk_has_its_test(page, risk):
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {risk} ")]
    assert NAMED.search(row)


def test_a_slate_says_no_more_than_openapi(client):
    answer = client.post("/v1/recommendations", json={"investor_id": "u1"}).json()
    assert set(answer) == set(Answer.model_fields)
    assert {name for one in answer["items"] for name in one} == set(Shown.model_fields)


PAGES = ("/", "/docs", "/openapi.json")


def shape(path):
    return re.sub(r"\{\w+\}", "{}", path)


def test_every_route_is_told_of(app, repository):
    documented = shape((repository / "docs" / "serving.md").read_text())
    api = app.openapi()["paths"]
    assert {"/console/login", "/v1/events"} <= routed(app)
    for path in routed(app):
        assert path in api or path.startswith("/console") or path in PAGES, path
    for path in (*api, "/console", *PAGES):
        assert f"{shape(path)}`" in documented, f"docs/serving.md says nothing of {path}"
        assert path.startswith("/v1/") or path.count("/") == 1


def routed(app):
    """Paths of all routes, those of routers that were included too."""
    waiting, paths = list(app.routes), set()
    while waiting:
        one = waiting.pop()
        inner = getattr(one, "routes", None) or getattr(
            getattr(one, "original_router", None), "routes", None
        )
        waiting += inner or []
        paths |= set() if inner else {getattr(one, "path", "")}
    return paths - {""}


def test_the_service_connects_to_nobody(repository):
    """It listens: nothing it is made of asks another server."""
    outward = re.compile(
        r"^\s*(?:from|import) (?:requests|httpx|aiohttp|urllib\.request|http\.client|smtplib)\b",
        re.MULTILINE,
    )
    for path in repository.glob("src/tessera/serve/**/*.py"):
        assert not outward.search(path.read_text()), path
    assert outward.search("    import urllib.request\n")


@pytest.fixture
def entered(log_in, csrf):
    """Log in to the console; return the token of the session."""

    def enter(browser, secret):
        assert log_in(browser, secret).status_code == 303
        return csrf(browser.get("/console").text)

    return enter


@pytest.fixture
def browser(client):
    with httpx.Client(base_url=client.base_url, trust_env=False) as browser:
        yield browser


ACT = {"investor": "u1", "item": "i0", "action": "buy"}


def test_a_form_of_another_session_does_nothing(browser, keys, service, entered, csrf):
    entered(browser, add_key(keys, "ann", "operator"))
    for token in (
        "",
        "x",
        csrf(httpx.get(f"{browser.base_url}/console", trust_env=False).text),
    ):
        assert browser.post("/console/events", data=ACT | {"csrf": token}).status_code == 403
    assert service.engine.scorer.state.version == 0


@pytest.mark.parametrize(("role", "events"), [("viewer", 0), ("operator", 1)])
def test_a_viewer_may_look_and_not_act(browser, keys, service, entered, role, events):
    token = entered(browser, add_key(keys, "ann", role))
    answer = browser.post("/console/events", data=ACT | {"csrf": token})
    assert answer.status_code == (303 if events else 403)
    assert service.engine.scorer.state.version == events


@pytest.mark.parametrize("role", ["recommend", "feedback"])
def test_a_key_of_a_program_does_not_open_the_console(browser, keys, role, log_in):
    assert log_in(browser, add_key(keys, "shop", role)).status_code == 403


def test_a_page_loads_nothing_and_is_framed_by_nobody(browser):
    answer = browser.get("/console")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


FAULT = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
FINE, SKIPPED = {"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "unknown"}


@pytest.mark.parametrize(
    ("found", "code", "line"),
    [(None, 2, "nothing was audited"), ([], 2, "nothing was audited"),
     ([SKIPPED], 2, "nothing was audited"), ([FINE, SKIPPED], 0, "1 packages looked up, 0 faults"),
     ([FAULT, FINE], 1, "a 1: CVE-1, mended in 2")],
)  # fmt: skip
def test_an_audit_that_reached_nothing_is_no_audit(found, code, line):
    ended, lines = told(found)
    assert ended == code
    assert line in lines[0]
