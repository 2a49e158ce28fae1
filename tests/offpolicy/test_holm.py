"""The shares of an endless stream."""

import pytest

from tessera.offpolicy.holm import share_of


def test_an_endless_stream_spends_alpha_and_no_more():
    total = sum(share_of(0.05, k) for k in range(1, 20_000))
    assert 0.0499 < total < 0.05


def test_candidates_count_from_one():
    with pytest.raises(ValueError, match="count from 1"):
        share_of(0.05, 0)
