"""What a stage leaves for other workers is whole or absent, and all must have seen the same."""

import json
import re
from dataclasses import replace

import pytest

from tessera.contracts.errors import BadInput
from tessera.platform.pipeline.pieces import Piece, difference, read_piece, write_piece
from tessera.platform.workspace.store import Folder


def _entry(*paths, **params):
    deps = [{"path": path, "hash": "md5", "md5": digest} for path, digest in paths]
    more = {"params": {"params.yaml": params}} if params else {}
    return {"cmd": "tessera run x", "deps": deps, "outs": [], **more}


INGEST = Piece("ingest", _entry(("data/m/events", "a1"), ("src/contracts", "b7"), seed=7))
CAUSAL = Piece("causal", _entry(("data/m/events", "a1"), seed=7), workspace="/two")


def test_a_piece_comes_back_as_it_was_left(tmp_path):
    store = Folder(tmp_path)
    assert read_piece(store, "causal") is None
    piece = replace(CAUSAL, texts={"data/m/runs/causal.json": "{}\n"})
    write_piece(piece, store)
    assert read_piece(store, "causal") == piece


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "graph"},
        {"entry": {"cmd": "tessera run causal", "outs": [{"path": 7}]}},
        {"entry": "x"},
        {"texts": "x"},
        {"more": 1},
    ],
)
def test_what_is_no_piece_of_the_stage_is_one_line(tmp_path, change):
    write_piece(CAUSAL, Folder(tmp_path))
    path = tmp_path / "causal.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput, match=r"causal\.json is no piece .*clear that task"):
        read_piece(Folder(tmp_path), "causal")


def test_stages_that_saw_the_same_do_not_differ():
    assert difference([INGEST, CAUSAL]) is None


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (_entry(("src/contracts", "b8")), "src/contracts was another for ingest .* than for graph"),
        (_entry(("data/m/events", "a2")), "data/m/events was another"),
        (_entry(seed=8), r"params\.yaml seed was another"),
    ],
)
def test_another_commit_data_or_params_is_told_with_both_stages(entry, told):
    piece = Piece("graph", entry, workspace="/three")
    found = difference([INGEST, CAUSAL, piece])
    assert re.search(told, found or ""), found
    assert "(in /three)" in found
