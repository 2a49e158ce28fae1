"""What the benchmark of vector indexes calls nearest is, although it never holds all vectors."""

import numpy as np

from benchmarks import vector_world


def test_the_nearest_in_parts_are_the_nearest_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_world, "_ROWS", 700)
    world = vector_world.draw(3000, 4, tmp_path)
    again = vector_world.draw(3000, 4, tmp_path)
    np.testing.assert_array_equal(world.vector_ND, again.vector_ND)
    found = world.nearest()
    score_QN = world.query_QD @ world.vector_ND.T
    for kind, share, listed_N in world.filters():
        row_QK = found[f"{kind} {share}"]
        assert listed_N[row_QK].all()
        assert abs(listed_N.mean() - share) < 0.2
        best_QK = -np.sort(-np.where(listed_N, score_QN, -np.inf), axis=1)[:, : row_QK.shape[1]]
        np.testing.assert_allclose(np.take_along_axis(score_QN, row_QK, 1), best_QK, atol=1e-6)
