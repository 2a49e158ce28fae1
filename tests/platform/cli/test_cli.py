"""The command line as a whole: what it lists, and its version."""

from __future__ import annotations

import re


def test_the_version_and_short_help_are_there(say):
    code, out, _ = say("--version")
    assert (code, out.split()[0]) == (0, "tessera")
    for words in (("-h",), ("run", "-h"), ("doctor", "-h")):
        code, out, _ = say(*words)
        assert code == 0
        assert "Usage" in out


def test_every_command_stands_in_one_panel_of_the_help(say, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = say("-h")
    panels = {}
    for line in out.splitlines():
        if title := re.match(r"╭─ (.+?) ─+╮", line):
            names = panels.setdefault(title[1], [])
        elif name := re.match(r"│ ([a-z]+) +\S", line):
            names.append(name[1])
    assert panels == {
        "Options": [],
        "Work with it": ["stages", "run", "infer", "ui", "cluster", "recommend", "sid", "ablate",
                         "doctor"],
        "Serve it": ["serve", "fetch", "consume", "key", "served", "mix", "canary", "simulate"],
        "Called by DVC, Airflow and make": ["snapshot", "dvc", "render", "task"],
        "Decide what is published": [
            "publish", "verdict", "promote", "hold", "rollback", "history", "floors",
            "exploration",
        ],
        "Watch it": ["monitor", "alarms", "dashboards", "report"],
    }  # fmt: skip


def test_a_wrong_option_is_one_line_whose_sentences_end(say):
    code, _, err = say("serve", "--port", "99999")
    assert code == 2
    assert err.startswith("error: Invalid value for '--port': ")
    assert err.endswith(" to 65535. See `tessera --help`.\n")
