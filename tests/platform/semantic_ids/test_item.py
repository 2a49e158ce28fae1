"""What `tessera sid` says of an item: code, words of each level, siblings; else one clear line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tessera.bundles.words import CODES, ITEMS, WIDTH
from tessera.contracts.errors import BadInput, BadParams
from tessera.platform.cli.cli import app
from tessera.platform.semantic_ids.item import look_up
from tessera.shared.codes.trie import build_trie, save_trie

CODE_NL = np.array([[3, 1, 0], [3, 1, 1], [3, 2, 0], [5, 0, 0]])
IDS = ["i0", "i1", "i2", "i3"]


def write_codes(bundle, words=True):
    """Give the first four items of a planted bundle codes, and words if asked."""
    save_trie(build_trie(CODE_NL), bundle / "trie.safetensors")
    (bundle / "trie.json").write_text(json.dumps(IDS))
    if not words:
        return
    told = [{"prefix": [3], "items": 3, "words": ["bond", "covered"]},
            {"prefix": [3, 1], "items": 2, "words": ["elm"]}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(told), bundle / CODES)
    bits = [0b01 | 1 << WIDTH, 0b11 | 1 << WIDTH, 0b11, 0]
    rows = [{"item_id": item, "code": code[:-1].tolist(), "bits": bit}
            for item, code, bit in zip(IDS, CODE_NL, bits, strict=True)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), bundle / ITEMS)


def test_each_level_says_its_words_and_who_shares_it(workspace, make_candidate):
    bundle = make_candidate(workspace)
    write_codes(bundle)
    found = look_up(bundle, "i0")
    assert (found.name, found.sid) == ("Fund 0", "3-1-0")
    first, second = found.levels
    assert (first.codeword, first.items, first.siblings) == (3, 3, ("Fund 2",))
    assert (first.words, first.true) == (("bond", "covered"), ("bond",))
    assert (second.codeword, second.items, second.siblings) == (1, 2, ("Fund 1",))
    assert second.true == ("elm",)
    alone = look_up(bundle, "i3")
    assert [(level.items, level.siblings) for level in alone.levels] == [(1, ()), (1, ())]
    last = look_up(bundle, "i2").levels[0]
    assert last.siblings == ("Fund 0", "Fund 1")


def test_an_unknown_item_names_the_nearest_ids_and_a_bundle_without_codes_says_so(
    workspace, make_candidate
):
    bundle = make_candidate(workspace)
    with pytest.raises(BadInput, match="has no codes: publish a model first"):
        look_up(bundle, "i0")
    write_codes(bundle, words=False)
    with pytest.raises(BadInput, match=r"no item 'i33' in bundle: the nearest ids are i3, "):
        look_up(bundle, "i33")
    assert not look_up(bundle, "i0").told


@pytest.fixture
def said(workspace, make_candidate, monkeypatch):
    """Run the command on a published bundle with codes."""
    bundle = make_candidate(workspace)
    write_codes(bundle)
    monkeypatch.setattr("tessera.platform.release.pointer.current_bundle", lambda _: bundle)
    monkeypatch.chdir(workspace.root)

    def run(*words):
        return CliRunner().invoke(app, ["sid", *words, "--profile", workspace.profile])

    return run


def test_the_command_prints_words_and_siblings(said):
    told = said("i0").output
    assert "i0 Fund 0, code 3-1-0" in told
    assert "bond, (covered)" in told
    assert "in brackets" in told
    assert "Fund 1" in told


def test_names_are_shown_as_they_stand_and_give_the_terminal_no_orders(said, workspace):
    path = workspace.artifact("bundle") / "items.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["name"], rows[1]["name"] = "[red]:gem: C:\\", "a\x1b[2J\u202eb"
    pq.write_table(pa.Table.from_pylist(rows), path)
    told = said("i0").output
    assert "[red]:gem: C:\\, code 3-1-0" in told
    assert "a\ufffd[2J\ufffdb" in told


def test_without_an_item_or_a_page_nothing_is_guessed(said):
    done = said()
    assert isinstance(done.exception, BadParams)
    assert "--page semantic_ids.html" in str(done.exception)
    assert isinstance(said("x").exception, BadInput)
