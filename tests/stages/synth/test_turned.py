"""What the params of the market do, each turned once on a market of a few hundred visits."""

import pyarrow.parquet as pq
import pytest

from tessera.contracts.tables import UNEXPLORED
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market, run
from tessera.stages.synth.truth import load_truth, true_cate

TINY = SynthParams(users=50, items=40, requests=300, days=60, slate_size=1)


@pytest.fixture
def made(tmp_path):
    def make(**changes):
        run(source=tmp_path / "source", params=TINY.model_copy(update=changes))
        return tmp_path / "source"

    return make


@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_nobody_buys_more_of_what_is_shown_without_an_effect(made, effect):
    cate_NC = true_cate(load_truth(made(effect=effect)))
    assert (cate_NC.max() > 0.001) == (effect > 0)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_tastes_move_as_far_as_they_drift(drift):
    people = draw_market(TINY.model_copy(update={"drift": drift})).investors
    moved_U = (people.taste_first_UK != people.taste_last_UK).any(axis=1)
    assert moved_U.mean() == drift


def test_without_taste_every_investor_is_alike():
    alike, differing = (
        draw_market(TINY.model_copy(update={"taste": taste})) for taste in (0.0, 1.0)
    )
    assert alike.click_bias != differing.click_bias


def test_more_draws_make_finer_probabilities(made):
    rows = pq.read_table(made(explorer="thompson", draws=2) / "exposures.parquet")
    told = {round(p, 9) for row in rows["candidate_propensities"].to_pylist() for p in row}
    assert told <= {0.03, 0.38, 0.73}, "0, 1 or 2 of 2 draws, and 0.3 of exploration over 10"


def test_without_a_budget_left_nothing_explores(made):
    rows = pq.read_table(made(explore_per_day=0) / "exposures.parquet")
    assert all(name.endswith(UNEXPLORED) for name in rows["policy_id"].to_pylist())


def test_countries_are_those_of_issuers_and_change_no_other_byte(made, tmp_path):
    plain = {one.name: one.read_bytes() for one in made().glob("*.parquet")}
    assert "links.parquet" not in plain
    (tmp_path / "source").rename(tmp_path / "plain")
    source = made(countries=3)
    assert plain == {name: (source / name).read_bytes() for name in plain}
    items = pq.read_table(source / "items.parquet").to_pylist()
    links = pq.read_table(source / "links.parquet").to_pylist()
    issuer = {row["item_id"]: row["issuer"] for row in items}
    of = {(issuer[row["item_id"]], row["relation"], row["target_id"]) for row in links}
    assert len(links) == len(issuer) == 40
    assert len(of) == len(set(issuer.values())), "one country an issuer"
    assert 1 < len({country for _, _, country in of}) <= 3


def test_outcomes_come_within_the_window_that_the_data_have(made):
    source = made(window_days=2.0)
    shown = pq.read_table(source / "exposures.parquet", columns=["request_id", "event_ts"])
    begun = dict(zip(*(column.to_pylist() for column in shown.columns), strict=True))
    done = pq.read_table(source / "outcomes.parquet").to_pylist()
    waits = [(row["event_ts"] - begun[row["request_id"]]).days for row in done
             if row["request_id"] in begun and row["event_ts"]]  # fmt: skip
    assert max(waits) in (1, 2, 3), "the late ones until twice the window"
