"""A cause is told only of an edge that stands; without its evidence the sentence goes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera.bundles.edges import Edges
from tessera.serve.evidence import Evidence, discoveries
from tessera.serve.shelf import Shelf

IDS = [f"i{n:02d}" for n in range(20)]
SHELF = Shelf.of(pa.table({"item_id": [*reversed(IDS)]}))
KINDS = ("causal", "transition", "co_acquired", "sector")


def edge(source, target, kind="causal", weight=0.5, rate=None, support=9):
    return {"source_id": source, "target_id": target, "kind": kind, "weight": weight,
            "false_sign_rate": rate, "support": support}  # fmt: skip


def strongest(edges, held, shown):
    evidence = Evidence.of(Edges.of(pa.Table.from_pylist(edges), SHELF), SHELF)
    found = evidence.strongest(SHELF.rows(held), SHELF.rows(shown))
    return {SHELF.ids[row]: one for row, one in found.items()}


def words(edges, target="i01"):
    one = strongest(edges, ["i00"], [target]).get(target)
    return None if one is None else one.words


def step_up(rates, level):
    """Benjamini and Hochberg, by their own words."""
    order = np.argsort(rates)
    last = max(
        (n for n in range(1, len(rates) + 1) if rates[order[n - 1]] <= level * n / len(rates)),
        default=0,
    )
    return set(order[:last].tolist())


@pytest.mark.parametrize("seed", range(10))
def test_what_stands_is_what_the_step_up_rule_finds_item_by_item(seed):
    rng = np.random.default_rng(seed)
    rate_E, item_E = rng.random(60) ** 4, rng.integers(0, 7, 60)
    stands_E = discoveries(rate_E, item_E, 0.1)
    for item in range(7):
        mine = np.flatnonzero(item_E == item)
        assert set(np.flatnonzero(stands_E[mine])) == step_up(rate_E[mine], 0.1)
    assert 0 < stands_E.sum() < 60


def test_a_cause_needs_more_where_more_edges_lead_to_the_item():
    sure = edge("i00", "i01", rate=0.04)
    others = [edge(f"i{n:02d}", "i01", rate=0.5) for n in (2, 3)]
    assert words([sure]) == words([sure, others[0]]) == 0
    assert words([sure, *others]) == 3, ".04 is more than .10 / 3"
    assert words([sure, edge("i02", "i01", rate=0.01), others[0]]) == 0, "two of three stand"
    assert words([sure, *(edge(f"i{n:02d}", "i05", rate=0.5) for n in (2, 3))]) == 0


def test_a_sign_that_may_be_wrong_in_more_than_one_of_twenty_is_no_cause_among_however_few():
    assert words([edge("i00", "i01", rate=0.06)]) == 3
    assert words([edge("i00", "i01", rate=None)]) == 3


def test_without_its_evidence_the_sentence_goes():
    cause, then = edge("i00", "i01", rate=0.01), edge("i00", "i01", "transition")
    assert words([cause, then]) == 0
    assert words([then]) == 1
    assert words([edge("i00", "i02", rate=0.01)]) is None
    assert words([edge("i00", "i01", weight=-0.5, rate=0.01)]) is None, "it lowers the chance"


@pytest.mark.parametrize("seed", range(10))
def test_the_strongest_is_what_a_look_at_every_edge_finds(seed):
    rng = np.random.default_rng(seed)
    edges = [
        edge(*rng.choice([*IDS, "gone"], 2).tolist(), str(rng.choice(KINDS)),
             round(float(rng.normal()), 1), float(rng.random() ** 4), int(rng.integers(99)))
        for _ in range(200)
    ]  # fmt: skip
    held, shown = IDS[:6], IDS[4:15]
    found = strongest(edges, held, shown)
    causal = [one for one in edges if one["kind"] == "causal"]
    told = set()
    for target in {one["target_id"] for one in causal}:
        family = [one for one in causal if one["target_id"] == target]
        stands = step_up(np.array([one["false_sign_rate"] for one in family]), 0.1)
        told |= {id(family[n]) for n in stands if family[n]["false_sign_rate"] <= 0.05}
    ranks = {"transition": 1, "co_acquired": 2, "causal": 3}
    for target in shown:
        mine = [
            (0 if id(one) in told else ranks[one["kind"]], -one["weight"], one["source_id"])
            for one in edges
            if one["source_id"] in held and one["target_id"] == target
            and one["kind"] in ranks and one["weight"] > 0
        ]  # fmt: skip
        assert (target in found) == bool(mine)
        if mine:
            one = found[target]
            assert (one.words, SHELF.ids[one.source]) == (min(mine)[0], min(mine)[2])


def test_without_edges_nothing_is_told():
    assert Evidence.of(None, SHELF).strongest(np.arange(3), np.arange(5)) == {}
    assert Evidence.of(None, SHELF).strongest(np.arange(0), np.arange(0)) == {}
