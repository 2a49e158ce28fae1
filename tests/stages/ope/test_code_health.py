"""Planted bad codebooks are measured as `sid` does, and each is refused by its guardrail."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from tessera.shared.codes.behaviour import Pairs
from tessera.stages.ope.code_health import read_code_health
from tessera.stages.ope.forward_returns import codes_per_item
from tessera.stages.ope.guardrails import GUARDRAILS, GuardrailInputs
from tessera.stages.ope.params import OpeParams
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.measure import measure

ITEMS, SIZE, WIDTH = 256, 16, 8
NONE = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))


@dataclass(frozen=True)
class Planted:
    """Vectors, the codewords that code them, and how far a second encoding lies off."""

    vector_ND: np.ndarray
    codeword_LKD: np.ndarray
    noise: float = 0.05


def healthy(rng):
    """Every item at the sum of one codeword of each level, all sums taken once."""
    codeword_LKD = np.stack([10.0 * rng.standard_normal((SIZE, WIDTH)),
                             rng.standard_normal((SIZE, WIDTH))])  # fmt: skip
    first, second = np.divmod(np.arange(ITEMS), SIZE)
    return Planted(codeword_LKD[0][first] + codeword_LKD[1][second], codeword_LKD)


def collapsed(rng):
    """The first level uses one codeword of its sixteen; deeper ones make up for it."""
    third_KD = 0.1 * rng.standard_normal((SIZE, WIDTH))
    good = healthy(rng)
    far_KD = 1e4 + 10.0 * rng.standard_normal((SIZE, WIDTH))
    far_KD[0] = 0.0
    rest_KD = np.concatenate([good.codeword_LKD, third_KD[None]])
    return Planted(good.vector_ND, np.concatenate([far_KD[None], rest_KD]))


def crowded(rng):
    """First codewords lie in four far places, four to a place within the noise of each other."""
    good = healthy(rng)
    places_KD = 10.0 * rng.standard_normal((4, WIDTH))[np.arange(SIZE) % 4]
    first_KD = places_KD + 0.01 * rng.standard_normal((SIZE, WIDTH))
    second_KD = good.codeword_LKD[1] * 1e-3
    first, second = np.divmod(np.arange(ITEMS), SIZE)
    return Planted(first_KD[first] + second_KD[second], np.stack([first_KD, second_KD]))


def colliding(rng):
    """Two items of three share a place with another one."""
    good = healthy(rng)
    return Planted(good.vector_ND[np.arange(ITEMS) * 5 // 8], good.codeword_LKD)


def trembling(rng):
    """Second encodings lie anywhere: what a codebook of far-apart codewords cannot mend."""
    good = healthy(rng)
    return Planted(good.vector_ND, good.codeword_LKD, noise=2.0)


def one_code(rng):
    """Half of the items lie at one place."""
    good = healthy(rng)
    return Planted(good.vector_ND[np.maximum(np.arange(ITEMS) - ITEMS // 4, 0)], good.codeword_LKD)


@pytest.fixture
def refused(rng, tmp_path):
    """Say which checks of the codes fail for a planted codebook."""

    def go(planted):
        quantizer = ResidualKMeans(planted.codeword_LKD)
        code_NL = quantizer.encode(planted.vector_ND)
        again_ND = planted.vector_ND + planted.noise * rng.standard_normal(planted.vector_ND.shape)
        whole, levels = measure(code_NL, (planted.vector_ND, again_ND), quantizer, NONE, 0)
        (tmp_path / "sid_health.json").write_text(json.dumps(whole | {"levels": levels}))
        rows = [[*row, 0] for row in code_NL.tolist()]
        codes = pa.table({"code": pa.array(rows, pa.list_(pa.int64()))})
        health = read_code_health(codes, tmp_path / "sid_health.json")
        beside = GuardrailInputs(codes_per_item=codes_per_item(codes), code_health=health)
        checks = GUARDRAILS["codes"](None, beside, OpeParams())
        return {check.name: check for check in checks if not check.ok}

    return go


def test_a_healthy_codebook_passes(refused, rng):
    assert refused(healthy(rng)) == {}


@pytest.mark.parametrize(("plant", "by"), [
    (collapsed, "sid_use"), (crowded, "sid_told_apart"), (colliding, "sid_collisions"),
    (one_code, "sid_capacity"), (trembling, "sid_survival"),
])  # fmt: skip
def test_each_planted_bad_codebook_is_refused_by_what_is_for_it(refused, rng, plant, by):
    found = refused(plant(rng))
    assert by in found
    assert found[by].ok is False
    assert np.isfinite(found[by].value)


def test_crowding_is_seen_where_use_is_even_and_no_two_items_collide(refused, rng):
    """Perplexity, collisions and capacity without noise find nothing wrong."""
    assert not {"sid_use", "sid_collisions", "sid_capacity"} & set(refused(crowded(rng)))


@pytest.mark.parametrize("plant", [healthy, crowded])
def test_what_a_second_encoding_did_not_move_was_not_measured_and_holds(refused, rng, plant):
    """As good or bad as it may be: codes of topology or prices alone were never shaken."""
    found = refused(replace(plant(rng), noise=0.0))
    assert found.keys() == {"sid_told_apart", "sid_survival"}


def test_noise_has_no_size_where_nothing_varies():
    flat = np.zeros((4, 2))
    book = ResidualKMeans(np.array([[[0.0, 0.0], [1.0, 1.0]]]))
    whole, _ = measure(np.zeros((4, 1), int), (flat, flat + 0.1), book, NONE, 0)
    assert (whole["noise"], whole["flip_rate"]) == (None, 0.0)


def test_what_an_older_run_did_not_measure_is_unknown_and_no_error(tmp_path):
    (tmp_path / "h.json").write_text("{}")
    codes = pa.table({"code": pa.array([[1, 0]], pa.list_(pa.int64()))})
    found = read_code_health(codes, tmp_path / "h.json")
    assert (found.collisions, found.use, found.told_apart, found.survival) == (None,) * 4
