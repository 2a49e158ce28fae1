"""A code once given is never changed and never given again."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from tessera.contracts.errors import BadInput
from tessera.stages.sid import ledger
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.vectors import Space

BOOK = ledger.Codebook(
    Space(["bond", "fund"], {"idf": np.array([1.0, 2.0])}), ResidualKMeans(np.ones((2, 3, 4)))
)


def test_items_that_collide_are_told_apart_in_the_order_of_their_ids():
    codes = np.array([[1, 2], [1, 2], [3, 4]])
    assert ledger.append({}, ["c", "a", "b"], codes) == {
        "a": (1, 2, 0),
        "b": (3, 4, 0),
        "c": (1, 2, 1),
    }


def test_a_new_item_never_changes_an_old_one_even_if_its_id_sorts_first():
    held = ledger.append({}, ["m", "n"], np.array([[1, 2], [1, 2]]))
    grown = ledger.append(held, ["a", "m", "n"], np.array([[1, 2], [1, 2], [1, 2]]))
    assert {name: grown[name] for name in "mn"} == held
    assert grown["a"] == (1, 2, 2)


def test_a_drifted_item_keeps_its_code():
    held = ledger.append({}, ["m"], np.array([[1, 2]]))
    assert ledger.append(held, ["m"], np.array([[0, 0]])) == held


def test_the_code_of_an_item_that_left_is_not_given_again():
    held = ledger.append({}, ["gone"], np.array([[1, 2]]))
    assert ledger.append(held, ["new"], np.array([[1, 2]]))["new"] == (1, 2, 1)


def test_a_ledger_survives_the_disk_and_grows_by_appending(tmp_path):
    empty, first, second = (tmp_path / name for name in ("empty", "first", "second"))
    empty.mkdir()
    held = ledger.append({}, ["m", "n"], np.array([[1, 2], [0, 2]]))
    ledger.write_ledger(empty, first, BOOK, held, "g1")
    assert ledger.read_ledger(first) == ledger.Ledger(["g1"], held)
    grown = ledger.append(held, ["a"], np.array([[1, 2]]))
    ledger.write_ledger(first, second, BOOK, grown, "g1")
    again = ledger.read_ledger(second)
    assert list(again.codes) == ["m", "n", "a"]
    assert again.generations == ["g1"]


def test_a_new_generation_keeps_the_old_one(tmp_path):
    empty, first, second, third = (tmp_path / name for name in "0123")
    empty.mkdir()
    ledger.write_ledger(empty, first, BOOK, {"m": (1, 2, 0)}, "g1")
    ledger.write_ledger(first, second, BOOK, {"m": (0, 0, 0)}, "g2")
    ledger.write_ledger(second, third, BOOK, {"m": (1, 2, 0)}, "g1")
    assert ledger.read_ledger(second) == ledger.Ledger(["g1", "g2"], {"m": (0, 0, 0)})
    assert ledger.read_entries(second, "g1") == {"m": (1, 2, 0)}
    assert ledger.read_ledger(third).generations == ["g2", "g1"]


def test_a_codebook_survives_the_disk(tmp_path):
    ledger.write_codebook(BOOK, tmp_path / "book")
    again = ledger.read_codebook(tmp_path / "book")
    assert again.space.vocabulary == ["bond", "fund"]
    assert np.array_equal(again.space.arrays["idf"], [1.0, 2.0])
    assert np.array_equal(again.quantizer.codeword_LKD, np.ones((2, 3, 4)))
    config = json.loads((tmp_path / "book" / "config.json").read_text())
    assert config == {"quantizer": "rkmeans", "levels": 2, "size": 3, "width": 4}


def test_any_param_starts_a_new_generation():
    assert ledger.fingerprint(SidParams()) == ledger.fingerprint(SidParams())
    assert ledger.fingerprint(SidParams()) != ledger.fingerprint(SidParams(generation=1))
    assert ledger.fingerprint(SidParams()) != ledger.fingerprint(SidParams(seed=1))


@pytest.mark.parametrize("damage", ["ledger.json", "g1/entries.parquet"])
def test_a_damaged_ledger_is_refused_with_the_remedy(tmp_path, damage):
    (tmp_path / "empty").mkdir()
    ledger.write_ledger(tmp_path / "empty", tmp_path / "whole", BOOK, {"m": (1, 2, 0)}, "g1")
    path = tmp_path / "whole" / damage
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_ledger(tmp_path / "whole")


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "codebook.safetensors"])
def test_a_damaged_codebook_is_refused_with_the_remedy(tmp_path, name):
    ledger.write_codebook(BOOK, tmp_path / "book")
    path = tmp_path / "book" / name
    path.write_bytes(path.read_bytes()[:15])
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_codebook(tmp_path / "book")
    path.unlink()
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_codebook(tmp_path / "book")


def test_an_announced_item_takes_no_suffix_from_one_that_is_born():
    codes = np.array([[1, 2], [1, 2], [1, 2]])
    given = ledger.append({}, ["a", "m", "n"], codes, later={"a"})
    assert given == {"m": (1, 2, 0), "n": (1, 2, 1), "a": (1, 2, 2)}
    assert ledger.append({}, ["m", "n"], codes[:2]).items() <= given.items()


@pytest.fixture
def ledger_of(tmp_path):
    """Write a ledger of one generation `g1`; its codewords are 0 to 2, at two levels."""

    def write(codes):
        (tmp_path / "empty").mkdir()
        ledger.write_ledger(tmp_path / "empty", tmp_path / "whole", BOOK, codes, "g1")
        return tmp_path / "whole"

    return write


def test_a_ledger_without_its_index_is_refused_unless_it_is_empty(ledger_of, tmp_path):
    folder = ledger_of({"m": (1, 2, 0)})
    (folder / "ledger.json").unlink()
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_ledger(folder)
    (tmp_path / "empty" / "empty.json").write_text("{}")
    for nothing in ("empty", "none"):
        assert ledger.read_ledger(tmp_path / nothing) == ledger.Ledger()


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "null",
        '{"generations": 3}',
        '{"generations": [null]}',
        '{"generations": ["g1", "g1"]}',
    ],
)
def test_an_index_of_another_shape_is_refused(ledger_of, index):
    folder = ledger_of({"m": (1, 2, 0)})
    (folder / "ledger.json").write_text(index)
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_ledger(folder)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"item_id": ["m", "n"], "code": [[1, 2, 0], [1, 2, 0]]}, "two items with one code"),
        ({"item_id": ["m", "m"], "code": [[1, 2, 0], [1, 2, 1]]}, "with two codes"),
        ({"item_id": ["m", None], "code": [[1, 2, 0], [1, 2, 1]]}, "without a name"),
        ({"item_id": ["m", "n"], "code": [[1, 2], [1, 1]]}, "reshape"),
        ({"item_id": ["m", "n"], "code": [[1, 2, 0], [1, 2]]}, "inhomogeneous"),
        ({"item_id": ["m", "n"], "code": [[1, 2, 0], None]}, "NoneType"),
        ({"item_id": ["m", "n"], "code": [[1, 2, 0], [1, 3, 0]]}, "outside the codebook"),
        ({"item_id": ["m", "n"], "code": [[1, 2, 0], [1, -1, 0]]}, "outside the codebook"),
        ({"item_id": ["m", "n"]}, "code"),
    ],
)
def test_codes_that_no_ledger_gave_are_refused(ledger_of, columns, words):
    folder = ledger_of({"m": (1, 2, 0)})
    pq.write_table(pa.table(columns), folder / "g1" / "entries.parquet")
    with pytest.raises(BadInput, match="restore it") as refused:
        ledger.read_entries(folder, "g1")
    assert words in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"quantizer": "rkmeans", "levels": 3, "size": 3, "width": 4}'),
        ("config.json", '{"quantizer": "rkmeans", "levels": 2, "size": 4, "width": 4}'),
        ("config.json", '{"quantizer": "rkmeans", "levels": 2, "size": 3, "width": 5}'),
        ("config.json", '{"quantizer": "rqvae", "levels": 2, "size": 3, "width": "4"}'),
        ("config.json", '{"quantizer": 3, "levels": 2, "size": 3, "width": 4}'),
        ("config.json", '{"quantizer": "rqvae", "levels": 2, "size": 3, "width": 4}'),
        ("config.json", "null"),
        ("vocabulary.json", '["bond"]'),
        ("vocabulary.json", "null"),
    ],
)
def test_files_that_are_not_of_one_codebook_are_refused(tmp_path, name, text):
    ledger.write_codebook(BOOK, tmp_path / "book")
    (tmp_path / "book" / name).write_text(text)
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_codebook(tmp_path / "book")


@pytest.mark.parametrize(
    "arrays",
    [
        {"space.idf": np.ones(2)},
        {"space.idf": np.ones(2), "other": np.ones(1)},
        {"space.idf": np.ones(2), "quantizer.codeword": np.full((2, 3, 4), np.nan)},
        {"space.idf": np.array([1.0, np.inf]), "quantizer.codeword": np.ones((2, 3, 4))},
    ],
)
def test_arrays_that_no_codebook_has_are_refused(tmp_path, arrays):
    ledger.write_codebook(BOOK, tmp_path / "book")
    save_file(arrays, tmp_path / "book" / "codebook.safetensors")
    with pytest.raises(BadInput, match="restore it"):
        ledger.read_codebook(tmp_path / "book")


def test_what_a_killed_run_left_is_written_over(ledger_of, tmp_path):
    half = tmp_path / "whole" / "g1"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")
    assert ledger.read_codebook(ledger_of({"m": (1, 2, 0)}) / "g1").quantizer.name == "rkmeans"


def test_a_byte_that_is_not_what_was_written_is_refused_in_every_file(tmp_path):
    days = [tmp_path / name for name in "012"]
    days[0].mkdir()
    ledger.write_ledger(days[0], days[1], BOOK, {"m": (1, 2, 0), "n": (1, 1, 0)}, "g1")
    ledger.write_ledger(days[1], days[2], BOOK, {"m": (0, 2, 0), "n": (1, 1, 0)}, "g2")
    whole, paths = ledger.read_ledger(days[2]), sorted(days[2].glob("g*/*"))
    assert len(paths) == 10
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        with pytest.raises(BadInput, match="restore it"):
            ledger.read_ledger(days[2])
        path.write_bytes(data)
    index = json.loads((days[2] / "ledger.json").read_text())
    (days[2] / "ledger.json").write_text(json.dumps({"generations": index["generations"]}))
    assert ledger.read_ledger(days[2]) == whole, "as written by earlier versions"
