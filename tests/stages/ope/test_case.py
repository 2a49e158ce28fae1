"""Where the log is believed about what the champion wanted, and where it is not."""

import numpy as np
import pyarrow as pa
import pytest

from tessera.offpolicy.replay import replay
from tessera.offpolicy.requests import Requests
from tessera.stages.ope.case import as_logged

CANDIDATES = 1000


@pytest.fixture
def even():
    """Slates of one item, drawn evenly from many: each was shown once."""
    zeros, each = np.zeros(CANDIDATES, int), np.arange(CANDIDATES)
    even_NLC = np.full((CANDIDATES, 1, CANDIDATES), 1 / CANDIDATES)
    return Requests(
        request_ids=pa.nulls(CANDIDATES), event_us_N=each, user_N=zeros, user_ids=pa.array(["u"]),
        risk_N=zeros, capacity_N=zeros, candidate_NC=np.tile(each, (CANDIDATES, 1)),
        chosen_NL=each[:, None], served_NLC=even_NLC, propensity_NL=even_NLC[:, :, 0],
        reward_NL=each[:, None] % 2.0, dismissed_NL=np.zeros((CANDIDATES, 1)),
    )  # fmt: skip


@pytest.mark.parametrize(("more", "is_same"), [(8e-9, True), (8e-6, False)])
def test_many_small_gaps_are_no_rounding(even, more, is_same):
    """A champion that wants every second of 1,000 items a little more earns .004 more in all."""
    turned_C = np.where(np.arange(CANDIDATES) % 2, more, -more)
    champion = replay(even, even.served_NLC + turned_C)
    found = as_logged(champion, even)
    assert (found.weight_NL == 1).all() == is_same
    earns = 0.5 + (0.0 if is_same else CANDIDATES / 2 * more)
    assert (found.weight_NL * even.reward_NL).mean() == pytest.approx(earns, abs=1e-9)
