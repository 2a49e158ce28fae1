"""Cluster estimators against plain loops, and what becomes of them at either end."""

import numpy as np
import pyarrow as pa
import pytest

from tessera.offpolicy.clusters import ClusterLog, mips, offcem, single
from tessera.offpolicy.estimators import dr, ips
from tessera.stages.ope.lookup import prefix_clusters

N, C = 300, 6


def cluster_log(rng, cluster_NC):
    served_NC, wanted_NC = (rng.dirichlet(np.ones(C), N) for _ in range(2))
    return ClusterLog(
        reward_N=(rng.random(N) < 0.3).astype(float),
        chosen_N=rng.integers(0, C, N),
        served_NC=served_NC,
        wanted_NC=wanted_NC,
        guess_NC=rng.random((N, C)),
        cluster_NC=cluster_NC,
    )


def test_they_equal_a_loop_over_rows_and_candidates(rng):
    log = cluster_log(rng, rng.integers(0, 3, (N, C)))
    for n in range(N):
        served = wanted = baseline = 0.0
        shown = log.chosen_N[n]
        for c in range(C):
            if log.cluster_NC[n, c] == log.cluster_NC[n, shown]:
                served += log.served_NC[n, c]
                wanted += log.wanted_NC[n, c]
            baseline += log.wanted_NC[n, c] * log.guess_NC[n, c]
        weight, missed = wanted / served, log.reward_N[n] - log.guess_NC[n, shown]
        assert mips(log)[n] == pytest.approx(weight * log.reward_N[n], abs=1e-12)
        assert offcem(log)[n] == pytest.approx(baseline + weight * missed, abs=1e-12)


def test_items_whose_codes_begin_alike_share_a_cluster():
    codes = pa.table({
        "item_id": ["d", "a", "b", "c"],
        "code": [[1, 3, 0], [1, 2, 0], [1, 2, 1], [7, 2, 0]],
    })  # fmt: skip
    item_ids = pa.array(["a", "b", "c", "d", "new", "newer"])
    found = {levels: prefix_clusters(codes, item_ids, levels) for levels in (1, 2, 3)}
    alike = {levels: found[levels][:, None] == found[levels] for levels in found}
    apart = np.eye(7, dtype=bool)
    one, two = apart.copy(), apart.copy()
    for a, b in ((0, 1), (0, 3), (1, 3)):  # a, b and d begin with 1
        one[a, b] = one[b, a] = True
    two[0, 1] = two[1, 0] = True  # a and b with 1-2
    for levels, expected in ((1, one), (2, two), (3, apart)):
        np.testing.assert_array_equal(alike[levels], expected)


def test_with_every_item_a_cluster_of_its_own_they_are_ips_and_dr(rng):
    log = cluster_log(rng, np.tile(np.arange(C), (N, 1)))
    plain = single(log)
    for n in range(N):
        shown = log.chosen_N[n]
        assert plain.served_N[n] == log.served_NC[n, shown]
        assert plain.wanted_N[n] == log.wanted_NC[n, shown]
        assert plain.guess_N[n] == log.guess_NC[n, shown]
        assert plain.baseline_N[n] == pytest.approx(log.wanted_NC[n] @ log.guess_NC[n], abs=1e-12)
    np.testing.assert_allclose(mips(log), ips(plain), rtol=1e-12)
    np.testing.assert_allclose(offcem(log), dr(plain), rtol=1e-12)


def test_one_cluster_of_everything_weighs_nothing(rng):
    log = cluster_log(rng, np.zeros((N, C), dtype=int))
    np.testing.assert_allclose(mips(log), log.reward_N, rtol=1e-12)
