"""What codes are worth on real data: the sums of the benchmark, and what the page makes of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from benchmarks import codes_real
from benchmarks.codes_real import KINDS, METRICS, SETS, by_investor, figures_of, params_of, pooled
from benchmarks.report.codes_real import SECTIONS, WORLDS
from benchmarks.report.page import rows_of, text_of
from tessera.stages.evaluate.holdout import Holdout
from tessera.stages.evaluate.params import EvaluateParams

SETTINGS = EvaluateParams(draws=200)


@pytest.fixture
def holdout():
    """Two investors and four items: the first acquires 0 and 1, the second the cold item 3."""
    return Holdout(
        pa.array(["a", "b", "c", "d"]), pa.array(["u", "v"]),
        acquired_UI=csr_matrix((2, 4)), row_N=np.arange(2), recent_I=np.zeros(4, np.int64),
        held_NI=csr_matrix((2, 4)),
        relevant_user_R=np.array([0, 0, 1]), relevant_item_R=np.array([0, 1, 3]),
        candidate_I=np.ones(4, np.bool_), cold_I=np.array([False, False, False, True]),
        future_I=np.zeros(4, np.bool_), known_events_N=np.ones(2, np.int64),
    )  # fmt: skip


def test_lists_are_measured_by_investor_and_by_cold_item(holdout):
    top_NK = np.full((2, 50), -1)
    top_NK[0, :2], top_NK[1, :2] = (0, 2), (0, 3)
    found = by_investor(top_NK, holdout)
    second = 1 / np.log2(3)
    assert found[:, METRICS.index("ndcg_10")] == pytest.approx([1 / (1 + second), second])
    assert found[:, METRICS.index("recall_10")] == pytest.approx([0.5, 1.0])
    told = figures_of({"hstu": top_NK}, holdout)["hstu"]
    assert told["recall_50"] == 0.75
    assert told["coverage_10"] == 0.75
    assert told["cold_ndcg_10"] == pytest.approx(second, abs=1e-4)


def test_a_lead_is_paired_by_investor_and_the_mean_over_the_seeds(rng):
    """Investors differ far more than the two lists do, which a pair does not see."""
    off_NM = rng.normal(0.0, 10.0, (400, len(METRICS)))
    pairs = [(off_NM + 0.1 + swing, off_NM) for swing in (-0.05, 0.05)]
    found = pooled(pairs, SETTINGS)
    assert list(found) == list(METRICS)
    for one in found.values():
        assert one["mean"] == pytest.approx(0.1)
        assert one["high"] - one["low"] < 1e-6
    noisy = pooled([(rng.permutation(off_NM), off_NM)], SETTINGS)
    assert all(one["low"] < 0 < one["high"] for one in noisy.values())


@pytest.mark.parametrize("name", SETS)
def test_kinds_of_codes_differ_by_their_blocks_alone(name):
    by_kind = {kind: params_of(name, 1, kind) for kind in KINDS}
    trunk = {kind: params["hstu"].model_dump_json() for kind, params in by_kind.items()}
    assert len(set(trunk.values())) == 1
    first = by_kind["text"]["hstu"].model_dump()
    assert first["use_codes"]
    assert first["generate"]
    assert not any(first[one] for one in ("sasrec", "two_tower", "session_minutes"))
    sid = [params["sid"].model_dump() for params in by_kind.values()]
    assert len({(one["levels"], one["codebook_size"], one["seed"]) for one in sid}) == 1


def test_every_set_has_a_name_on_the_page():
    assert set(WORLDS) == set(SETS)


def test_a_kind_is_laid_beside_text_over_the_seeds_of_both_alone(tmp_path, monkeypatch):
    place = type("Place", (), {"data": tmp_path})()
    monkeypatch.setattr(codes_real, "place_of", lambda name: place)
    for seed, kind, value in ((0, "text", 0.1), (0, "topology", 0.3), (1, "topology", 9.0)):
        each_ONM = np.full((3, 5, len(METRICS)), value)
        each_ONM[0] += 0.01
        np.save(codes_real.kept_at(place, seed, kind), each_ONM)
    found = codes_real.leads_of("beauty", {"text": [0], "topology": [0, 1]})
    assert found["over text"]["topology"]["seeds"] == [0]
    assert found["over text"]["topology"]["hstu"]["ndcg_10"]["mean"] == pytest.approx(0.2)
    assert found["over cosine"]["topology"]["seeds"] == [0, 1]
    decoded = found["over cosine"]["topology"]["hstu_generative"]["ndcg_10"]
    assert decoded["mean"] == pytest.approx(0.01)


def result(gap, seeds=2, found=0.07):
    """Return a result in which topology is so far ahead of text, and decoding of the cosine."""

    def models(more):
        value = dict.fromkeys((*METRICS, "coverage_10", "cold_recall_10"), found + more)
        return {"hstu_generative": {one: x + gap for one, x in value.items()},
                "hstu_trunk": value, "hstu": value}  # fmt: skip

    shifts = {"text": 0.0, "default": 0.0, "topology": gap}
    every = {
        str(seed): {
            kind: {"models": models(more * (1 + 0.1 * seed)), "users": 5, "cold_users": 2,
                   "codes": {"collision_rate": 0.1}}
            for kind, more in shifts.items()
        }
        for seed in range(seeds)
    }  # fmt: skip
    lead = {one: {"mean": gap, "low": gap - 0.001, "high": gap + 0.001} for one in METRICS}
    names = list(range(seeds))
    over = dict.fromkeys(("hstu_generative", "hstu_trunk", "hstu"), lead)
    leads = {
        "over text": {"topology": {"seeds": names, **over}},
        "over cosine": {kind: {"seeds": names, "hstu_generative": lead} for kind in shifts},
    }
    codes = {"levels": 3, "kinds": {kind: {} for kind in shifts}}
    return {"figures": {"seeds": every, "leads": leads, "codes": codes, "cut": None},
            "machine": {"processor": "p", "cores": 1, "memory_gb": 1.0},
            "commit": "c", "day": "d"}  # fmt: skip


def written(told, **beside):
    """Return the section of Beauty, and the rows of the summary by figure."""
    section, results = SECTIONS[0], {"codes_real_beauty": told, **beside}
    return text_of(section, results), {row.name: row[1:4] for row in rows_of(section, results)}


@pytest.mark.parametrize(("gap", "word"), [(0.02, "yes"), (-0.02, "no"), (0.0005, "partly")])
def test_topology_is_worth_something_only_if_it_is_ahead(gap, word):
    text, rows = written(result(gap))
    assert rows["codes of topology beside codes of text (Amazon Beauty)"][2] == word
    assert f"| topology | text, 2 seeds | decoded | {gap:+.4f}"[:-3] in text


def test_one_seed_shows_no_more_than_half_of_it():
    text, rows = written(result(0.02, seeds=1))
    assert rows["codes of topology beside codes of text (Amazon Beauty)"][2] == "partly"
    assert "[0.0190, 0.0210] / one seed" in text


@pytest.mark.parametrize(("found", "word"), [(0.07, "yes"), (0.05, "partly"), (0.03, "no")])
def test_decoded_lists_are_held_against_what_is_in_print(found, word):
    _, rows = written(result(0.0, found=found))
    assert rows["decoded lists alone on Amazon Beauty"][2] == word


def rival(ndcg):
    """Return the result of the same set without codes."""
    one = {"recall_10": 0.05, "ndcg_10": ndcg, "coverage_10": 0.5}
    seeds = {"0": {"models": {"sasrec": one, "ease": one}}}
    return {"figures": {"seeds": seeds}, "commit": "c"}


@pytest.mark.parametrize(("ndcg", "word"), [(0.06, "yes"), (0.08, "partly")])
def test_published_lists_are_held_against_the_best_rival_without_codes(ndcg, word):
    figure = "published lists of a trunk that reads codes, on Amazon Beauty"
    _, rows = written(result(0.0), quality_beauty=rival(ndcg))
    assert rows[figure][2] == word
    assert f"SASRec 0.0500 / {ndcg:.4f}" in rows[figure][1]
    assert written(result(0.0))[1][figure][1:3] == ("not run",) * 2


@pytest.mark.parametrize(("decoded", "word"), [(0.02, "yes"), (0.0, "no")])
def test_items_that_nobody_acquired_before_are_asked_for(decoded, word):
    told = result(0.0)
    for one in told["figures"]["seeds"].values():
        one["text"]["models"]["hstu_generative"]["cold_recall_10"] = decoded
    figure = "items of Amazon Beauty that nobody acquired before, decoded"
    assert written(told)[1][figure][2] == word


def test_a_set_that_lacks_a_kind_says_so():
    told = result(0.02)
    for one in told["figures"]["seeds"].values():
        del one["topology"]
    told["figures"]["leads"]["over text"] = {}
    del told["figures"]["leads"]["over cosine"]["topology"]
    _, rows = written(told)
    assert rows["codes of topology beside codes of text (Amazon Beauty)"][1:3] == ("not run",) * 2
