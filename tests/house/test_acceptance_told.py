"""What the page says of the acceptance figures follows from their numbers."""

import copy

import pytest

from benchmarks import acceptance
from benchmarks.report.model import SECTIONS
from benchmarks.report.page import rows_of, text_of

SECTION = next(section for section in SECTIONS if section.record == "acceptance")
MASK = SECTION.checks["mask"]
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
    "joint_recall": "one_for_two",
    "joint_ranking": "one_for_two",
    "mask": "mask",
    "pruning": "pruning",
    "few_labels": "pretraining",
    "few_labels_joint": "pretraining",
    "all_labels": "pretraining",
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


def record(figures):
    machine = {"processor": "one", "cores": 2, "memory_gb": 1}
    return {
        "acceptance": {"figures": figures, "machine": machine, "commit": "c0ffee", "day": "today"}
    }


def told(figures):
    return {row.key: row for row in rows_of(SECTION, record(figures))}


def test_everything_asked_can_hold():
    assert [row.holds for row in told(found()).values()] == ["yes"] * 4


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
    said = {key: row.holds for key, row in told(missing).items()}
    assert {key for key, word in said.items() if word != "yes"} == {MISSED[name]}


def test_one_seed_cannot_say_that_hidden_actions_help():
    single = found()
    single["differences"]["mask"]["error_seeds"] = None
    assert MASK(single) == [True, False]
    assert told(single)["mask"].measured == "+0.0040"
    assert "| +0.0040 |" in text_of(SECTION, record(single))


def test_seeds_that_agree_by_chance_are_not_trusted_beyond_the_error_over_users():
    lucky = found()
    lucky["differences"]["mask"] |= {"error_seeds": 0.0001, "error_users": 0.002}
    assert MASK(lucky) == [True, False]
    assert told(lucky)["mask"].measured == "+0.0040 (give or take 0.0058)"


def test_every_training_and_every_difference_has_a_row():
    text = text_of(SECTION, record(found()))
    rows = dict(zip(("trained for", "difference"), tables(text), strict=True))
    assert len(rows["trained for"]) == len(acceptance._TRAININGS)
    assert len(rows["difference"]) == len(acceptance._COMPARED) == len(MISSED)


@pytest.mark.parametrize("name", MISSED)
def test_a_difference_stands_in_a_row_of_its_own(name):
    (row,) = (line for line in text_of(SECTION, record(found(**{name: (9.0, 1.0)}))).splitlines()
              if "| +9.0000 |" in line)  # fmt: skip
    assert row.endswith("| +9.0000 | +9.0000, +9.0000, +9.0000 | 1.0000 | 1.0000 |")


def tables(text):
    """Return the rows of each table, without its head."""
    blocks = (block.splitlines() for block in text.split("\n\n"))
    return [lines[2:] for lines in blocks if lines[0].startswith("| ")]
