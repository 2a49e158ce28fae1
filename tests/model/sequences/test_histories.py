from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
from scipy.stats import chisquare

from tessera.contracts.split import TEST, TRAIN, VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.windows import last_windows

VOCABULARY = [f"i{item:02d}" for item in range(12)]


def read(rows, split, tied_sets=True):
    return read_histories(
        ibis.memtable(pa.Table.from_pylist(rows)), split, VOCABULARY, tied_sets=tied_sets
    )


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__slots__)


def tie(rows):
    """Give every three neighbouring events of a user the same time."""
    rows = sorted(rows, key=lambda row: (row["user_id"], row["event_ts"]))
    return [
        row | {"event_ts": rows[index - index % 14 % 3]["event_ts"]}
        for index, row in enumerate(rows)
    ]


def test_phases_follow_the_split_and_end_where_until_says(rows, split):
    histories = read(rows, split)
    moment = histories.moment_E
    cut = int(split.cut.timestamp() * 1e6)
    assert (moment[histories.phase_E <= VALIDATION] <= cut).all()
    assert (moment[histories.phase_E == TEST] > cut).all()
    stop, first = histories.until(TRAIN), histories.first_U1
    for user in range(len(histories.user_id_U)):
        assert (histories.phase_E[first[user] : stop[user]] == TRAIN).all()
        assert (histories.phase_E[stop[user] : first[user + 1]] > TRAIN).all()


def test_sales_and_dismissals_stay_in_the_histories(rows, split):
    rows = [row | {"action": ACTIONS[k % len(ACTIONS)]} for k, row in enumerate(rows)]
    found = np.bincount(read(rows, split).action_E)
    wanted = Counter(row["action"] for row in rows)
    assert found.tolist() == [wanted[action] for action in ACTIONS]


def test_swapping_tied_events_changes_no_array(rows, split, rng):
    tied = tie(rows)
    order = rng.permutation(len(tied))
    swapped = [tied[k] | {"event_id": f"e{place:05d}"} for place, k in enumerate(order)]
    assert same(read(tied, split), read(swapped, split))
    assert not same(read(tied, split, tied_sets=False), read(swapped, split, tied_sets=False))


def at_once(user, items):
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    row = {"user_id": user, "action": "view", "event_ts": moment}
    return [row | {"item_id": item, "event_id": f"{user}{item}"} for item in items]


def test_a_window_that_cuts_a_tied_set_says_nothing_of_the_alphabet(split, rng):
    """Of twelve tied items a window of four keeps any, and not the same ones for everybody."""
    users = [f"u{user:03d}" for user in range(300)]
    rows = [row for user in users for row in at_once(user, VOCABULARY)]
    histories = read([rows[k] for k in rng.permutation(len(rows))], split)
    assert same(histories, read(rows, split))
    last = last_windows(histories.first_U1[:-1], histories.first_U1[1:], np.zeros(300), 4)
    kept_WL = histories.item_E[last.start_W[:, None] + np.arange(4)]
    times = np.bincount(kept_WL.ravel(), minlength=13)[1:]
    assert chisquare(times).pvalue > 1e-3


def test_a_tied_set_is_one_group_and_source_order_none(rows, split):
    tied = tie(rows)
    assert read(tied, split).group_E.max() == 4
    assert read(tied, split, tied_sets=False).group_E.max() == 13


def test_the_next_time_is_that_of_the_next_set(rows, split):
    histories = read(tie(rows), split)
    user, every = histories.user_E, np.arange(len(histories.item_E))
    second, after = histories.second(every), histories.next_second(every)
    for event in range(len(user)):
        later = [t for t in second[user == user[event]] if t > second[event]]
        assert after[event] == (min(later) if later else second[event])


def test_events_of_unknown_items_are_left_out(rows, split):
    strange = rows[5] | {"item_id": "nowhere", "event_id": "e99999"}
    assert same(read(rows, split), read([*rows, strange], split))


def test_cut_sets_keep_their_events_and_get_a_later_half(rows, split, rng):
    histories = read(tie(rows), split)
    halved = histories.split_sets(1.0, rng)
    assert halved.group_E.max() > histories.group_E.max()
    start_E = histories.starts(np.arange(len(histories.item_E)))
    for start in np.unique(start_E):
        members = start_E == start
        assert sorted(halved.item_E[members]) == sorted(histories.item_E[members])
        assert len(np.unique(halved.group_E[members])) == min(2, members.sum())
    assert same(
        histories.split_sets(0.0, rng),
        replace(histories, item_E=histories.split_sets(0.0, np.random.default_rng(0)).item_E),
    ) or np.array_equal(histories.split_sets(0.0, rng).group_E, histories.group_E)


def test_leave_last_out_keeps_the_last_two_events_of_each_user_apart(rows, split):
    last_out = replace(split, protocol="leave_last_out")
    histories = read(tie(rows), last_out)
    ends = np.diff(histories.first_U1)
    assert (histories.until(TRAIN) - histories.first_U1[:-1] == ends - 2).all()
    assert (histories.until(VALIDATION) - histories.first_U1[:-1] == ends - 1).all()


def test_ten_days_of_silence_are_ten_days_of_seconds(rows, split):
    one = [rows[0] | {"event_id": "a"}]
    two = rows[0] | {"event_id": "b", "event_ts": rows[0]["event_ts"] + timedelta(days=10)}
    assert np.diff(read([*one, two], split).second(np.arange(2))) == [864_000]


def test_a_stranger_is_known_by_the_last_session_alone(split):
    day = split.cut - timedelta(days=1)

    def event(user, minute, item, at=day):
        moment = at + timedelta(minutes=minute)
        return {"user_id": user, "action": "click", "event_ts": moment, "item_id": item,
                "event_id": f"{user}{minute}{item}"}  # fmt: skip

    rows = [
        event("a", 0, "i00"), event("a", 200, "i01"), event("a", 259, "i02"),
        event("a", 259, "i03"), event("a", 318, "i04"), event("a", 2000, "i05"),
        event("b", 5, "i06"),
        event("c", 0, "i07", split.cut), event("c", 60, "i08", split.cut),
    ]  # fmt: skip
    shown = read(rows, split).last_sessions(60 * 60)
    items = {
        user: [VOCABULARY[item - 1] for item in sorted(shown.item_E[start:stop])]
        for user, start, stop in zip(
            shown.user_id_U, shown.first_U1, shown.first_U1[1:], strict=False
        )
    }
    assert items == {"a": ["i01", "i02", "i03", "i04", "i05"], "b": ["i06"], "c": ["i07", "i08"]}
    assert (shown.phase_E == TEST).sum() == 2, "what is to be found stays"
    first = shown.first_U1[0]
    assert sorted(shown.group_E[first : first + 4]) == [0, 1, 1, 2]
    whole = read(rows, split)
    assert same(whole.last_sessions(1e9), whole)
