"""A slate is drawn by the judged policy from what may be shown, and says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import UNEXPLORED
from tessera.model.sequences.catalogue import microsecond
from tessera.serve.engine import Engine
from tessera.serve.erased import Erased
from tessera.serve.logged import record_of, unexplored
from tessera.serve.params import ServeParams
from tessera.serve.recommend import Recommender
from tessera.shared.policies.slate import SlatePolicy, slate_propensities


def test_a_slate_is_drawn_from_what_suits_is_on_sale_and_is_neither_held_nor_dismissed(
    engine, users, at_noon
):
    risk = dict(zip(*(engine.recommender.items[name].to_pylist()
                      for name in ("item_id", "risk_class")), strict=True))  # fmt: skip
    seen = set()
    for n, user in enumerate(users * 3):
        moment = at_noon(n)
        who = engine.who(user, engine.scorer.now(user, moment))
        slate = engine.answer(f"r{n}", user, moment, 3)
        ids = slate.drawn.candidate_ids
        assert len(set(ids)) == len(ids) <= 6
        assert all(risk[item] <= who.risk_class for item in ids)
        assert not {*who.held, *who.dismissed, "i11"} & set(ids), "i11 is gone at the cut"
        sources = slate.drawn.source_C
        assert sources.count("uniform") + sources.count("new") <= 2
        assert slate.flags == (() if who.is_known else ("cold",))
        seen |= set(ids)
    assert len(seen) > 6


def test_who_was_erased_after_the_cut_is_served_as_a_stranger_until_the_next_bundle(
    bundle, split, few, at_noon
):
    Erased.beside(bundle).add("u003", at_noon())
    Erased.beside(bundle).add("u004", microsecond(split.cut) - 1)
    engine, moment = Engine.open(bundle, few), at_noon(9)
    now = {user: engine.scorer.now(user, moment) for user in ("u003", "u004", "nobody")}
    assert [len(one.past) > 0 for one in now.values()] == [False, True, False]
    who = {user: engine.who(user, one) for user, one in now.items()}
    assert who["u003"] == replace(who["nobody"], user_id="u003")
    assert who["u004"].is_known, "this bundle was made without what was erased"
    items = np.arange(1, 13)
    erased, stranger = (engine.scorer.scores(now[user], items) for user in ("u003", "nobody"))
    np.testing.assert_array_equal(erased, stranger)
    assert engine.answer("r1", "u003", moment, 3).flags == ("cold",)
    engine.scorer.state.add("e1", "u003", "i03", "click", moment)
    assert len(engine.scorer.now("u003", moment + 1).past) == 1, "whoever comes back is met anew"


def test_a_list_knows_who_was_erased_and_who_can_pay_as_the_service_does(bundle, few):
    listed = Recommender.open(bundle, few)
    assert listed.who("u003").is_known
    before = {line.item_id for line in listed.recommend("u003", 12)}
    Erased.beside(bundle).add("u003", listed.ranker.moment)
    Erased.beside(bundle).add("u004", listed.ranker.moment - 2)
    assert listed.who("u003") == replace(listed.who("nobody"), user_id="u003")
    assert listed.who("u004").is_known, "this bundle was made without what was erased"
    assert "is unknown: no such investor" in listed.unknown_note("u003")
    lists = [[line.item_id for line in listed.recommend(who, 12)] for who in ("u003", "nobody")]
    assert lists[0] == lists[1]
    assert set(lists[0]) != before
    poor = Recommender.open(bundle, few.model_copy(update={"capacity_eur": [102.0]}))
    rich = Recommender.open(bundle, few.model_copy(update={"capacity_eur": [1e9]}))
    found = [{line.item_id for line in one.recommend("nobody", 12)} for one in (poor, rich)]
    dear = {"i03", "i04", "i05"}
    assert dear & found[1], "its last closes were 103 to 105"
    assert found[0] == found[1] - dear
    none = replace(poor, unit_I=np.full(12, 103.0))
    assert none.recommend("nobody", 12) == []
    assert none.why_empty("nobody").endswith("or costs more a unit than they can invest")
    engine = Engine.open(bundle, few)
    np.testing.assert_array_equal(engine.candidates.unit_I, poor.unit_I)


def test_a_history_sent_along_is_scored_as_if_it_had_been_logged(bundle, few, at_noon):
    engine, other = (Engine.open(bundle, few) for _ in range(2))
    moment = at_noon()
    done = [(f"i{n:02d}", "buy", moment + n) for n in (3, 9, 5)] + [("nowhere", "buy", moment)]
    for n, (item, action, when) in enumerate(done):
        other.scorer.state.add(f"e{n}", "fresh", item, action, when)
    told = engine.for_stranger(done).answer("r1", "", moment + 99, 3)
    known = other.answer("r1", "fresh", moment + 99, 3)
    assert told.drawn.candidate_ids == known.drawn.candidate_ids
    np.testing.assert_allclose(told.drawn.score_C, known.drawn.score_C, atol=1e-3)
    assert told.drawn.chosen_L.tolist() == np.argsort(-told.drawn.score_C)[:3].tolist()
    assert told.policy_id == f"{engine.version}{UNEXPLORED}"
    assert set(told.reasons) == {told.drawn.candidate_ids[one] for one in told.drawn.shown()}
    assert engine.scorer.state.version == 0
    assert engine.answer("r2", "", moment + 99, 3).flags == ("cold",)


def test_a_running_engine_keeps_nothing_of_whoever_is_erased(bundle, few, at_noon):
    engine, moment = Engine.open(bundle, few), at_noon(9)
    engine.answer("r1", "u003", moment, 3)
    Erased.beside(bundle).add("u003", moment)
    assert engine.answer("r2", "u003", moment, 3).flags == ("cold",)
    assert engine.scorer.kept.of("u003") is None


@pytest.mark.parametrize(("retrieved", "uniform"), [(2, 0), (2, 1)])
def test_params_say_how_many_are_retrieved_and_how_many_drawn_evenly(
    bundle, retrieved, uniform, at_noon
):
    engine = Engine.open(bundle, ServeParams(retrieved=retrieved, uniform=uniform))
    slate = engine.answer("r1", "u003", at_noon(), 2)
    assert slate.drawn.source_C == ("dense",) * retrieved + ("uniform",) * uniform
    assert list(slate.took_s) == ["hydrate", "retrieve", "score", "choose", "draw", "explain"]


def test_a_param_says_how_much_of_histories_is_kept(bundle):
    for most in (0, 9):
        engine = Engine.open(bundle, ServeParams(kept_mb=most))
        assert engine.scorer.kept.most_bytes == most * 2**20


def test_the_log_says_how_likely_the_model_calls_each_outcome_where_it_stands(engine, at_noon):
    """From the probabilities and the effects of the places follow the scores that were logged."""
    head = engine.scorer.reader.head
    place_PT = head.position_PT.detach()
    assert place_PT[1:4, :2].unique(dim=0).shape[0] == 3, "or no place would be told from another"
    slate = engine.answer("r1", "u003", at_noon(), 3)
    told = record_of(slate)["chances"]
    assert list(told) == ["click", "buy", "dismiss"]
    chance_LT = torch.tensor([told["click"], told["buy"]]).T
    top_LT = torch.logit(chance_LT) - place_PT[1:4, :2] + place_PT[1, :2]
    shown = slate.drawn.shown()
    assert len(shown) == 3
    np.testing.assert_allclose(head.score(top_LT).numpy(), slate.drawn.score_C[shown], atol=1e-2)
    assert "chances" not in record_of(unexplored(slate, 3)), "it speaks of other items"


def test_shares_say_who_finds_and_every_candidate_says_who_found_it(bundle, at_noon):
    params = ServeParams(retrieved=4, uniform=0, shares={"dense": 0.5, "popular": 0.5})
    engine = Engine.open(bundle, params)
    drawn = engine.answer("r1", "u003", at_noon(), 2).drawn
    assert drawn.source_C == ("dense",) * 2 + ("popular",) * 2
    alone = Engine.open(bundle, ServeParams(retrieved=4, uniform=0))
    both = alone.answer("r1", "u003", at_noon(), 2).drawn.candidate_ids
    assert drawn.candidate_ids[:2] == both[:2]
    assert drawn.candidate_ids != both


def test_whoever_has_no_history_is_found_something_by_those_who_need_none(engine, at_noon):
    slate = engine.answer("r1", "nobody at all", at_noon(), 2)
    assert slate.flags == ("cold",)
    assert slate.drawn.source_C[0] == "popular", "this bundle counts no segments"
    engine.scorer.state.add("e1", "nobody at all", "i03", "view", at_noon())
    assert engine.answer("r2", "nobody at all", at_noon(1), 2).drawn.source_C[0] == "dense"


def test_what_was_met_lately_is_known_but_for_what_was_sold_or_dismissed(engine, at_noon):
    for n, (item, action) in enumerate((("i03", "view"), ("i04", "dismiss"), ("i05", "buy"))):
        engine.scorer.state.add(f"e{n}", "nobody at all", item, action, at_noon(n))
    now = engine.scorer.now("nobody at all", at_noon(3))
    assert engine.who("nobody at all", now).recent == ("i03", "i05")


def test_what_is_bought_or_dismissed_is_not_offered_again_until_it_is_sold(engine, at_noon):
    user, state = "u003", engine.scorer.state
    item = engine.answer("r0", user, at_noon(), 3).drawn.candidate_ids[0]

    def offered(later):
        answers = (engine.answer(f"q{n}", user, at_noon(later), 3) for n in range(30))
        return any(item in one.drawn.candidate_ids for one in answers)

    assert offered(9)
    state.add("e1", user, item, "buy", at_noon(10))
    assert not offered(11)
    state.add("e2", user, item, "sell", at_noon(12))
    assert offered(13)
    state.add("e3", user, item, "dismiss", at_noon(14))
    assert not offered(15)


def test_the_same_request_and_state_give_the_same_slate_and_others_another(engine, at_noon):
    def drawn(request):
        found = engine.answer(request, "u003", at_noon(), 3).drawn
        return found.candidate_ids, found.chosen_L.tolist()

    assert drawn("r1") == drawn("r1")
    assert len({str(drawn(f"r{n}")) for n in range(20)}) > 3


def test_the_judged_policy_gives_every_propensity_that_is_served(engine, users, at_noon):
    for n, user in enumerate(users):
        drawn = engine.answer(f"r{n}", user, at_noon(), 3).drawn
        scores = drawn.score_C[None].astype(float)
        again, every = slate_propensities(
            scores, np.ones_like(scores, bool), SlatePolicy(0.5, 0.2, 4), drawn.chosen_L[None]
        )
        np.testing.assert_array_equal(again[0], drawn.propensity_L)
        np.testing.assert_array_equal(every[0], drawn.probability_LC)


def test_every_candidate_is_shown_as_often_as_its_propensity_says(engine, at_noon):
    shown, expected = {}, {}
    for n in range(400):
        drawn = engine.answer(f"r{n}", "u003", at_noon(), 1).drawn
        item = drawn.candidate_ids[drawn.chosen_L[0]]
        shown[item] = shown.get(item, 0) + 1
        for item, chance in zip(drawn.candidate_ids, drawn.probability_LC[0], strict=True):
            expected[item] = expected.get(item, 0.0) + chance
    for item, count in expected.items():
        assert abs(shown.get(item, 0) - count) < 4.5 * max(count, 4) ** 0.5, item


def test_each_shown_item_has_a_reason(engine, users, at_noon):
    for n, user in enumerate(users):
        slate = engine.answer(f"r{n}", user, at_noon(), 3)
        for one in slate.drawn.shown():
            assert len(slate.reasons[slate.drawn.candidate_ids[one]]) > 10


def test_an_empty_slate_where_nothing_suits(bundle, few, at_noon):
    rows = pq.read_table(bundle / "items.parquet")
    risk = pa.array([4] * len(rows), pa.int64())
    at = rows.schema.get_field_index("risk_class")
    pq.write_table(rows.set_column(at, "risk_class", risk), bundle / "items.parquet")
    slate = Engine.open(bundle, few).answer("r", "u000", at_noon(), 3)
    assert slate.drawn.shown() == []


def test_a_bundle_that_ranks_nothing_is_refused(bundle, few):
    (bundle / "facts" / "tables.json").write_text("[]")
    with pytest.raises(BrokenBundle, match="carries no ranking head"):
        Engine.open(bundle, few)
