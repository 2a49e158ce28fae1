"""The page says what every coarse code means, how levels are used, and which codes collide."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import escape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import CODES, EVENTS, ITEMS, NODES, PRICES, QUERIES
from tessera.platform.semantic_ids.book import read_book
from tessera.platform.semantic_ids.page import write_page
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.stage import run

CUT = datetime(2024, 6, 1, tzinfo=UTC)
KINDS = ("covered bond", "mortgage", "index fund")


def coded(workspace, **params):
    """Run the stage on thirty items of three kinds, two of them alike to the letter."""
    import ibis

    names = [f"Elm {KINDS[k % 3]} {'<b>' if k == 7 else chr(97 + k)}" for k in range(30)]
    names[4] = names[1]
    blank = dict.fromkeys(schema(ITEMS).names)
    rows = [{**blank, "item_id": f"i{k:02d}", "name": name, "category": KINDS[k % 3],
             "risk_class": 1} for k, name in enumerate(names)]  # fmt: skip
    items = pa.Table.from_pylist(rows, schema(ITEMS))
    measures = [name for name in schema(NODES).names if name not in ("item_id", "is_new")]
    nodes = pa.table({"item_id": items["item_id"], **{one: np.ones(30) for one in measures},
                      "is_new": np.zeros(30, bool)})  # fmt: skip
    edges = pa.table({"source_id": ["i00", "i03"], "target_id": ["i03", "i06"],
                      "kind": ["co_acquired"] * 2, "weight": [1.0, 1.0],
                      "support": [3, 2]})  # fmt: skip
    workspace.data.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, workspace.artifact("items"))
    save_split(Split(CUT - timedelta(28), CUT, CUT + timedelta(28)), workspace.artifact("split"))
    (workspace.data / "ledger").mkdir()
    run(items=ibis.memtable(items), nodes=ibis.memtable(nodes), edges=ibis.memtable(edges),
        events=ibis.memtable(schema(EVENTS).empty_table()),
        prices=ibis.memtable(schema(PRICES).empty_table()),
        queries=ibis.memtable(schema(QUERIES).empty_table()),
        split=workspace.artifact("split"), ledger_in=workspace.data / "ledger",
        codes=workspace.artifact("codes"), codebook=workspace.artifact("codebook"),
        ledger_out=workspace.artifact("ledger_out"), sid_health=workspace.artifact("sid_health"),
        params=SidParams(codebook_size=8, text_width=8, **params))  # fmt: skip


@pytest.fixture
def page(workspace, tmp_path):
    coded(workspace)
    return write_page(workspace, tmp_path / "semantic_ids.html").read_text()


def test_every_coarse_code_stands_with_its_words_and_its_items(page, workspace):
    book = read_book(workspace)
    assert sum(node.items for node in book.tree) == 30
    for node in book.tree:
        if node.words:
            assert f'<span class="code">{node.code}</span> {", ".join(node.words)}' in page
    assert {node.words[0] for node in book.tree if node.words} & set(KINDS)


def test_each_level_has_a_picture_and_the_map_has_every_code(page, workspace):
    book = read_book(workspace)
    assert page.count("<h3>Level ") == book.levels == 3
    assert page.count('class="spot"') == len(book.tree) == len(book.map.spots)
    assert page.count('class="dot"') == 30
    assert [sum(counts) for counts in book.counts] == [30] * 3
    assert 0.0 < book.map.kept <= 1.0 + 1e-9


def test_the_worst_collisions_are_told_by_name(page, workspace):
    told = [names for _, count, names in read_book(workspace).worst if count > 1]
    assert any(names.count("Elm mortgage b") == 2 for names in told)
    assert "Elm mortgage b; Elm mortgage b" in page


def test_what_the_gate_asks_stands_beside_what_was_found(page, workspace):
    codes = pq.read_table(workspace.artifact("codes"))
    assert codes.schema.equals(schema(CODES))
    assert page.count('<td class="n good">') + page.count('<td class="n bad">') == 5


def test_it_stands_alone_and_names_are_only_text(page):
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="', page)
    assert "<b>" not in re.sub(r"<p>.*?</p>", "", page), "a name that looks like markup"
    assert "&lt;b&gt;" in page


def test_equal_runs_give_equal_bytes(page, workspace, tmp_path):
    assert write_page(workspace, tmp_path / "again.html").read_text() == page


def test_without_a_run_and_with_an_old_one_it_says_what_to_do(workspace, tmp_path):
    target = tmp_path / "page.html"
    with pytest.raises(BadInput, match="run `tessera run sid"):
        write_page(workspace, target)
    coded(workspace)
    whole = json.loads(workspace.artifact("sid_health").read_text())
    for told in (None, [], {"levels": []}, {"noise": 1.0}, {**whole, "levels": []}):
        workspace.artifact("sid_health").write_text(json.dumps(told))
        with pytest.raises(BadInput, match="says nothing of noise: run"):
            write_page(workspace, target)
    assert not target.exists()


@pytest.mark.parametrize(("name", "says"), [
    ("codes", "the codes of profile market: pyarrow says .*: run `tessera run sid --prof"),
    ("codebook", "the codebook of the last run cannot be read: run `tessera run sid --prof"),
])  # fmt: skip
def test_what_is_torn_is_one_line_that_empties_no_ledger(workspace, tmp_path, name, says):
    coded(workspace)
    torn = workspace.artifact(name)
    (torn / "config.json" if torn.is_dir() else torn).write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=says) as told:
        write_page(workspace, tmp_path / "page.html")
    assert "empty it" not in str(told.value)


def test_codes_that_were_never_shaken_are_said_to_be_unknown_under_noise(workspace, tmp_path):
    coded(workspace, content_weight=0.0, neighbourhood_weight=0.0)
    text = write_page(workspace, tmp_path / "semantic_ids.html").read_text()
    assert "How codes stand noise is not known" in text
    assert text.count(">unknown (no)<") == 2
    assert "Codes that move so far" not in text.split("</table>")[1]


def test_a_folder_is_never_replaced_by_the_page(workspace, tmp_path):
    coded(workspace)
    kept = tmp_path / "kept" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    (tmp_path / "link").symlink_to(kept.parent, target_is_directory=True)
    for folder in (kept.parent, tmp_path / "link"):
        with pytest.raises(BadInput, match="is a folder: name a file in it"):
            write_page(workspace, folder)
    with pytest.raises(BadInput, match="cannot write .*notes.txt/page.html: .*: name another file"):
        write_page(workspace, kept / "page.html")
    assert (kept.read_text(), [path.name for path in kept.parent.iterdir()]) == (
        "mine",
        [kept.name],
    )


MEASURE = """<script>addEventListener("load", () => {
  const inner = document.querySelector("iframe").contentDocument.documentElement;
  document.body.dataset.wide = inner.scrollWidth + " " + inner.querySelector("body").scrollWidth;
});</script>"""


def test_a_telephone_needs_no_scrolling_sideways_with_all_codes_open(page, chromium, tmp_path):
    inner = escape(page.replace("<details>", "<details open>"), quote=True)
    frame = f'<iframe srcdoc="{inner}" style="width: 390px; height: 800px; border: 0"></iframe>'
    (tmp_path / "phone.html").write_text(f"<!doctype html><body>{frame}{MEASURE}</body>")
    dom = chromium("--dump-dom", (tmp_path / "phone.html").as_uri()).stdout
    (wide,) = re.findall(r'data-wide="(\d+) (\d+)"', dom)
    assert max(map(int, wide)) <= 390
