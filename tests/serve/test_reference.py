"""The page of what may be asked says what is so, and every line on it can be run."""

from __future__ import annotations

import re
import subprocess
from html import unescape

import httpx
import pytest

from tessera.serve.clock import Clock
from tessera.serve.events import Event
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import ROLES, Keys, add_key

MARCH_2 = 1_709_337_600_000_000
"""A day after the close of the example."""


@pytest.fixture
def app(service, keys, params):
    return make_app(service, Clock(source=lambda: MARCH_2), Keys(keys), params)


LATER = ("2024-12-23T00:00:01Z", "2023-11-14T22:13:21Z")
"""A second after the cut of the embedded market, and of the bundle that is served here."""


@pytest.fixture
def page(client):
    return client.get("/docs").text


def sections(page):
    """What the page says of each route, by method and path."""
    found = re.findall(
        r"<section aria-labelledby=\"([A-Z]+)-(/[^\"]*)\">(.*?)</section>", page, re.S
    )
    return {(method, path): unescape(text) for method, path, text in found}


def curl_of(text):
    return re.search(r"<pre>(.*?)</pre>", text, re.S)[1]


def roles_said(text):
    said = re.search(r"Who may ask</dt><dd>(.*?)</dd>", text)[1]
    return None if said == "anybody, without a key" else set(said[5:].split(" or "))


def test_every_route_of_openapi_is_on_the_page_and_no_other(page, app):
    api = {(method.upper(), path): told for path, methods in app.openapi()["paths"].items()
           for method, told in methods.items()}  # fmt: skip
    assert set(sections(page)) == set(api)
    for name, text in sections(page).items():
        assert f"<p>{api[name]['summary']}.</p>" in text
        assert " " in api[name]["summary"], "else it is made of a function's name"
        for status in api[name]["responses"]:
            assert re.search(rf"\b{status}\b", text), (name, status)
        for one in api[name].get("parameters", ()):
            assert f"<code>{one['name']}</code>" in text


def test_who_may_ask_is_who_is_let_in(page, client, keys):
    secrets = {role: add_key(keys, role, role) for role in ROLES}
    for (method, path), text in sections(page).items():
        url, said = f"{client.base_url}{path}", roles_said(text)
        for role, secret in secrets.items():
            headers = {"authorization": f"Bearer {secret}"}
            code = httpx.request(method, url, headers=headers, trust_env=False).status_code
            assert (code == 403) == (said is not None and role not in said), (method, path, role)
        bare = httpx.request(method, url, trust_env=False).status_code
        assert (bare == 401) == (said is not None)


def test_every_example_runs(page, client, service, monkeypatch):
    monkeypatch.setenv("URL", str(client.base_url).rstrip("/"))
    monkeypatch.setenv("KEY", client.headers["authorization"].removeprefix("Bearer "))
    service.happened([Event("e0", "u000001", "i0", "click", 0)])  # as the market knows them
    for name, text in sections(page).items():
        line = curl_of(text).replace("i00363", "i1").replace(*LATER)
        done = subprocess.run(
            ["bash", "-euc", line], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (name, done.stdout + done.stderr)
    assert not service.engine.scorer.state.known("u000001").events, "the last of them erases"


def test_what_bodies_are_made_of_is_said_with_bounds_and_every_link_leads_somewhere(page, app):
    models = app.openapi()["components"]["schemas"]
    for name in set(models) - {"HTTPValidationError", "ValidationError"}:
        (_, text) = page.split(f'<h2 id="{name}">')
        for field, schema in models[name]["properties"].items():
            row = text.split(f"<code>{field}</code>")[1].split("</tr>")[0]
            assert schema.get("description", "") in unescape(row)
    ask = page.split('<h2 id="Ask">')[1].split("</section>")[0]
    assert "at least 1, at most 100" in ask
    assert "at most 128 characters" in ask
    linked = set(re.findall(r'href="#([^"]+)"', page))
    assert {"Ask", "Problem", "Fact"} <= linked
    assert linked <= set(re.findall(r'id="([^"]+)"', page))


def test_the_page_is_open_loads_nothing_and_says_nothing_of_a_bundle(client, service, engine):
    service.swap(engine("v77"))
    answer = httpx.get(f"{client.base_url}/docs", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<script|<link|<img|src=|https?:", answer.text)
    for secret in (service.engine.version, service.engine.identity, service.engine.told(), "i0"):
        assert not re.search(rf"\b{re.escape(secret)}\b", answer.text)
