"""The reward model: better than the mean, learnt from before the cut, silent without data."""

import ibis
import numpy as np

from tessera.stages.ope.exposures import attributed, requests
from tessera.stages.ope.lookup import read_lookup
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.reward_model import guess, read_shown


def guessed(made, **params):
    seen = {name: ibis.memtable(table) for name, table in made.tables.items()}
    rows = attributed(seen["exposures"], seen["outcomes"], seen["users"], 7.0)
    lookup = read_lookup(seen["items"], seen["users"])
    log = requests(rows.filter(rows.event_ts > made.split.cut), lookup.item_ids)
    past = read_shown(rows.filter(rows.event_ts <= made.split.cut), lookup)
    return guess(past, log, lookup, OpeParams(**{"reward_trees": 40, **params}))


def test_it_knows_that_lower_positions_earn_less(world):
    made = world(12_000)
    guess_NLC = guessed(made)
    mean_L = guess_NLC.mean(axis=(0, 2))
    truth_L = made.chance_NC[made.after].mean() * np.array([1.0, 0.8, 0.6])
    np.testing.assert_allclose(mean_L, truth_L, rtol=0.15)


def test_it_tells_users_who_click_from_those_who_do_not(world):
    made = world(12_000, users=20)
    truth_N = made.chance_NC[made.after].mean(axis=1)
    found_N = guessed(made)[:, 0].mean(axis=1)
    assert np.corrcoef(truth_N, found_N)[0, 1] > 0.1


def test_rewards_after_the_cut_do_not_teach_it(world):
    made = world(4000)
    before = guessed(made, reward_trees=10)
    outcomes = made.tables["outcomes"]
    ends = np.array([ts <= made.split.cut for ts in outcomes["event_ts"].to_pylist()])
    made.tables["outcomes"] = outcomes.filter(ends)
    np.testing.assert_array_equal(guessed(made, reward_trees=10), before)


def test_fewer_rows_or_trees_know_less_of_users(world):
    made = world(12_000, users=20)
    truth_N = made.chance_NC[made.after].mean(axis=1)

    def known(**params):
        return np.corrcoef(truth_N, guessed(made, **params)[:, 0].mean(axis=1))[0, 1]

    whole = known()
    assert known(reward_rows=200) < whole
    assert guessed(made, reward_trees=1).std() < 0.5 * guessed(made).std()


def test_a_log_too_short_to_learn_from_gives_no_guess(world):
    assert not guessed(world(100)).any()
