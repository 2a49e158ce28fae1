"""Pins move when the run has a reason to move, and only then."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import tessera
from tessera.contracts.errors import BadInput, BadParams
from tessera.platform.pipeline.snapshot import snapshot
from tessera.platform.release import registry
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import PINS
from tessera.platform.workspace.params import source_of
from tessera.platform.workspace.paths import open_workspace
from tessera.serve.closed import seal_closed
from tessera.serve.erased import Erased
from tessera.serve.events import Event
from tessera.serve.log import line
from tessera.shared.erased import ERASED
from tessera.shared.policies.serving import read_policy


def test_the_first_champion_of_the_market_is_its_logging_policy(workspace):
    assert snapshot(workspace)
    pinned = files.read_json(workspace.artifact("champion") / "champion.json")
    assert pinned == {"version": "v0", "kind": "logging", "learnt_until": None}


def test_a_promotion_alone_does_not_move_the_pins(workspace, make_candidate):
    snapshot(workspace)
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    assert not snapshot(workspace)
    assert files.read_json(workspace.artifact("champion") / "champion.json")["version"] == "v0"


def test_a_changed_param_pins_the_new_champion_with_its_model_and_ledger(workspace, make_candidate):
    snapshot(workspace)
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    workspace.overrides.write_text("hstu:\n  epochs: 1\n")
    assert snapshot(workspace)
    champion = workspace.artifact("champion")
    assert files.read_json(champion / "champion.json") == {
        "version": "v1", "kind": "model", "learnt_until": "2024-05-01T12:00:00+00:00"
    }  # fmt: skip
    assert (champion / "model" / "config.json").exists()
    assert not (champion / "facts").exists(), "a model that ranks nothing asks for none"
    assert read_policy(champion) == read_policy(workspace.artifact("bundle"))
    assert (workspace.artifact("ledger_in") / "codes.json").exists()


def test_a_champion_is_pinned_with_the_facts_that_it_answers_from(workspace, make_candidate):
    snapshot(workspace)
    tables = ("events", "users", "items", "prices", "edges", "trials")
    make_candidate(workspace, facts=tables)
    registry.publish(workspace, None, None)
    workspace.overrides.write_text("hstu:\n  epochs: 1\n")
    assert snapshot(workspace)
    pinned = workspace.artifact("champion") / "facts"
    assert {path.name: path.read_text() for path in pinned.iterdir()} == {
        f"{name}.parquet": name for name in ("users", "items", "edges", "trials")
    }


def test_a_cut_moves_the_pins_and_is_written_as_utc(workspace):
    snapshot(workspace)
    assert snapshot(workspace, cut="2024-05-01")
    assert files.read_json(workspace.artifact("request")) == {"cut": "2024-05-01T00:00:00+00:00"}


def test_a_folder_is_asked_with_the_day_on_which_its_files_were_met(root, tmp_path, monkeypatch):
    workspace, folder = open_workspace("far-trans", root), tmp_path / "official"
    folder.mkdir()
    (folder / "a.csv").write_text("1")

    def on(day, cut=None):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return cls.fromisoformat(day).replace(tzinfo=tz)

        monkeypatch.setattr("tessera.platform.pipeline.snapshot.datetime", Clock)
        snapshot(workspace, cut, folder)
        return files.read_json(workspace.artifact("request"))

    assert on("2026-03-01") == {"cut": None, "today": "2026-03-01"}
    assert on("2026-03-05", "2021-07-01")["today"] == "2026-03-01", "the same files"
    (folder / "b.csv").write_text("2")
    assert on("2026-03-09")["today"] == "2026-03-09"


def test_a_cut_that_is_no_date_says_how_to_write_one(workspace):
    with pytest.raises(BadParams, match="write it like 2021-07-01"):
        snapshot(workspace, cut="2021-02-30")


def test_real_data_needs_its_folder(root, tmp_path):
    workspace = open_workspace("far-trans", root)
    with pytest.raises(BadInput, match="DATA=<folder"):
        snapshot(workspace)
    with pytest.raises(BadInput, match="no folder"):
        snapshot(workspace, source=tmp_path / "nowhere")
    (tmp_path / "files").mkdir()
    snapshot(workspace, source=tmp_path / "files")
    assert not snapshot(workspace), "the folder named once is remembered"
    (tmp_path / "files" / "transactions.csv").write_text("new")
    assert snapshot(workspace), "a changed source moves the pins"
    part = tmp_path / "files" / "year=2024" / "part-0.csv"
    part.parent.mkdir()
    part.write_text("a")
    snapshot(workspace)
    part.write_text("bb")
    assert snapshot(workspace), "so does a part in a folder of it"


@pytest.mark.parametrize(
    ("edited", "moves"),
    [("stages/report/words.py", False), ("stages/monitor/page.py", False),
     ("platform/cli/summary.py", False), ("serve/recommend.py", False),
     ("stages/ope/judge.py", True), ("stages/index/facts.py", True), ("contracts/split.py", True)],
)  # fmt: skip
def test_code_moves_the_pins_only_if_a_verdict_is_about_it(
    workspace, tmp_path, monkeypatch, edited, moves
):
    """Pins that move after a promotion train and judge against another champion."""
    package = tmp_path / "tessera"
    shutil.copytree(Path(tessera.__file__).parent, package)
    monkeypatch.setattr(tessera, "__file__", str(package / "__init__.py"))
    assert snapshot(workspace)
    assert not snapshot(workspace)
    with (package / edited).open("a") as file:
        file.write("# other words\n")
    assert snapshot(workspace) is moves


@pytest.mark.parametrize(
    ("section", "name", "value", "moves"),
    [("serve", "burst", 9, False), ("monitor", "sample_rows", 200, False),
     ("gate", "approval", True, False), ("ope", "epsilon", 0.3, True)],
)  # fmt: skip
def test_params_move_the_pins_only_if_a_verdict_is_about_them(
    workspace, section, name, value, moves
):
    assert snapshot(workspace)
    said = yaml.safe_load(workspace.overrides.read_text()) or {}
    said.setdefault(section, {})[name] = value
    workspace.overrides.write_text(yaml.safe_dump(said))
    assert snapshot(workspace) is moves


def test_who_was_judged_is_no_pin(workspace):
    """It stands in the ledger of looks, so that a second run is no reason to judge again."""
    assert "judged" not in PINS
    assert snapshot(workspace)
    assert not snapshot(workspace)


def served_line(workspace, name, hours_ago, moment):
    """Log one event in a segment that was begun so many hours ago."""
    began = time.time_ns() - hours_ago * 3600 * 10**9
    path = workspace.served / f"{began:020d}-1.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(line(Event(name, "u1", "i1", "buy", moment).record()))


def test_what_was_served_is_pinned_where_the_profile_reads_it(workspace):
    served_line(workspace, "e1", 3, 1_700_000_000_000_000)
    assert snapshot(workspace)
    assert [path.name for path in workspace.artifact("served").iterdir()] == ["empty.json"]
    workspace.overrides.write_text("ingest:\n  source: served\n  of: market\n")
    assert source_of(workspace) == "market"
    assert snapshot(workspace)
    pinned = workspace.artifact("served") / "events.parquet"
    assert pq.read_table(pinned)["event_id"].to_pylist() == ["e1"]
    moment = "2023-11-14T22:13:20+00:00"
    assert files.read_json(workspace.artifact("request")) == {
        "cut": None, "served": {"middle": moment, "learnt_until": None}
    }  # fmt: skip
    assert not snapshot(workspace)


def test_an_erasure_after_the_pins_moves_them_and_what_is_pinned_lacks_the_investor(workspace):
    workspace.overrides.write_text("ingest:\n  source: served\n  of: market\n")
    served_line(workspace, "e1", 3, 1_700_000_000_000_000)
    snapshot(workspace)
    assert not (workspace.artifact("served") / ERASED).exists()
    log = Erased(workspace.served)
    log.add("u1", 1_700_000_000_000_001)
    assert snapshot(workspace)
    assert not (workspace.artifact("served") / "events.parquet").exists(), "nothing else is left"
    assert (workspace.artifact("served") / ERASED).exists()
    assert not snapshot(workspace)
    log.add("somebody whom this log never met", 1)  # the source may know them
    assert snapshot(workspace)
    workspace.overrides.write_text("")
    snapshot(workspace)
    log.add("u2", 1)
    assert not snapshot(workspace), "this profile reads no log"


def test_sealing_moves_no_pin_and_what_was_served_since_does(workspace):
    workspace.overrides.write_text("ingest:\n  source: served\n  of: market\n")
    for number in range(3):
        served_line(workspace, f"e{number}", 5 - number, 1_700_000_000_000_000 - number)
    snapshot(workspace)
    before = (workspace.artifact("served") / "events.parquet").read_bytes()
    assert len(seal_closed(workspace.served)) == 3
    assert not snapshot(workspace)
    served_line(workspace, "e3", 0, 1_700_000_000_000_003)
    assert snapshot(workspace)
    assert (workspace.artifact("served") / "events.parquet").read_bytes() != before
