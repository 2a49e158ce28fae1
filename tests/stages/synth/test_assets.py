import duckdb
import numpy as np
import pytest

from tessera.stages.synth.assets import TOPICS, describe, draw_assets
from tessera.stages.synth.investors import draw_investors
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.prices import draw_closes, momentum


@pytest.fixture
def assets(rng):
    return draw_assets(SynthParams(), rng)


def test_descriptions_tell_the_topic(assets, rng):
    texts = describe(assets, rng)
    own = [
        max(range(len(TOPICS)), key=lambda k: len(set(TOPICS[k].words.split()) & set(text.split())))
        for text in texts
    ]
    assert (np.array(own) == assets.topic_I).mean() > 0.9


def test_planted_effects_cross_topics_never_point_home_and_some_are_negative(assets):
    cause, slot = np.nonzero(assets.target_IE >= 0)
    target = assets.target_IE[cause, slot]
    assert (assets.topic_I[cause] != assets.topic_I[target]).all()
    assert 0.1 < (assets.strength_IE[cause, slot] < 0).mean() < 0.4


def test_tastes_follow_courage_so_that_risk_tells_something(rng):
    people = draw_investors(SynthParams(), rng)
    risky_K = np.array([topic.risk for topic in TOPICS])
    boldness_U = people.taste_first_UK @ risky_K
    known_U = people.risk_U2[:, 0] > 0
    assert np.corrcoef(boldness_U[known_U], people.risk_U2[known_U, 0])[0, 1] > 0.4


def test_a_change_of_risk_class_shows_from_its_day_on(rng):
    people = draw_investors(SynthParams(), rng)
    user_N = np.flatnonzero(people.changed_day_U < 500)
    day_N = people.changed_day_U[user_N].astype(float)
    np.testing.assert_array_equal(people.risk_on(user_N, day_N - 0.01), people.risk_U2[user_N, 0])
    np.testing.assert_array_equal(people.risk_on(user_N, day_N), people.risk_U2[user_N, 1])


def test_prices_share_sectors_and_have_calm_and_wild_times(assets, rng):
    close_DI = draw_closes(assets, 500, rng)
    traded_I = np.flatnonzero(assets.traded_I)
    change_DI = np.diff(np.log(close_DI[:, traded_I]), axis=0)
    correlation_II = np.corrcoef(change_DI.T)
    sector_I = assets.sector_I[traded_I]
    same_II = sector_I[:, None] == sector_I
    apart = correlation_II[~same_II].mean()
    np.fill_diagonal(same_II, val=False)
    assert correlation_II[same_II].mean() > apart + 0.03 > 0.03
    size_D = np.abs(change_DI).mean(axis=1)
    assert np.corrcoef(size_D[1:], size_D[:-1])[0, 1] > 0.1


def test_momentum_knows_nothing_of_today(assets, rng):
    close_DI = draw_closes(assets, 60, rng)
    before_I = momentum(close_DI, 40)
    close_DI[40:] *= 5 * rng.random(close_DI[40:].shape)
    np.testing.assert_array_equal(momentum(close_DI, 40), before_I)
    assert (before_I[~assets.traded_I] == before_I[~assets.traded_I][0]).all()


def test_closes_are_written_for_working_days_of_living_items(source):
    weekend, dead = duckdb.sql(f"""
        select count(*) filter (isodow(price_ts at time zone 'UTC') > 5),
            count(*) filter (price_ts < valid_from or price_ts > valid_to)
        from '{source}/prices.parquet' join '{source}/items.parquet' using (item_id)
    """).fetchall()[0]
    assert (weekend, dead) == (0, 0)
