"""What the page on serving shows is run as it stands there, against a service."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tessera.serve.events import Event
from tessera.serve.log import read_segment

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


def example(language):
    """Return the one block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def asked(client, monkeypatch):
    """Ask a service that listens somewhere else than the page says."""
    monkeypatch.setenv("URL", str(client.base_url).rstrip("/"))
    monkeypatch.setenv("KEY", client.headers["authorization"].removeprefix("Bearer "))


def test_the_client_of_a_few_lines(asked, service, capsys):
    block = example("python")
    assert len([line for line in block.splitlines() if line]) <= 12
    exec(block, {})
    slate, event = read_segment(service.log.path).records
    first = slate["candidate_ids"][slate["chosen"][0]]
    assert (event["request_id"], event["item_id"]) == (slate["request_id"], first)
    taken = {"new": 1, "known": 0, "conflict": 0, "status": ["new"]}
    assert capsys.readouterr().out == f"{first} {taken}\n"


def test_the_lines_of_curl(asked, service):
    service.happened([Event("e0", "u000001", "i0", "click", 0)])  # as the market knows them
    done = subprocess.run(
        ["bash", "-euc", example("sh")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    slate, taken, known = told(done.stdout)
    assert len(slate["items"]) == 3
    assert taken == {"new": 1, "known": 0, "conflict": 0, "status": ["new"]}
    assert known["investor_id"] == "u000001"
    assert [one["kind"] for one in read_segment(service.log.path).records] == [
        "event",
        "slate",
        "event",
    ]


def test_the_line_that_sends_a_close(asked, service, monkeypatch):
    monkeypatch.setattr(service.engine, "freshness", lambda: (0, None))
    (line,) = re.findall(r"^curl .*/v1/closes .*\n.*'$", PAGE, re.MULTILINE)
    line = line.replace("i00363", "i1").replace("2024-12-23T00:00:01Z", "2023-11-14T22:13:19Z")
    done = subprocess.run(
        ["bash", "-euc", line], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, '{"new":1,"known":0}'), done.stderr


def test_the_line_that_sends_a_class(asked, service):
    (line,) = re.findall(r"^curl .*/v1/investors .*\n.*'$", PAGE, re.MULTILINE)
    line = line.replace("2024-12-23T00:00:01Z", "2023-11-14T22:13:19Z")
    done = subprocess.run(
        ["bash", "-euc", line], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, '{"new":1,"known":0}'), done.stderr
    assert service.engine.scorer.now("u000001", 10**16).classed.risk_class == 2


def told(text):
    """Read bodies that were printed one behind the other."""
    found, start = [], 0
    while start < len(text.rstrip()):
        one, start = json.JSONDecoder().raw_decode(text, start)
        found.append(one)
    return found
