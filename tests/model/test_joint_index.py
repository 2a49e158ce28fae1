"""Codes of a trunk's vectors: found back where planted, and given without touching any before.

Legend: N items, D width, V items with padding first, L levels.
"""

from dataclasses import replace

import ibis
import numpy as np
import pytest
import torch

from benchmarks.joint_index import Place
from benchmarks.report.joint import SECTIONS
from benchmarks.report.page import rows_of, text_of
from benchmarks.trunk_codes import agreement, decoded, joint_book, own_book, placed, vectors_of
from tessera.contracts.split import TEST
from tessera.contracts.tables import GENERATIVE
from tessera.model.nn.forcing import soft_codeword
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.trunk.generated import generate
from tessera.model.trunk.inference import trunk_states
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.platform.workspace.paths import Workspace
from tessera.stages.sid import ledger
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.declared import LINKS
from tessera.stages.sid.vectors import Space

SHAPE = Shape("hstu", 8, 1, 1, 6, 0.0, 0.0, True, True, True, 7, (4, 3),
              generative_head=LevelNetSettings(4))  # fmt: skip
CODE_NL = np.array([(one, other) for one in range(3) for other in range(2)])
"""Six items; the second level has a codeword less than the first."""


def built(shape, codes_VC):
    torch.manual_seed(0)
    return SequenceModel(shape, codes_VC, torch.arange(len(codes_VC)) > 0).eval()


@pytest.fixture
def model():
    """A trunk whose items are sums of the codewords that were planted in its decoder.

    The first codeword of level 2 points as that of level 1 does: whoever forgets to take away what
    was chosen before chooses it.
    """
    codes_VC = torch.from_numpy(np.vstack([[0, 0], CODE_NL + 1]))
    planted = built(SHAPE, codes_VC)
    first_KD, second_KD = planted.codebook()
    axis_KD = torch.eye(8)
    with torch.no_grad():
        first_KD.copy_(torch.cat([torch.zeros(1, 8), 3 * axis_KD[:3]]))
        second_KD.copy_(torch.cat([torch.zeros(1, 8), axis_KD[:1] + axis_KD[4:5], axis_KD[5:6]]))
        planted.item_VD.zero_()
    return planted


def test_what_vectors_were_put_together_of_is_found_back_in_the_decoder(model):
    vector_ND, seen_N = vectors_of(model)
    assert seen_N.all()
    assert vector_ND.shape == (6, 8), "padding has no code"
    assert agreement(joint_book(model).encode(vector_ND), CODE_NL) == [1.0, 1.0]
    shuffled_NL = np.roll(CODE_NL, 1, axis=0)
    assert agreement(joint_book(model).encode(vector_ND), shuffled_NL) == [0.5, 0.0]


def test_an_item_gets_what_soft_forcing_draws_when_cold():
    """Of codewords and vectors that nobody planted, of lengths of their own."""
    model = built(SHAPE, torch.from_numpy(np.vstack([[0, 0], CODE_NL + 1])))
    vector_ND, _ = vectors_of(model)
    left_ND, drawn = torch.from_numpy(vector_ND).float(), []
    for table_KD in model.codebook():
        codeword_KD = torch.nn.functional.normalize(table_KD[1:], dim=-1)
        word_NC = torch.arange(len(codeword_KD)).expand(6, -1)
        cold = torch.tensor(1e6), 1.0
        z_ND = soft_codeword(left_ND, codeword_KD, word_NC, word_NC >= 0, *cold)
        drawn.append((z_ND @ codeword_KD.T).argmax(1).detach().numpy())
        left_ND = left_ND - z_ND
    code_NL = joint_book(model).encode(vector_ND)
    assert np.array_equal(code_NL, np.stack(drawn, axis=1))
    assert not np.array_equal(code_NL, CODE_NL), "or it would be no test"


def test_codebooks_are_of_what_was_met_and_as_large_as_the_one_before(rng):
    like = ResidualKMeans(np.zeros((2, 4, 99)))
    vector_ND = rng.standard_normal((20, 3))
    seen_N = np.arange(20) < 12
    first = own_book(vector_ND, seen_N, like, seed=0)
    assert first.codeword_LKD.shape == (2, 4, 3)
    again = own_book(np.where(seen_N[:, None], vector_ND, 1e6), seen_N, like, seed=0)
    assert np.array_equal(first.codeword_LKD, again.codeword_LKD)


