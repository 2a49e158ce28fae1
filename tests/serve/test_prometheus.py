"""A real Prometheus reads the service: each alert rule and query of the dashboard answers."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from datetime import date

import httpx
import pytest
import yaml

from tessera.bundles.places import figures_beside
from tessera.contracts.series import Point, read_day, write_day
from tessera.platform.watching.exposition import write_figures
from tessera.platform.watching.raising import raise_alarms
from tessera.serve import measures

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
NEEDS = "needs the Debian package prometheus"
CONFIG = """\
global: {{scrape_interval: 250ms, evaluation_interval: 500ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: tessera
    authorization: {{credentials: {key}}}
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture
def rules(repository):
    return repository / "monitoring" / "prometheus" / "rules.yml"


@pytest.fixture
def panels(repository):
    """Each query of the dashboard with the title of its panel."""
    board = json.loads((repository / "monitoring" / "grafana" / "tessera.json").read_text())
    return [
        (panel["title"], one["expr"])
        for panel in board["panels"]
        for one in panel.get("targets", [])
    ]


@pytest.mark.skipif(PROMTOOL is None, reason=NEEDS)
@pytest.mark.parametrize(
    "words", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")]
)
def test_promtool_finds_nothing_wrong_with_the_rules(rules, words):
    done = subprocess.run(
        [PROMTOOL, *words], cwd=rules.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_a_test_where_it_fires_and_one_where_it_does_not(rules):
    told = yaml.safe_load(rules.read_text())
    alerts = {rule["alert"] for group in told["groups"] for rule in group["rules"]}
    tests = yaml.safe_load(rules.with_name("rules_test.yml").read_text())["tests"]
    asked = [one for test in tests for one in test["alert_rule_test"]]
    assert {one["alertname"] for one in asked if one.get("exp_alerts")} == alerts
    assert {one["alertname"] for one in asked if not one.get("exp_alerts")} == alerts


def test_every_runbook_of_a_rule_is_written(rules, repository):
    for group in yaml.safe_load(rules.read_text())["groups"]:
        for rule in group["rules"]:
            page, _, anchor = rule["annotations"]["runbook"].partition("#")
            heads = re.findall(r"^#+ (.+)$", (repository / page).read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, rule["alert"]


def test_every_figure_that_is_asked_for_is_one_that_is_told(rules, panels, client, watched):
    text = client.get("/metrics").text
    told = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    exprs = [expr for _, expr in panels] + re.findall(r"tessera_\w+", rules.read_text())
    for name in {name for expr in exprs for name in re.findall(r"\btessera_\w+", expr)}:
        assert {name, name.removesuffix("_total"), name.removesuffix("_bucket")} & told, name


@pytest.fixture
def watched(service, workspace):
    """A day that was watched beside the log of the service."""
    day, folder = date(2025, 1, 8), workspace.watched / "2025-01-08"
    folder.mkdir(parents=True)
    names = ("gini", "psi.items.issuer", "propensity.replay_gap")
    told = (0.4, 0.3, 0.5, 4000, 900, 0.1, "above", 1e-5)
    points = [
        Point(name, slice_, *told, alarm=True)
        for name in names
        for slice_ in ("all", "arm=champion", 'segment=retail "one"')
    ]
    hidden = Point("gini", "risk_class=4", None, hidden=True)
    write_day(
        folder, day, [*points, hidden], [], {"status": "measured", "remarks": [], "inputs": {}}
    )
    raise_alarms(workspace, read_day(folder))
    path = figures_beside(service.log.path.parent)
    path.parent.mkdir()
    shutil.copy(write_figures(workspace, read_day(folder)), path)


def test_the_newest_watched_day_stands_in_the_metrics(client, watched):
    lines = client.get("/metrics").text.splitlines()
    of = 'profile="market",series="gini"'
    assert f'tessera_watched{{{of},slice="all"}} 0.4' in lines
    assert f'tessera_watched{{{of},slice="segment=retail \\"one\\""}} 0.4' in lines
    assert f'tessera_watched_threshold{{{of},side="above",slice="all"}} 0.1' in lines
    assert not [line for line in lines if "risk_class=4" in line]
    of = 'profile="market",severity="warning"'
    assert f'tessera_watched_alarms{{family="drift",{of}}} 3.0' in lines
    assert f'tessera_watched_alarms{{family="freshness",{of}}} 0.0' in lines
    assert 'tessera_watched_day_seconds{profile="market"} 1.7362944e+09' in lines


def test_nobody_watched_is_no_fault(client):
    assert "tessera_watched" not in client.get("/metrics").text


def _busy(client):
    """Let every figure be counted at least once."""
    for n in range(5):
        client.post("/v1/recommendations", json={"investor_id": f"u{n}"})
    measures.SHED.labels("busy").inc()
    measures.SHADOW.labels("scored").inc()
    measures.FLAGS.labels("filled").inc()
    measures.EVENTS.labels("new").inc()
    measures.REQUESTS.labels("POST", "/v1/recommendations", 500).inc()
    measures.REFUSED.labels("current").set(0)
    measures.note_process("v1")


@pytest.fixture
def prometheus(client, rules, tmp_path, watched):
    """Ask a real Prometheus that reads the service."""
    if PROMETHEUS is None:
        pytest.skip(NEEDS)
    _busy(client)
    key = client.headers["authorization"].removeprefix("Bearer ")
    target = f"{client.base_url.host}:{client.base_url.port}"
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(rules=rules, key=key, target=target))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"--storage.tsdb.path={tmp_path / 'tsdb'}"
    listen = f"--web.listen-address=127.0.0.1:{port}"
    words = [f"--config.file={config}", store, listen, "--log.level=warn"]
    with (
        subprocess.Popen([PROMETHEUS, *words], stdout=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as http,
    ):
        try:
            yield lambda path, **asked: _ask(http, path, asked)
        finally:
            process.terminate()


def _ask(http, path, asked):
    """Nothing until it listens, and nothing while it reads its store (503, in words)."""
    try:
        answer = http.get(path, params=asked)
    except httpx.TransportError:
        return None
    return None if answer.status_code == 503 else answer.json().get("data")


def _until(client, true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        _busy(client)
        time.sleep(0.3)


def test_every_rule_and_every_query_of_the_dashboard_answers(prometheus, client, panels):
    def found(expr):
        answer = prometheus("/query", query=expr)
        return answer is not None and answer["result"]

    def filled(expr):
        for name, value in (
            ("$profile", "market"),
            ("$series", "gini"),
            ("$__rate_interval", "30s"),
        ):
            expr = expr.replace(name, value)
        return expr

    _until(client, lambda: found('count_over_time(up{job="tessera"}[30s]) > 8'))
    empty = [title for title, expr in panels if not found(filled(expr))]
    assert empty == []
    assert not found("tessera_nowhere"), "a query that asks for nothing is seen"
    groups = prometheus("/rules")["groups"]
    checked = [(one["health"], one.get("lastError")) for group in groups for one in group["rules"]]
    assert set(checked) == {("ok", None)}
    assert len(checked) == 11
    firing = {one["labels"]["alertname"] for one in prometheus("/alerts")["alerts"]
              if one["state"] == "firing"}  # fmt: skip
    assert firing == {"TesseraWatchedAlarm"}
