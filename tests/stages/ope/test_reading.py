"""What is judged, and what is learnt from, ends where the answers do."""

from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reading import read_case_log
from tessera.stages.ope.reward_model import guess, read_shown

WINDOW = timedelta(days=0.1)


@pytest.fixture
def made(world):
    """A log in which every answer comes two hours after what it answers."""
    made = world(2000)
    times = made.tables["outcomes"]["event_ts"]
    made.change("outcomes", "event_ts", pc.add(times, pa.scalar(timedelta(hours=2))))
    return made


def read(made):
    seen = {name: ibis.memtable(table) for name, table in made.tables.items()}
    lookup = read_lookup(seen["items"], seen["users"])
    tables = (seen[name] for name in ("exposures", "outcomes", "users"))
    return read_case_log(
        *tables, lookup.item_ids, made.split.cut, WINDOW / timedelta(days=1)
    ), lookup


def microseconds(moment):
    return pa.scalar(moment, pa.timestamp("us", "UTC")).value


def test_only_what_was_answered_in_full_is_judged_or_learnt_from(made):
    found, _ = read(made)
    last = pc.max(made.tables["exposures"]["event_ts"]).as_py()
    step = timedelta(minutes=1)  # between requests: nothing more than needed is left out
    ripe_us = microseconds(last - WINDOW)
    assert ripe_us - microseconds(last - WINDOW - step) > ripe_us - found.log.event_us_N.max() >= 0
    assert found.log.event_us_N.min() > microseconds(made.split.cut)
    newest = found.past.event_ts.max().to_pyarrow().as_py()
    assert made.split.cut - WINDOW - step < newest <= made.split.cut - WINDOW


def guesses(made):
    found, lookup = read(made)
    return guess(read_shown(found.past, lookup), found.log, lookup, OpeParams(reward_trees=10))


def test_no_answer_after_the_cut_changes_a_guess(made):
    before = guesses(made)
    assert np.unique(before).size > 100, "a model was learnt"
    answers = made.tables["outcomes"]
    early = pc.less_equal(answers["event_ts"], pa.scalar(made.split.cut))
    made.tables["outcomes"] = answers.filter(early)
    assert 0 < len(made.tables["outcomes"]) < len(answers)
    np.testing.assert_array_equal(guesses(made), before)
