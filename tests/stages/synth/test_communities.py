"""Communities are planted beside everything else, and nothing moves without them."""

import numpy as np
import pyarrow.parquet as pq

from tessera.stages.synth.communities import draw_communities
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market, run

SMALL = SynthParams(users=200, items=60, requests=2_000, days=90, dirty_rows=0.0)
PLANTED = SMALL.model_copy(update={"communities": 4})


def test_without_communities_the_market_is_what_it_was(tmp_path):
    run(source=tmp_path, params=SMALL)
    assert "communities" not in (tmp_path / "truth" / "market.json").read_text()
    assert not (tmp_path / "truth" / "item_community.npy").exists()


def test_communities_change_no_other_draw():
    plain, planted = draw_market(SMALL), draw_market(PLANTED)
    assert np.array_equal(plain.assets.vector_IK, planted.assets.vector_IK[:, :-4])
    assert np.array_equal(plain.investors.taste_last_UK, planted.investors.taste_last_UK[:, :-4])
    for name in ("topic_I", "risk_I", "born_day_I", "popularity_I"):
        assert np.array_equal(getattr(plain.assets, name), getattr(planted.assets, name))
    assert np.array_equal(plain.close_DI, planted.close_DI, equal_nan=True)


def test_investors_buy_what_is_of_their_community(tmp_path):
    shares = {}
    for params in (SMALL, PLANTED):
        folder = tmp_path / str(params.communities)
        run(source=folder, params=params)
        user_U, item_I = draw_communities(PLANTED)
        rows = pq.read_table(folder / "events.parquet").to_pylist()
        bought = [
            (int(r["user_id"][1:]), int(r["item_id"][1:])) for r in rows if r["action"] == "buy"
        ]
        shares[params.communities] = np.mean([user_U[u] == item_I[i] for u, i in bought])
    assert abs(shares[0] - 0.25) < 0.1
    assert shares[4] > 0.5


def test_what_is_known_of_communities_lies_among_the_answers(tmp_path):
    run(source=tmp_path, params=PLANTED)
    kept = np.load(tmp_path / "truth" / "item_community.npy")
    assert np.array_equal(kept, draw_communities(PLANTED)[1])
    assert np.bincount(kept).tolist() == [15] * 4
