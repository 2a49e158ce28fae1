"""What a list on demand has in common with what was judged."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.platform.cli.listed import judged_candidates, judged_share

CUT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def exposures(tmp_path):
    """A request of u before the cut, two after it; one of v after it."""
    rows = [
        ("u", -1, ["a", "z"]),
        ("u", 1, ["b", "c"]),
        ("u", 2, ["d"]),
        ("v", 1, ["a"]),
    ]
    written = [
        {
            "user_id": user,
            "event_ts": CUT + timedelta(days=day),
            "candidate_ids": candidates,
            "position": position,
        }
        for user, day, candidates in rows
        for position in (1, 2)
    ]
    pq.write_table(pa.Table.from_pylist(written), tmp_path / "exposures.parquet")
    return tmp_path / "exposures.parquet"


def test_only_requests_after_the_cut_were_judged(exposures):
    assert judged_candidates(exposures, CUT) == {"u": {"b", "c", "d"}, "v": {"a"}}


def test_the_share_counts_what_the_same_investor_could_have_been_shown(exposures):
    lists = {"u": ["b", "d", "a"], "v": ["b", "c", "d"]}

    class Listing:
        def recommend(self, user, k):
            return [SimpleNamespace(item_id=item) for item in lists[user][:k]]

    found = judged_candidates(exposures, CUT)
    assert judged_share(Listing(), found, 3) == pytest.approx(2 / 6)
    assert judged_share(Listing(), {}, 3) is None
