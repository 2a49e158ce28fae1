"""A new generation tells what became of the codes before it."""

import numpy as np
import pytest

from tessera.contracts.errors import BadInput
from tessera.stages.sid import ledger
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.migration import migrate, moved_by_level, read_migration, write_migration
from tessera.stages.sid.vectors import Space

BOOK = ledger.Codebook(Space(["bond"], {"idf": np.ones(1)}), ResidualKMeans(np.ones((2, 9, 4))))
OLD = {"a": (0, 0, 0), "b": (0, 0, 1), "c": (0, 1, 0), "d": (1, 0, 0), "gone": (1, 1, 0)}
NEW = {"a": (5, 3, 0), "b": (5, 3, 1), "c": (5, 4, 0), "d": (5, 4, 1), "born": (2, 2, 0)}


def test_other_names_of_the_same_codewords_are_no_move(rng):
    old = rng.integers(0, 4, (200, 3))
    named = [rng.permutation(9) for _ in range(3)]
    new = np.stack([names[old[:, level]] for level, names in enumerate(named)], axis=1)
    assert not moved_by_level(old, new).any()


def test_codes_drawn_anew_have_moved(rng):
    old, new = rng.integers(0, 8, (2, 400, 2))
    moved = moved_by_level(old, new).mean(axis=0)
    assert moved[0] > 0.7
    assert moved[1] > moved[0]


def test_what_moved_above_has_moved_below(rng):
    old, new = rng.integers(0, 3, (2, 100, 3))
    moved = moved_by_level(old, new)
    assert (moved[:, :-1] <= moved[:, 1:]).all()


def test_histories_of_codes_can_be_read_on():
    found = migrate("g1", OLD, NEW)
    told = found.translation()
    history = [(0, 0, 1), (1, 0, 0), (0, 0, 1)]
    assert [told[code] for code in history] == [(5, 3, 1), (5, 4, 1), (5, 3, 1)]
    assert (1, 1, 0) not in told, "its item has no code any more"
    assert found.churn_L.tolist() == [0.25, 0.25]
    assert np.array(found.item_ids)[found.moved_N].tolist() == ["d"]


def test_it_survives_the_disk(tmp_path):
    found = migrate("g1", OLD, NEW)
    write_migration(found, tmp_path)
    again = read_migration(tmp_path)
    assert (again.before, again.item_ids, again.old, again.new) == (
        found.before, found.item_ids, found.old, found.new)  # fmt: skip
    assert again.churn_L.tolist() == found.churn_L.tolist()
    assert again.moved_N.tolist() == found.moved_N.tolist()


@pytest.mark.parametrize("damage", ["migration.json", "migration.parquet"])
def test_half_a_migration_is_one_clear_line(tmp_path, damage):
    write_migration(migrate("g1", OLD, NEW), tmp_path)
    path = tmp_path / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput, match="restore the ledger"):
        read_migration(tmp_path)
    path.unlink()
    with pytest.raises(BadInput, match="restore the ledger"):
        read_migration(tmp_path)


def test_a_ledger_tells_of_the_generation_before_and_only_once(tmp_path):
    empty, first, second, third = (tmp_path / name for name in "0123")
    empty.mkdir()
    ledger.write_ledger(empty, first, BOOK, OLD, "g1")
    ledger.write_ledger(first, second, BOOK, NEW, "g2")
    ledger.write_ledger(second, third, BOOK, {**NEW, "later": (0, 0, 0)}, "g2")
    assert read_migration(first / "g1") is None
    assert read_migration(second / "g2").before == "g1"
    written = (second / "g2" / "migration.parquet").read_bytes()
    assert (third / "g2" / "migration.parquet").read_bytes() == written


def test_generations_without_a_common_item_or_level_are_no_accident():
    assert migrate("g1", {"a": (0, 0)}, {"b": (1, 0)}).churn_L.tolist() == [0.0]
    shorter = migrate("g1", {"a": (0, 1, 2, 0)}, {"a": (4, 0)})
    assert shorter.churn_L.tolist() == [0.0]
    assert shorter.translation() == {(0, 1, 2, 0): (4, 0)}


def test_a_generation_that_comes_back_tells_of_the_step_back(tmp_path):
    (tmp_path / "0").mkdir()
    third = {item: (8 - code[0], *code[1:]) for item, code in NEW.items()}
    steps = [("g1", OLD), ("g2", NEW), ("g3", third), ("g2", NEW), ("g1", OLD)]
    for day, (name, codes) in enumerate(steps):
        ledger.write_ledger(tmp_path / f"{day}", tmp_path / f"{day + 1}", BOOK, codes, name)
        found = read_migration(tmp_path / f"{day + 1}" / name)
        assert (found.before if found else None) == (steps[day - 1][0] if day else None)
    assert found.translation()[5, 4, 1] == OLD["d"]
    assert found.item_ids == ["a", "b", "c", "d"]


def test_a_migration_of_another_shape_is_one_clear_line(tmp_path):
    write_migration(migrate("g1", OLD, NEW), tmp_path)
    for text in ("[]", "null", '{"before": "g1"}'):
        (tmp_path / "migration.json").write_text(text)
        with pytest.raises(BadInput, match="restore the ledger"):
            read_migration(tmp_path)
