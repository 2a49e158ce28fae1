"""The blocks of the pages: the picture leaves out what other arrows imply, and nothing else."""

import re

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.cli.readme import with_blocks
from tessera.platform.workspace.catalogue import MARKET, stages, upstream

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


def test_a_page_without_its_block_is_named(repository):
    with pytest.raises(TesseraError, match=r"README\.md has no block <!-- dag -->"):
        with_blocks("README.md", "no block", repository / "src" / "tessera")
