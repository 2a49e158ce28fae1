"""The blocks of the pages: the picture leaves out what other arrows imply, and nothing else."""

import re
from itertools import pairwise

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.cli.readme import with_blocks
from tessera.platform.workspace.catalogue import ALL_STAGES, MARKET, stages, upstream

EMPTY = "<!-- dag -->\n<!-- /dag -->"


def reached(arrows):
    """Every pair of a stage and one that runs after it, by following arrows."""
    pairs = set(arrows)
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= more
    return pairs


@pytest.fixture
def drawn(repository):
    text = with_blocks("README.md", EMPTY, repository / "src" / "tessera")
    return set(re.findall(r"^  (\w+) --> (\w+)$", text, re.MULTILINE))


def test_the_picture_says_which_stage_runs_before_which(drawn):
    among = stages(MARKET)
    all_arrows = {(before, stage.name) for stage in among for before in upstream(stage, among)}
    assert reached(drawn) == reached(all_arrows)


def test_no_arrow_is_implied_by_others(drawn):
    for arrow in drawn:
        assert arrow not in reached(drawn - {arrow})


def test_every_stage_that_reads_what_is_published_is_shown_to(repository):
    text = with_blocks("README.md", EMPTY, repository / "src" / "tessera")
    shown = re.findall(r"^  registry -\. \w+ \.-> (.*)$", text, re.MULTILINE)
    readers = {stage.name for stage in stages(MARKET) if {"champion", "ledger_in"} & {*stage.reads}}
    assert {name for names in shown for name in names.split(" & ")} == readers


def test_the_tasks_begin_with_the_lock_and_end_with_the_question(repository):
    empty = "<!-- tasks -->\n<!-- /tasks -->"
    text = with_blocks("docs/operations.md", empty, repository / "src" / "tessera")
    arrows = set()
    for line in re.findall(r"^  (.* --> .*)$", text, re.MULTILINE):
        steps = [step.split(" & ") for step in line.split(" --> ")]
        arrows |= {(a, b) for one, two in pairwise(steps) for a in one for b in two}
    names = {stage.name for stage in ALL_STAGES}
    after_lock = {after for before, after in reached(arrows) if before == "run_lock"}
    assert after_lock == names | {"snapshot", "publish", "waiting", "ask"}
    assert names | {"run_lock"} <= {before for before, after in reached(arrows) if after == "ask"}


def test_a_page_without_its_block_is_named(repository):
    with pytest.raises(TesseraError, match=r"README\.md has no block <!-- dag -->"):
        with_blocks("README.md", "no block", repository / "src" / "tessera")
