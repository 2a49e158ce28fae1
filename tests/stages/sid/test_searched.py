"""What people asked before they came to an item, of as many as it takes to hide one of them."""

from datetime import timedelta

import numpy as np
import pytest

from tessera.contracts.split import Split
from tessera.stages.sid.history import read_history
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.searched import (
    LEAST_INVESTORS,
    WITHIN_MINUTES,
    hashed,
    mean_query,
    searched,
)
from tessera.stages.sid.vectors import fit_space, read_catalogue, vectorise
from tests.stages.sid.conftest import CUT

SPLIT = Split(CUT - timedelta(28), CUT, CUT + timedelta(28))
IDS = [f"i{k:03d}" for k in range(48)]
ON = SidParams(text_width=16, content_weight=0.0, neighbourhood_weight=0.0, topology_weight=0.0,
               queries_weight=1.0)  # fmt: skip


@pytest.fixture
def led(catalogue):
    """Text of the query behind each click, by item."""

    def go(asked, done, split=SPLIT):
        found = searched(catalogue.queries(asked), catalogue.clicks(done), IDS, split)
        item, query = found.led_NQ.nonzero()
        return {IDS[i]: found.text_Q[q] for i, q in zip(item.tolist(), query.tolist(), strict=True)}

    return go


def test_a_click_comes_of_the_last_query_of_its_investor_soon_before(led):
    asked = [("a", "u1", 60, "first", None), ("b", "u1", 50, "second", None),
             ("c", "u2", 45, "of another", None), ("d", "u1", 39, "too late", None)]  # fmt: skip
    assert led(asked, [("e1", "u1", "i001", 40, None)]) == {"i001": "second"}
    ago = 50 - WITHIN_MINUTES
    assert led(asked[:2], [("e1", "u1", "i001", ago, None)]) == {"i001": "second"}
    assert led(asked[:2], [("e1", "u1", "i001", ago - 1, None)]) == {}


def test_a_click_of_a_slate_comes_of_the_query_that_its_request_answers(led):
    asked = [("a", "u1", 500, "long ago", "r1"), ("b", "u1", 50, "since", None)]
    done = [("e1", "u1", "i001", 40, "r1"), ("e2", "u1", "i002", 40, "r9"),
            ("e3", "u2", "i003", 40, "r1")]  # fmt: skip
    assert led(asked, done) == {"i001": "long ago"}


def test_where_times_are_but_an_order_requests_alone_tell(led):
    ordinal = Split(SPLIT.validation_from, CUT, SPLIT.test_until, ordinal=True)
    asked = [("a", "u1", 60, "answered", "r1"), ("b", "u1", 50, "before", None)]
    done = [("e1", "u1", "i001", 40, "r1"), ("e2", "u1", "i002", 40, None)]
    assert led(asked, done, ordinal) == {"i001": "answered"}


def crowd(many, item="i001", text="a pension", day=0):
    """So many investors who ask the same and click the same."""
    ago = 100 + 1440 * day
    asked = [(f"{text}{k}", f"u{k}", ago, text, None) for k in range(many)]
    return asked, [(f"{text}{k}", f"u{k}", item, ago - 1, None) for k in range(many)]


def test_an_item_that_few_investors_searched_for_is_told_nothing(catalogue):
    few, enough = crowd(LEAST_INVESTORS - 1), crowd(LEAST_INVESTORS, "i002", "a flat", day=2)
    often = [[*one, *two] for one, two in zip(few, crowd(1, text="again", day=1), strict=True)]
    asked, done = ([*one, *two] for one, two in zip(often, enough, strict=True))
    found = searched(catalogue.queries(asked), catalogue.clicks(done), IDS, SPLIT)
    mean_NH = mean_query(found)
    assert np.isnan(mean_NH[1]).all(), "three queries of two investors"
    assert mean_NH[2] == pytest.approx(hashed(["a flat"])[0])
    assert np.isnan(np.delete(mean_NH, 2, axis=0)).all()


def test_items_that_are_searched_for_alike_lie_together(catalogue):
    worlds = [crowd(4, "i001", "a pension"), crowd(4, "i002", "my pension", day=1),
              crowd(4, "i003", "first flat", day=2)]  # fmt: skip
    asked, done = ([row for world in worlds for row in world[part]] for part in (0, 1))
    history = read_history(catalogue.clicks(done), catalogue.prices(), IDS, SPLIT, ON,
                           catalogue.queries(asked))  # fmt: skip
    read = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges(), history)
    found = vectorise(read, fit_space(read, ON), ON)
    gap = np.linalg.norm(found[[1, 1]] - found[[2, 3]], axis=1)
    assert gap[0] < 0.8 * gap[1]
    assert np.abs(np.delete(found, [1, 2, 3], axis=0)).max() == 0.0, "others are the average item"
    heavy = ON.model_copy(update={"queries_weight": 2.0})
    np.testing.assert_allclose(vectorise(read, fit_space(read, heavy), heavy), 2.0 * found)


def test_without_queries_the_block_says_nothing(catalogue):
    none = catalogue.queries()
    history = read_history(catalogue.clicks(), catalogue.prices(), IDS, SPLIT, ON, none)
    read = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges(), history)
    assert np.abs(vectorise(read, fit_space(read, ON), ON)).max() == 0.0


def test_words_that_somebody_typed_are_in_no_codebook(catalogue):
    asked, done = crowd(5, text="my divorce")
    history = read_history(catalogue.clicks(done), catalogue.prices(), IDS, SPLIT, ON,
                           catalogue.queries(asked))  # fmt: skip
    read = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges(), history)
    space = fit_space(read, ON)
    assert "divorce" not in str((space.vocabulary, space.reference, sorted(space.arrays)))
