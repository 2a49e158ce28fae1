"""Pins move when the run has a reason to move, and only then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tessera.contracts.errors import BadInput, BadParams
from tessera.contracts.split import Split, save_split
from tessera.index.manifest import seal
from tessera.pipeline import acts, files, registry
from tessera.pipeline.paths import home
from tessera.pipeline.snapshot import snapshot
from tessera.policies.serving import read_policy


def test_the_first_champion_of_the_market_is_its_logging_policy(place):
    assert snapshot(place)
    pinned = files.read_json(place.artifact("champion") / "champion.json")
    assert pinned == {"version": "v0", "kind": "logging", "learnt_until": None}


def test_a_promotion_alone_does_not_move_the_pins(place, make_candidate):
    snapshot(place)
    make_candidate(place)
    registry.publish(place, None, None)
    assert not snapshot(place)
    assert files.read_json(place.artifact("champion") / "champion.json")["version"] == "v0"


def test_a_changed_param_pins_the_new_champion_with_its_model_and_ledger(place, make_candidate):
    snapshot(place)
    make_candidate(place)
    cut = datetime(2024, 5, 1, tzinfo=UTC)
    save_split(Split(cut, cut, cut), place.artifact("bundle") / "split.json")
    (place.artifact("bundle") / "manifest.json").unlink()
    seal(place.artifact("bundle"), {"kind": "model", "judged_against": "v0"})
    registry.publish(place, None, None)
    place.overrides.write_text("hstu:\n  epochs: 1\n")
    assert snapshot(place)
    champion = place.artifact("champion")
    assert files.read_json(champion / "champion.json") == {
        "version": "v1", "kind": "model", "learnt_until": "2024-05-01T00:00:00+00:00"
    }  # fmt: skip
    assert (champion / "model" / "config.json").exists()
    assert read_policy(champion) == read_policy(place.artifact("bundle"))
    assert (place.artifact("ledger_in") / "codes.json").exists()


def test_a_cut_moves_the_pins_and_is_written_as_utc(place):
    snapshot(place)
    assert snapshot(place, cut="2024-05-01")
    assert files.read_json(place.artifact("request")) == {"cut": "2024-05-01T00:00:00+00:00"}


def test_a_cut_that_is_no_date_says_how_to_write_one(place):
    with pytest.raises(BadParams, match="write it like 2021-07-01"):
        snapshot(place, cut="2021-02-30")


def test_real_data_needs_its_folder(root, tmp_path):
    place = home("far-trans", root)
    with pytest.raises(BadInput, match="DATA=<folder"):
        snapshot(place)
    with pytest.raises(BadInput, match="no folder"):
        snapshot(place, source=tmp_path / "nowhere")
    (tmp_path / "files").mkdir()
    snapshot(place, source=tmp_path / "files")
    assert not snapshot(place), "the folder named once is remembered"
    (tmp_path / "files" / "transactions.csv").write_text("new")
    assert snapshot(place), "a changed source moves the pins"


def judged(place):
    """Candidates that are pinned as judged before."""
    return files.read_json(place.artifact("judged"))["candidates"]


def hold(place, make_candidate, name, decision="HOLD", against="v0"):
    """Judge a candidate and let the gate stay shut."""
    told = {"candidate": name if name.isalpha() else None}
    make_candidate(place, decision, against, weight=ord(name), evidence=told)
    registry.publish(place, None, None)


def test_every_candidate_that_was_weighed_counts_once(place, make_candidate):
    snapshot(place)
    assert judged(place) == []
    hold(place, make_candidate, "a")
    hold(place, make_candidate, "b", "REJECT")
    hold(place, make_candidate, "c", "INVALID")
    hold(place, make_candidate, "0", "INVALID")  # nothing was estimated, so nobody learnt anything
    make_candidate(place, "HOLD", weight=5.0, evidence={"candidate": "a"})  # on a longer log
    registry.publish(place, None, None)
    registry.publish(place, None, None)
    assert not snapshot(place), "what was judged is no reason to run again"
    assert judged(place) == []
    assert snapshot(place, cut="2024-05-01")
    assert judged(place) == ["a", "b", "c"]


def test_a_promotion_starts_the_count_anew_and_what_is_brought_back_does_not(place, make_candidate):
    snapshot(place)
    hold(place, make_candidate, "a")
    make_candidate(place, evidence={"candidate": "b"})
    registry.publish(place, None, None)
    hold(place, make_candidate, "c", against="v1")
    snapshot(place, cut="2024-05-01")
    assert judged(place) == ["c"]
    acts.rollback(place, None, "too many complaints")
    snapshot(place, cut="2024-06-01")
    assert judged(place) == ["a", "b", "c"]
    given = registry.Override("nobody liked the new lists", "a person")
    acts.promote(place, "v1", given)
    acts.promote(place, "v0", given)
    snapshot(place, cut="2024-07-01")
    assert judged(place) == ["a", "b", "c"], "a promotion of the old is a rollback"
