"""A list holds only what suits the investor, is not held nor dismissed, and has true reasons."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.cli.listed import judged_as
from tessera.platform.release import pointer, registry
from tessera.serve.recommend import Recommender, recommend


def test_a_known_investor_gets_suitable_items_with_evidence(workspace, make_candidate):
    lines = recommend(make_candidate(workspace), "u1", 10)
    assert [line.item_id for line in lines] == ["i4", "i5"], "i0 is held, i1 dismissed"
    assert lines[0].reason == "holding Fund 0 is estimated to raise the chance of buying it"
    assert "income investors" in lines[1].reason


@pytest.fixture
def reason(workspace, make_candidate):
    """Say what is told of i4 to somebody who holds i0, by the edges between them."""

    def told(*edges):
        bundle = make_candidate(workspace)
        ends = {"source_id": "i0", "target_id": "i4", "weight": 0.3, "support": 9}
        rows = pa.Table.from_pylist([ends | edge for edge in edges])
        pq.write_table(rows, bundle / "neighbours.parquet")
        return recommend(bundle, "u1", 1)[0].reason

    return told


UNSURE = {"kind": "causal", "false_sign_rate": 0.06}
SURE = UNSURE | {"false_sign_rate": 0.05}
THEN = {"kind": "transition", "false_sign_rate": None}
CAUSE = "holding Fund 0 is estimated to raise the chance of buying it"


def test_a_cause_is_told_only_of_an_edge_whose_sign_is_hardly_wrong(reason):
    assert reason(SURE, THEN) == CAUSE
    assert reason(UNSURE, THEN) == "often bought right after Fund 0, which you hold"
    assert reason(UNSURE) == "bought later by investors who held Fund 0, as you do"


def test_bundles_that_do_not_say_how_sure_they_are_tell_no_cause(reason):
    assert reason({"kind": "causal"}) == "bought later by investors who held Fund 0, as you do"


@pytest.fixture
def coded(workspace, make_candidate):
    """Say what is told of i5, to which no edge leads, to somebody who holds i0."""

    def told(words, *, code=(3, 1), bits=0b11):
        bundle = make_candidate(workspace)
        rows = [{"item_id": "i0", "code": [3, 1], "bits": 0b11},
                {"item_id": "i5", "code": list(code), "bits": bits}]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), bundle / "item_words.parquet")
        told = [{"prefix": [3], "items": 2, "words": words}]
        pq.write_table(pa.Table.from_pylist(told), bundle / "code_words.parquet")
        return {line.item_id: line.reason for line in recommend(bundle, "u1", 10)}

    return told


def test_what_is_coded_like_something_held_is_told_in_words_that_are_true_of_both(coded):
    reasons = coded(["covered bond", "short-dated"])
    assert reasons["i5"] == "shares the codes covered bond, short-dated with Fund 0, which you hold"
    assert reasons["i4"] == CAUSE, "an edge says more"


def test_without_the_evidence_the_sentence_of_the_codes_goes(coded):
    one = coded(["covered bond", "short-dated"], code=(3, 2), bits=0b10)
    assert one["i5"] == "shares the code short-dated with Fund 0, which you hold"
    for told in (coded(["covered bond"], code=(4, 1)), coded([]),
                 coded(["covered bond"], bits=0)):  # fmt: skip
        assert "shares" not in told["i5"]
        assert "income investors" in told["i5"]


def test_one_source_is_listed_in_its_own_order(workspace, make_candidate):
    recommender = Recommender.open(make_candidate(workspace))
    lines = recommender.recommend("u1", 10, "popular")
    assert [(line.item_id, line.score) for line in lines] == [("i4", 5), ("i5", 4)], "as it counts"
    assert [line.item_id for line in recommender.recommend("u1", 10, "walk")] == ["i4"]
    assert recommender.recommend("nobody", 10, "walk") == [], "it can say nothing of a stranger"
    with pytest.raises(BadParams, match="no retriever generated: train with hstu.generate"):
        recommender.recommend("u1", 10, "generated")


def test_an_unknown_investor_counts_as_conservative(workspace, make_candidate):
    lines = recommend(make_candidate(workspace), "nobody", 10)
    assert [line.item_id for line in lines] == ["i0", "i4"]
    assert all("conservative" in line.reason for line in lines)


def test_a_list_says_under_which_policy_its_bundle_was_judged(workspace, make_candidate):
    make_candidate(workspace)
    registry.publish(workspace, None, None)
    assert judged_as(pointer.current_bundle(workspace)) == (
        "judged as: softmax temperature 0.06, epsilon 0.2 over the top 10 suitable candidates, "
        "slates of 3; shown here: its recall, without exploration"
    )


def test_a_bundle_published_against_an_invalid_verdict_was_not_judged(workspace, make_candidate):
    make_candidate(workspace, decision="INVALID")
    registry.publish(workspace, "no exposures were logged", "somebody")
    assert judged_as(pointer.current_bundle(workspace)).startswith("not judged, meant as: softmax")


def test_the_first_policy_was_never_judged(workspace, make_candidate):
    make_candidate(workspace, decision="HOLD")
    registry.publish(workspace, None, None)
    assert judged_as(pointer.current_bundle(workspace)).startswith("never judged")


def test_without_a_publication_the_next_step_is_a_run_and_after_it_a_promotion(workspace):
    with pytest.raises(GateClosed, match="nothing is published .*: run `tessera run"):
        pointer.current_bundle(workspace)
    workspace.artifact("verdict").parent.mkdir(parents=True, exist_ok=True)
    workspace.artifact("verdict").write_text("{}")
    with pytest.raises(GateClosed, match="`tessera promote --profile .* --reason <why>") as caught:
        pointer.current_bundle(workspace)
    assert "tessera run" not in str(caught.value)
