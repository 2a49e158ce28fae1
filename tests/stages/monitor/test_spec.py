"""monitoring/watch.yaml is checked whole, and an error says where."""

from __future__ import annotations

import pytest
import yaml

from tessera.contracts.errors import BadParams
from tessera.stages.monitor.spec import load_watch


@pytest.fixture
def raw(repository):
    return yaml.safe_load((repository / "monitoring/watch.yaml").read_text())


def test_the_committed_specification_is_valid(repository):
    watch = load_watch(repository / "monitoring/watch.yaml")
    assert watch.drift.events["user_risk"].method == "psi"


def break_rule(raw):
    raw["drift"]["events"]["action"]["method"] = "ks"


def break_column(raw):
    raw["drift"]["exposures"]["price"] = {"method": "psi", "alarm": 0.2}


def break_days(raw):
    raw["reference_days"] = 0


def break_action(raw):
    raw["interactions"] = ["gift"]


def break_key(raw):
    raw["colour"] = "red"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (break_rule, r"drift\.events\.action\.method: Input should be 'psi'"),
        (break_column, r"drift\.exposures\.price"),
        (break_days, "reference_days: Input should be greater than or equal to 1"),
        (break_action, "interactions: .*unknown action 'gift'"),
        (break_key, "colour: Extra inputs"),
    ],
)
def test_what_is_wrong_is_named(raw, tmp_path, breaks, said):
    breaks(raw)
    path = tmp_path / "watch.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(BadParams, match=said) as caught:
        load_watch(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_broken_yaml_are_one_line_each(tmp_path):
    with pytest.raises(BadParams, match=r"watch.yaml is missing"):
        load_watch(tmp_path / "watch.yaml")
    (tmp_path / "watch.yaml").write_text("a: [1")
    with pytest.raises(BadParams, match=r"watch.yaml is not YAML"):
        load_watch(tmp_path / "watch.yaml")
