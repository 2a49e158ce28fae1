"""What a bundle serves under survives its file, and nothing else is taken for it."""

import json

import pytest

from tessera.contracts.errors import BrokenBundle
from tessera.shared.policies.serving import FILE, ServingPolicy, read_policy, write_policy
from tessera.shared.policies.slate import SlatePolicy
from tessera.shared.policies.suitability import Unknown

SAID = Unknown(user=2, item=1)
POLICY = ServingPolicy(SlatePolicy(temperature=0.06, epsilon=0.2, top_k=10), slate_size=3)


@pytest.mark.parametrize(
    "policy",
    [POLICY, ServingPolicy(SlatePolicy(), None), ServingPolicy(SlatePolicy(), 3, unknown=SAID)],
)
def test_a_policy_survives_its_file(policy, tmp_path):
    write_policy(policy, tmp_path)
    assert read_policy(tmp_path) == policy


def test_no_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(BrokenBundle, match=r"no readable policy\.json.*run again"):
        read_policy(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"epsilon": None},
        {"candidates": "everything"},
        {"top_k": "many"},
        {"draws": 256, "seed": 7},
        {"unknown_item": 9},
    ],
)
def test_what_cannot_be_served_is_refused(wrong, tmp_path):
    (tmp_path / FILE).write_text(json.dumps({**POLICY.facts(), **wrong}))
    with pytest.raises(BrokenBundle):
        read_policy(tmp_path)


def test_it_is_told_in_one_line():
    assert POLICY.told() == (
        "softmax temperature 0.06, epsilon 0.2 over the top 10 suitable candidates, slates of 3"
    )


def test_what_a_bank_says_of_the_unknown_is_recorded_and_told():
    said = ServingPolicy(SlatePolicy(), 3, unknown=SAID)
    assert {"unknown_user": 2, "unknown_item": 1}.items() <= said.facts().items()
    assert "unknown investors count as class 2, items as 1" in said.told()
    assert not {"unknown_user", "unknown_item"} & set(POLICY.facts()), "as bundles of old"
