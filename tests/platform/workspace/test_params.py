"""A wrong param fails before any work, in one line that says what was meant."""

from __future__ import annotations

import pytest

from tessera.contracts.errors import BadParams
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import open_workspace


def _profile(root, text):
    (root / "profiles" / "mine.yaml").write_text(text)
    return open_workspace("mine", root)


def test_a_profile_overrides_one_value_and_keeps_the_rest(root):
    workspace = _profile(root, "hstu:\n  epochs: 3\n")
    base = load_params(open_workspace("market", root))
    mine = load_params(workspace)
    assert mine["hstu"].epochs == 3
    assert mine["hstu"].width == base["hstu"].width
    assert mine["sid"] == base["sid"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hstu:\n  epoch: 3\n", "unknown hstu.epoch, did you mean 'epochs'"),
        ("hsut:\n  epochs: 3\n", "unknown section 'hsut', did you mean 'hstu'"),
        ("hstu:\n  epochs: -1\n", "hstu.epochs: Input should be greater"),
        ("hstu:\n  epochs: many\n", "hstu.epochs: Input should be a valid integer"),
        ("data:\n  window_days: 0\n", "data.window_days: Input should be greater than 0"),
        ("seed: many\n", "params: seed: Input should be a valid integer"),
        ("seed:\n", "params: seed: Input should be a valid integer"),
        ("hstu: 3\n", "must hold sections"),
        ("hstu: [\n", "not YAML"),
    ],
)
def test_a_wrong_value_is_one_line(root, text, says):
    with pytest.raises(BadParams, match=says.replace("(", r"\(")) as caught:
        load_params(_profile(root, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "../market", "Market", ""])
def test_an_unknown_profile_lists_the_known(root, name):
    with pytest.raises(BadParams, match="choose one of .*far-trans.*market"):
        open_workspace(name, root)
