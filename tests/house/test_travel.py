"""What is counted when a value is followed."""

import importlib
import sys

import pytest

from benchmarks.travel import followed, told

FILES = {
    "first.py": """
        from toy_travel import second

        def start(value, other):
            second.inside([value])
            second.inside([value])
            second.blind(other)
            for row in range(2):
                back({"kept": value})
            return second.Keeper(value).keeps(other)

        def back(carrier):
            return second.later(lambda: carrier)
    """,
    "second.py": """
        from dataclasses import dataclass

        def inside(values):
            return len(values)

        def blind(other):
            return other

        def later(call):
            return call

        @dataclass
        class Keeper:
            value: object

            def keeps(self, other):
                return self.value, other
    """,
}


class Value:
    """What is followed."""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    folder = tmp_path / "toy_travel"
    folder.mkdir()
    for name, text in {**FILES, "__init__.py": ""}.items():
        lines = [line.removeprefix(" " * 8) for line in text.splitlines()]
        (folder / name).write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("toy_travel.first"), folder
    for name in [name for name in sys.modules if name.startswith("toy_travel")]:
        del sys.modules[name]


@pytest.fixture
def walk(toy):
    first, folder = toy
    with followed(lambda one: isinstance(one, Value), folder) as walk:
        first.start(Value(), 3)
    return walk


def test_who_is_handed_the_value_or_a_carrier_counts_once(walk):
    assert walk.figures()["where"] == {
        "first.py": ["start", "back"],
        "second.py": ["inside", "later"],
    }


def test_a_return_is_one_more_function_in_a_file_that_was_met(walk):
    assert {name: walk.figures()[name] for name in ("functions", "files", "returns")} == {
        "functions": 4,
        "files": 2,
        "returns": 2,
    }


def test_outside_the_block_nothing_is_followed(toy, walk):
    toy[0].back(Value())
    assert sys.getprofile() is None
    assert len(walk.seen) == 4


def test_the_table_has_a_row_a_value():
    one = {"functions": 5, "files": 2, "returns": 3}
    assert told({"events": one}).splitlines()[-2] == "| `events` in the stage `hstu` | 5 | 2 | 3 |"
