"""A list holds only what suits the investor, is not held nor dismissed, and has true reasons."""

from __future__ import annotations

from tessera.serve.recommend import recommend


def test_a_known_investor_gets_suitable_items_with_evidence(place, make_candidate):
    lines = recommend(make_candidate(place), "u1", 10)
    assert [line.item_id for line in lines] == ["i4", "i5"], "i0 is held, i1 dismissed"
    assert lines[0].reason == "holding Fund 0 is estimated to raise the chance of buying it"
    assert "income investors" in lines[1].reason


def test_an_unknown_investor_counts_as_conservative(place, make_candidate):
    lines = recommend(make_candidate(place), "nobody", 10)
    assert [line.item_id for line in lines] == ["i0", "i4"]
    assert all("conservative" in line.reason for line in lines)
