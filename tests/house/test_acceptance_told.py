"""What the page says of the acceptance figures follows from their numbers."""

import copy

import pytest

from benchmarks import acceptance
from benchmarks.report.model import _GAPS, _PLANTED, SECTIONS
from benchmarks.report.page import holds

SECTION = next(section for section in SECTIONS if section.result == "acceptance")
ONE_FOR_TWO, MASK, PRUNING, PRETRAINING = SECTION.figures
MET = {
    "joint_recall": (-0.001, 0.001),
    "joint_ranking": (0.002, 0.001),
    "mask": (0.004, 0.001),
    "pruning": (-0.0005, 0.0004),
    "few_labels": (0.3, 0.01),
    "few_labels_joint": (0.1, 0.01),
    "all_labels": (0.01, 0.01),
}
MISSED = {
    "joint_recall": ONE_FOR_TWO,
    "joint_ranking": ONE_FOR_TWO,
    "mask": MASK,
    "pruning": PRUNING,
    "few_labels": PRETRAINING,
    "few_labels_joint": PRETRAINING,
    "all_labels": PRETRAINING,
}


def found(**changed):
    differences = {
        name: {"mean": mean, "by_seed": [mean] * 3, "error_users": error, "error_seeds": error}
        for name, (mean, error) in {**MET, **changed}.items()
    }
    seed = {
        name: {
            **({} if "rank_weight" in changes else {"auc": 0.8}),
            **({} if "recall_weight" in changes else {"recall_50": 0.5}),
        }
        for name, (_, changes) in acceptance._TRAININGS.items()
    }
    return {
        "seeds": {"0": seed, "1": copy.deepcopy(seed)},
        "differences": differences,
        "best_auc": 0.9,
    }


def test_everything_asked_can_hold():
    assert [holds(figure.checks(found())) for figure in SECTION.figures] == ["yes"] * 4


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("joint_recall", -0.006),
        ("joint_ranking", -0.009),
        ("mask", 0.0029),
        ("pruning", 0.002),
        ("pruning", -0.002),
        ("few_labels", 0.009),
        ("few_labels", 0.0129),
        ("few_labels_joint", 0.009),
        ("all_labels", 0.3),
    ],
)
def test_each_miss_is_told_in_its_own_row(name, mean):
    missing = found(**{name: (mean, 0.001)})
    said = {figure.name: holds(figure.checks(missing)) for figure in SECTION.figures}
    assert {row for row, word in said.items() if word != "yes"} == {MISSED[name].name}


def test_one_seed_cannot_say_that_hidden_actions_help():
    single = found()
    single["differences"]["mask"]["error_seeds"] = None
    assert MASK.checks(single) == [True, False]
    assert MASK.told(single) == "+0.0040"
    assert "| +0.0040 |" in SECTION.tables(single)


def test_seeds_that_agree_by_chance_are_not_trusted_beyond_the_error_over_users():
    lucky = found()
    lucky["differences"]["mask"] |= {"error_seeds": 0.0001, "error_users": 0.002}
    assert MASK.checks(lucky) == [True, False]
    assert MASK.told(lucky) == "+0.0040 (give or take 0.0058)"


def test_every_training_and_every_difference_has_a_row():
    assert set(_PLANTED) == set(acceptance._TRAININGS)
    assert set(_GAPS) == set(acceptance._COMPARED)
    text = SECTION.tables(found())
    assert all(f"| {words} |" in text for words in (*_PLANTED.values(), *_GAPS.values()))
