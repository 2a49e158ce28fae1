"""The page of a verdict in a real browser: the same structure, on a telephone and on paper."""

import json
import re
from html import escape, unescape
from pathlib import Path

import pytest

from tessera.stages.report.page import render

DECISIONS = ("PROMOTE", "HOLD", "REJECT", "INVALID")
EXAMPLE = json.loads((Path(__file__).parent / "verdict.json").read_text())
EMPTY = dict.fromkeys(
    ("primary", "estimates", "sequence", "prechecks", "guardrails", "weights", "controls", "slices")
)
LONG = "x" * 300
BATCH = [
    {"temperature": 0.5 + k, "decision": "PROMOTE", "reason": "", "lift": -12.3456,
     "lower": -12.3456, "upper": 12.3456, "level": 0.0076, "proposed": k == 0}
    for k in range(3)
]  # fmt: skip


def page_of(**changes):
    return render({**EXAMPLE, **changes}, "a" * 64)


CASES = {decision: {"decision": decision} for decision in DECISIONS} | {
    "batch": {"batch": BATCH, "primary": {**EXAMPLE["primary"], "alpha_k": 0.03, "level": 0.01}},
    "empty": {"decision": "INVALID", **EMPTY},
    "long": {
        "reason": LONG,
        "champion": LONG,
        "inputs": {LONG: LONG},
        "params": {LONG: LONG},
        "controls": {LONG: {LONG: LONG}},
        "guardrails": [{"name": LONG, "value": 1e9, "threshold": 1e9, "ok": False, "says": LONG}],
        "slices": {"min_users": 50, "rows": [
            {"by": LONG, "name": LONG, "n_requests": 10**7, "n_users": 1, "mean": 0.0,
             "lower": None, "upper": None}]},
    },
}  # fmt: skip
MEASURE = """<script>addEventListener("load", () => {
  const inner = document.querySelector("iframe").contentDocument.documentElement;
  document.body.dataset.wide = inner.scrollWidth + " " + inner.querySelector("body").scrollWidth;
});</script>"""


@pytest.mark.parametrize("case", CASES)
def test_a_telephone_needs_no_scrolling_sideways(chromium, tmp_path, case):
    inner = escape(page_of(**CASES[case]), quote=True)
    frame = f'<iframe srcdoc="{inner}" style="width: 390px; height: 800px; border: 0"></iframe>'
    (tmp_path / "phone.html").write_text(f"<!doctype html><body>{frame}{MEASURE}</body>")
    dom = chromium("--dump-dom", (tmp_path / "phone.html").as_uri()).stdout
    (wide,) = re.findall(r'data-wide="(\d+) (\d+)"', dom)
    assert max(map(int, wide)) <= 390


def texts(page, tag):
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, flags=re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for text in found]


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_browser_reads_what_was_written(chromium, tmp_path, decision):
    written = page_of(decision=decision)
    (tmp_path / "verdict.html").write_text(written)
    dom = chromium("--dump-dom", (tmp_path / "verdict.html").as_uri()).stdout
    assert texts(dom, "title") == [f"Tessera verdict: {decision}"]
    assert len(texts(dom, "h2")) == 8
    for tag in ("h1", "h2", "h3", "caption", "tr", "dt", "dd", "figcaption", "text"):
        assert texts(dom, tag) == texts(written, tag), tag


def test_it_prints_on_a4(chromium, tmp_path):
    (tmp_path / "verdict.html").write_text(page_of())
    page, paper = (tmp_path / "verdict.html").as_uri(), tmp_path / "verdict.pdf"
    chromium("--no-pdf-header-footer", f"--print-to-pdf={paper}", page)
    printed = paper.read_bytes()
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)\s*\]", printed)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    for box in boxes:
        assert [float(side) for side in box] == pytest.approx([595.3, 841.9], abs=1.5)
    assert boxes