def test_what_nobody_met_lies_with_what_is_declared_like_it():
    vector_ND = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [9.0, 9.0], [9.0, 9.0]])
    seen_N = np.array([True, True, True, False, False])
    ids, sector = ["a", "b", "c", "d", "e"], ["x", "y", None, "y", "z"]
    columns = {"item_id": ids, **{name: [None] * 5 for name in LINKS}, "sector": sector}
    items = ibis.memtable(columns, schema=dict.fromkeys(columns, "string"))
    found_ND = placed(vector_ND, seen_N, items)
    assert np.array_equal(found_ND[:4], [*vector_ND[:3], [0.0, 1.0]])
    assert found_ND[4] == pytest.approx([0.5, 0.5]), "its sector is nobody's: the mean of what is"


def test_with_the_codes_it_was_trained_with_it_decodes_what_it_lists(world, small):
    params = small.model_copy(update={"generate": True, "beams": 3, "top": 3, "filter_seen": True})
    codes_VC, items = world.codes_VC, len(world.catalogue.vocabulary) + 1
    sizes = tuple((codes_VC.amax(0) + 1).tolist())
    shape = replace(SHAPE, items=items, code_sizes=sizes, length=params.length)
    model = built(shape, codes_VC)
    asked = world.ask(TEST, params)
    state_QD = trunk_states(model, world.histories, asked.windows)
    lists = generate(model, model.decoder, asked, state_QD, params)
    code_NL = codes_VC.numpy()[1:] - 1
    assert decoded(model, world, code_NL, params).equals(
        world.listed("hstu" + GENERATIVE, asked, lists)
    )
    other_NL = np.roll(code_NL, 1, axis=0)
    found = decoded(model, world, other_NL, params)
    assert found["item_id"] != world.listed("", asked, lists)["item_id"]


def test_codes_of_a_trunk_follow_those_of_sid_and_change_none(tmp_path, rng):
    place = Place(Workspace(tmp_path, "some"), {})
    before = ledger.append({}, ["a", "b", "c"], np.array([[0, 1], [0, 1], [1, 0]]))
    book = ledger.Codebook(Space([], {}), ResidualKMeans(rng.standard_normal((2, 2, 4))))
    out = place.workspace.artifact("ledger_out")
    ledger.write_ledger(tmp_path / "none", out, book, before, "first")
    ledger.write_codes(before, list(before), place.workspace.artifact("codes"))
    own = ResidualKMeans(np.array([[[0.0], [8.0]], [[0.0], [1.0]]]))
    place.recoded(own, np.array([[8.9], [0.1], [1.1]]), "own")
    assert place.code_NL().tolist() == [[1, 1], [0, 0], [0, 1]]
    after = place.workspace.data / "ledger"
    assert ledger.read_ledger(after).generations == ["first", "own"]
    assert ledger.read_entries(after, "first") == before
    assert np.array_equal(ledger.read_codebook(after / "own").quantizer.codeword_LKD,
                          own.codeword_LKD)  # fmt: skip


def test_what_was_measured_elsewhere_is_told_only_where_the_default_found_the_same():
    def trained(value):
        lists = {"hstu_generative": value, "hstu_trunk": value + 0.1, "hstu": value + 0.2}
        models = {name: {"ndcg_10": one, "recall_10": one} for name, one in lists.items()}
        return {"models": models, "codes": {"collision_rate": 0.1}, "agrees": [0.5]}

    def told(default_there):
        there = {
            seed: {"default": trained(default_there), "topology": trained(0.6)} for seed in "01"
        }
        kinds = {"default": 0.2, "own vectors": 0.4, "own vectors, codes read": 0.2}
        here = {seed: {kind: trained(one) for kind, one in kinds.items()} for seed in "01"}
        market = {"users": 1, "items": 2, "requests": 3}
        results = {"joint_index": {"seeds": here, "world": market}, "sid_worth": {"seeds": there}}
        machine = {"processor": "", "cores": 1, "memory_gb": 1}
        return {name: {"figures": found, "machine": machine, "commit": "", "day": ""}
                for name, found in results.items()}  # fmt: skip

    (section,) = [one for one in SECTIONS if one.record == "joint_index"]
    assert "| topology | default | decoded | +0.4000" in text_of(section, told(0.2))
    assert "| topology |" not in text_of(section, told(0.3))
    holds = [row.holds for row in rows_of(section, told(0.2))]
    assert holds == ["yes", "no", "not run"], "two tenths ahead, the same, no joint codes"
