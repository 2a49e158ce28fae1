"""What happened stands in order, and versions say what they can of an alarm."""

from __future__ import annotations

from datetime import date, timedelta
from fnmatch import fnmatchcase

import pytest

from tessera.platform.watching.chronicle import Answering, Line, chronicle
from tessera.platform.watching.day import SPEC
from tessera.platform.watching.meanings import MEANINGS, meaning
from tessera.stages.daily.spec import load_spec

START = date(2025, 1, 1)
LATE = timedelta(days=1)


def on(number):
    return START + timedelta(days=number)


def answering(*names):
    """A day for each; several versions of a day are parted by a blank."""
    told = {on(number): frozenset(name.split()) for number, name in enumerate(names)}
    return Answering({day: versions for day, versions in told.items() if versions})


def test_a_version_begins_where_it_had_not_answered_the_day_before():
    found = answering("v1", "v1", "", "v1 v2", "v2", "v1")
    assert found.begins() == [("v1", on(0)), ("v2", on(3)), ("v1", on(5))]
    assert answering().begins() == []


@pytest.mark.parametrize(
    ("names", "first", "last", "late", "says"),
    [
        ("v1 v1 v1 v1 v1 v1", 2, 4, 0, "No other version began to answer near it"),
        ("v1 v1 v2 v2 v2 v2", 2, 4, 0, "v2 had begun to answer on 2025-01-03: it may be of that"),
        ("v1 v1 v2 v2 v2 v2", 4, 5, 0, "No other version"),
        ("v1 v1 v2 v2 v2 v2", 4, 5, 1, "v2 had begun to answer on 2025-01-03: it may be of that"),
        ("v1 v1 v2 v2 v1 v1", 2, 3, 0, "once v1 answered: it looks like v2"),
        ("v1 v1 v2 v2 v1 v1", 2, 4, 0, "it alarmed on 2025-01-05 too"),
        ("v1 v1 v2 v2 v1 v1", 3, 4, 1, "once v1 answered: it looks like v2"),
        ("v1 v1 v2 v2 v1 v1", 3, 5, 1, "of slates that v1 answered: it is not of v2 alone"),
        ("v1 v1 v2 v2 v2 v2 v3", 2, 3, 0, "it may be of that"),  # over while v2 still answered
        ("v1 v1 v1", 0, 1, 1, "No other version"),
    ],
)
def test_versions_say_what_they_can_of_a_run_of_alarms(names, first, last, late, says):
    clue = answering(*names.split()).clue(on(first), on(last), late * LATE)
    assert says in clue


def alarm(number, family, slice_="all", says="gini is 0.5, bad above 0.4"):
    return {"day": str(on(number)), "family": family, "slice": slice_, "says": says}


def test_what_happened_stands_in_order_with_its_reasons():
    acts = [
        {"act": "bootstrap", "to": "v0", "reason": "policy that wrote the log"},
        {"act": "hold", "to": "v0", "decision": "HOLD", "reason": "no lift"},
        {"act": "promote", "to": "v1", "decision": "HOLD", "override_reason": "a pilot",
         "reason": "override: a pilot"},
        {"act": "publish", "to": "v2", "decision": "PROMOTE", "reason": "+0.02 > 0"},
        {"act": "rollback", "to": "v1", "decision": "HOLD", "reason": "alarm a: clicks fell"},
        {"act": "rollback", "to": "v0", "reason": "the committee asks"},
    ]  # fmt: skip
    alarms = [
        alarm(2, "popularity"), alarm(2, "popularity", "segment=b"),
        alarm(3, "popularity", "segment=a"), *(alarm(3, "popularity", f"risk={n}") for n in "123"),
        alarm(9, "popularity"), alarm(3, "response", "segment=a", "clicks fell for segment=a"),
    ]  # fmt: skip
    done = [Line(on(3), "act", "roll back: it is current again")]
    found = chronicle(answering("v1", "v1", "v2", "v2", "v1", "v0"), alarms, done, acts)
    assert [((one.day - START).days, one.says) for one in found] == [
        (0, "v1 answers: published by a person against HOLD (a pilot)"),
        (2, "v2 begins to answer: published by PROMOTE (+0.02 > 0)"),
        (2, "popularity alarms: gini is 0.5, bad above 0.4; on 2 days, the last on 2025-01-04; of "
            "its slices risk=1, risk=2, risk=3 and 2 more"),
        (3, "response alarms: clicks fell for segment=a; of its slices segment=a"),
        (3, "roll back: it is current again"),
        (4, "v1 begins to answer: by a rollback"),
        (5, "v0 begins to answer: by a rollback (the committee asks)"),
        (9, "popularity alarms: gini is 0.5, bad above 0.4"),
    ]  # fmt: skip


def test_every_series_that_is_judged_means_something(repository):
    judged = load_spec(repository / SPEC).series
    assert judged
    assert not [name for name in judged if not meaning(name.replace("*", "x"))]
    assert meaning("top_item_share") == MEANINGS["top_*"], "the first pattern that fits says it"
    assert meaning("cold_share") == MEANINGS["*_share"]
    assert not any(fnmatchcase("nobody", pattern) for pattern in MEANINGS)
