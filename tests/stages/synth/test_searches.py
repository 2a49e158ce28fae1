"""Searches are planted beside everything else, and nothing moves without them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import DAY_US
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.purposes import EARLY, PURPOSES, draw_wants
from tessera.stages.synth.searches import LATE
from tessera.stages.synth.stage import run
from tessera.stages.synth.town import FIRST_US

SMALL = SynthParams(users=80, items=64, requests=1_200, days=90)
PLANTED = SMALL.model_copy(update={"queries": 0.5})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "source"
    run(source=folder, params=SMALL)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "source"
    assert run(source=folder, params=PLANTED)["queries"] == pytest.approx(600, rel=0.15)
    return folder


def answered(planted):
    """Truth of each found item: (serves the purpose, clicked)."""
    serves_IP = np.load(planted / "truth" / "item_purpose.npy")
    names = [purpose.name for purpose in PURPOSES]
    rows = pq.read_table(planted / "truth" / "queries.parquet").to_pylist()
    return np.array([
        (serves_IP[int(item[1:]), names.index(row["purpose"])], clicked)
        for row in rows
        for item, clicked in zip(row["found_ids"], row["clicked"], strict=True)
    ])  # fmt: skip


def test_without_searches_nothing_tells_of_any(plain):
    assert "queries" not in (plain / "truth" / "market.json").read_text()
    assert not list(plain.rglob("*quer*"))
    assert not (plain / "truth" / "item_purpose.npy").exists()


def test_searches_move_nothing_else(plain, planted):
    for name in ("users", "prices", "exposures", "outcomes", "truth/edges"):
        one, two = ((folder / f"{name}.parquet").read_bytes() for folder in (plain, planted))
        assert one == two, name
    before, after = (pq.read_table(folder / "events.parquet") for folder in (plain, planted))
    assert after.slice(0, len(before)).equals(before), "clicks on what was found stand behind"
    assert set(after.slice(len(before))["action"].to_pylist()) == {"click"}
    texts = [pq.read_table(folder / "items.parquet") for folder in (plain, planted)]
    assert texts[0].drop_columns("text").equals(texts[1].drop_columns("text"))
    assert all(two.startswith(one) and two != one for one, two in
               zip(*(rows["text"].to_pylist() for rows in texts), strict=True))  # fmt: skip


def test_what_serves_the_purpose_is_clicked_more_often(planted):
    serves_M, clicked_M = answered(planted).T
    assert clicked_M[serves_M].mean() > 3 * clicked_M[~serves_M].mean() > 0


def test_every_click_on_what_was_found_is_an_event_of_that_investor_soon_after(plain, planted):
    clicked = int(answered(planted)[:, 1].sum())
    first = len(pq.read_table(plain / "events.parquet"))
    events = pq.read_table(planted / "events.parquet").slice(first).to_pylist()
    assert len(events) == clicked > 300
    asked = {}
    for row in pq.read_table(planted / "queries.parquet").to_pylist():
        asked.setdefault(row["user_id"], []).append(row["event_ts"])
    waits = [min((row["event_ts"] - at).total_seconds() for at in asked[row["user_id"]]
                 if at < row["event_ts"]) for row in events]  # fmt: skip
    assert 0 < max(waits) <= 600


def test_late_phrasings_are_not_heard_before(planted):
    told = pq.read_table(planted / "truth" / "queries.parquet")
    asked = pq.read_table(planted / "queries.parquet")
    day_Q = (asked["event_ts"].cast(pa.int64()).to_numpy() - FIRST_US) / DAY_US
    is_new_Q = told["phrasing"].to_numpy() >= EARLY
    assert day_Q[is_new_Q].min() >= LATE * SMALL.days
    assert is_new_Q[day_Q >= LATE * SMALL.days].mean() == pytest.approx(1 / 3, abs=0.12)


def test_purposes_are_served_alike_by_one_or_two_and_said_in_words_that_differ():
    wants = draw_wants(PLANTED)
    assert set(wants.serves_IP.sum(axis=1).tolist()) == {1, 2}
    assert wants.serves_IP.sum(axis=0).min() >= PLANTED.items // len(PURPOSES)
    for purpose, phrasings in zip(PURPOSES, wants.phrasing_PF, strict=True):
        words = [frozenset(text.split()) for text in phrasings]
        assert len({*words}) == len(words) == 12
        assert all(len(one & {*purpose.said.split()}) == 2 for one in words)
