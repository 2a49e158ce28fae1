"""`tessera recommend` says what a source found, or in one line why it lists nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.platform.release import registry
from tessera.serve.recommend import Recommender


@pytest.fixture
def published(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)


@pytest.mark.usefixtures("published")
def test_one_source_is_asked_for_its_own_list(say):
    code, out, _ = say("recommend", "u1", "--source", "walk")
    assert code == 0
    assert "u1, found by walk" in out
    assert "i4" in out
    assert "i5" not in out, "no edge leads there"
    assert "i5" in say("recommend", "u1")[1]


@pytest.mark.usefixtures("published")
def test_where_nothing_is_open_no_other_source_is_advised(say, monkeypatch):
    monkeypatch.setattr(Recommender, "open_I", lambda it, _: np.zeros(len(it.shelf.ids), bool))
    out = say("recommend", "u1", "--source", "popular")[1]
    assert "nothing is listed: all that suits is held" in out
    assert "ask another" not in out


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("who", "source", "code", "told"),
    [
        ("nobody", "walk", 0, "walk can say nothing of 'nobody': ask another --source"),
        ("u1", "generated", 1, "no retriever generated: train with hstu.generate"),
        ("u1", "graph", 1, "there is no retriever 'graph': choose of walk, popular"),
    ],
)
def test_a_source_that_cannot_answer_is_one_line(say, who, source, code, told):
    found, out, err = say("recommend", who, "--source", source)
    assert bool(found) == bool(code)
    (line,) = [one for one in (out + err).splitlines() if "retriever" in one or "can say" in one]
    assert told in line
