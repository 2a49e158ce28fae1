"""What every quantizer must do.  A new one inherits the suite by a line in QUANTIZERS.

Those whose levels can leave columns out are held to it with some that the first level alone is of.
"""

import numpy as np
import pytest
from pydantic import ValidationError

from tessera.contracts.errors import BadInput
from tessera.shared.codes.health import capacity
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.params import SPLITS, SidParams
from tessera.stages.sid.quantizer import codebook_size, fit_quantizer, load_quantizer
from tessera.stages.sid.quantizers import rkmeans

QUANTIZERS = {
    "rkmeans": SidParams(codebook_size=8),
    "minibatch": SidParams(quantizer="minibatch", codebook_size=8, batch_size=64),
    "rq_fsq": SidParams(quantizer="rq_fsq", codebook_size=8),
    "drq": SidParams(
        quantizer="drq", codebook_size=8, epochs=100, hidden=32, latent=8, batch_size=64
    ),
    "rqvae": SidParams(
        quantizer="rqvae", codebook_size=8, epochs=200, hidden=32, latent=8, batch_size=64
    ),
}
COARSE, FINE, EACH = 6, 4, 20
COARSE_D = np.arange(12) < 6
"""Columns that the first level alone is of, where there are any."""
SOME_ALONE = [f"{name}, coarse columns" for name in SPLITS]


def planted(rng):
    """Six clusters, each of four sub-clusters: [N, D] with both labels."""
    coarse = 4.0 * rng.standard_normal((COARSE, 12))
    fine = 1.0 * rng.standard_normal((FINE, 12))
    first, second = np.divmod(np.repeat(np.arange(COARSE * FINE), EACH), FINE)
    noise = 0.1 * rng.standard_normal((len(first), 12))
    return coarse[first] + fine[second] + noise, first, second


@pytest.fixture(scope="module")
def world():
    return planted(np.random.default_rng(11))


@pytest.fixture(scope="module", params=[*QUANTIZERS, *SOME_ALONE])
def quantizer(request, world):
    name, _, alone = request.param.partition(", ")
    return fit_quantizer(world[0], QUANTIZERS[name], coarse_D=COARSE_D if alone else None)


def purity(code, label):
    """Share of rows whose label is the commonest of their code."""
    return sum(np.bincount(label[code == c]).max() for c in np.unique(code)) / len(label)


def squared(a, b):
    return float(np.mean((a - b) ** 2))


def test_learns_to_rebuild_far_better_than_random_codes(quantizer, world, rng):
    vectors = world[0]
    code = quantizer.encode(vectors)
    shuffled = rng.permutation(code)
    error = squared(vectors, quantizer.decode(code))
    assert error < 0.1 * vectors.var(axis=0).mean()
    assert error < 0.1 * squared(vectors, quantizer.decode(shuffled))


def test_more_rounds_of_k_means_rebuild_better(world):
    one, many = (fit_quantizer(world[0], SidParams(codebook_size=8, iterations=n)) for n in (1, 50))
    assert squared(world[0], many.decode(many.encode(world[0]))) < squared(
        world[0], one.decode(one.encode(world[0]))
    )


def test_learns_the_planted_clusters_coarse_first(quantizer, world):
    vectors, coarse, fine = world
    code = quantizer.encode(vectors)
    both = coarse * FINE + fine
    assert purity(code[:, 0], coarse) > 0.95
    prefix = np.unique(code, axis=0, return_inverse=True)[1]
    assert purity(prefix, both) > 0.9


def test_each_level_makes_the_rebuilt_vector_better(quantizer, world):
    vectors = world[0]
    code = quantizer.encode(vectors)
    worse = code.copy()
    worse[:, 1:] = np.roll(worse[:, 1:], 37, axis=0)
    assert squared(vectors, quantizer.decode(code)) < squared(vectors, quantizer.decode(worse))


def test_uses_its_first_level(quantizer, world):
    assert len(np.unique(quantizer.encode(world[0])[:, 0])) >= COARSE


def test_same_seed_same_bytes(quantizer, world):
    alone_D = ~quantizer.codeword_LKD[1:].any(axis=(0, 1))
    coarse_D = alone_D if alone_D.any() else None
    again = fit_quantizer(world[0], QUANTIZERS[quantizer.name], coarse_D=coarse_D)
    for name, array in quantizer.arrays().items():
        assert array.tobytes() == again.arrays()[name].tobytes(), name


def test_survives_the_round_trip_through_arrays(quantizer, world):
    again = load_quantizer(quantizer.name, quantizer.arrays())
    vectors = world[0]
    assert np.array_equal(again.encode(vectors), quantizer.encode(vectors))
    assert np.array_equal(again.decode(again.encode(vectors)), quantizer.decode(
        quantizer.encode(vectors)))  # fmt: skip


def test_no_future_the_code_of_an_item_does_not_depend_on_who_comes_with_it(quantizer, world, rng):
    vectors = world[0]
    code = quantizer.encode(vectors)
    order = rng.permutation(len(vectors))
    assert np.array_equal(quantizer.encode(vectors[order]), code[order])
    strangers = 100.0 * rng.standard_normal((50, vectors.shape[1]))
    assert np.array_equal(quantizer.encode(np.vstack([strangers, vectors]))[50:], code)


def test_no_codeword_is_dead(quantizer, world):
    code = quantizer.encode(world[0])
    levels, size, _ = quantizer.codeword_LKD.shape
    assert [len(np.unique(code[:, level])) for level in range(levels)] == [size] * levels


def test_half_the_precision_gives_the_same_codes(quantizer, world):
    code = quantizer.encode(world[0])
    narrow = {name: array.astype(np.float32).astype(np.float64)
              for name, array in quantizer.arrays().items()}  # fmt: skip
    found = load_quantizer(quantizer.name, narrow).encode(world[0].astype(np.float32))
    assert np.mean((found == code).all(axis=1)) >= 0.999


def test_codes_lie_inside_the_codebook(quantizer, world):
    levels, size, _ = quantizer.codeword_LKD.shape
    code = quantizer.encode(world[0])
    assert code.shape == (len(world[0]), levels)
    assert code.min() >= 0
    assert code.max() < size


@pytest.mark.parametrize("name", QUANTIZERS)
def test_fewer_distinct_items_than_codewords_is_no_accident(name):
    vectors = np.repeat(np.eye(3), 4, axis=0)
    found = fit_quantizer(vectors, QUANTIZERS[name].model_copy(update={"epochs": 5}))
    code = found.encode(vectors)
    assert len(np.unique(code, axis=0)) <= 3
    assert np.isfinite(found.decode(code)).all()


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("vectors", [np.ones((1, 5)), np.zeros((30, 5)), np.eye(2)[[0, 0, 1]]])
def test_one_item_or_all_alike_is_no_accident(name, vectors):
    found = fit_quantizer(vectors, QUANTIZERS[name].model_copy(update={"epochs": 3}))
    code = found.encode(vectors)
    assert code.shape == (len(vectors), 3)
    assert len(np.unique(code, axis=0)) <= len(np.unique(vectors, axis=0))
    assert np.isfinite(found.decode(code)).all()


def test_no_item_at_all_is_one_clear_line():
    with pytest.raises(BadInput, match="no item was born by the cut"):
        fit_quantizer(np.empty((0, 5)), SidParams())


def test_the_codebook_grows_with_the_catalogue_by_powers_of_two():
    sizes = [codebook_size(n, SidParams()) for n in (3, 40, 400, 806, 12_101, 10**6)]
    assert sizes == [3, 4, 32, 64, 256, 256]
    assert codebook_size(400, SidParams(codebook_size=100)) == 100


def test_the_codebook_of_a_small_catalogue_grows_until_its_codes_tell_items_apart():
    """Eighty items of which most are nearly one: four codewords a level leave them together."""
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(4, 16)), 20, axis=0)
    vectors = alike + 0.05 * rng.normal(size=alike.shape)
    few = fit_quantizer(vectors, SidParams(codebook_size=4))
    grown = fit_quantizer(vectors, SidParams())
    assert capacity(few.encode(vectors)) < 0.5, "or there was nothing to mend"
    assert capacity(grown.encode(vectors)) >= 0.6
    assert grown.codeword_LKD.shape[1] > codebook_size(80, SidParams())
    many = np.repeat(vectors, 4, axis=0)
    assert fit_quantizer(many, SidParams()).codeword_LKD.shape[1] == 16, "as in published codes"


def test_mini_batches_of_everything_give_the_codes_of_residual_k_means(world):
    whole = SidParams(quantizer="minibatch", codebook_size=8, batch_size=1024)
    found, plain = fit_quantizer(world[0], whole), fit_quantizer(world[0], QUANTIZERS["rkmeans"])
    assert found.codeword_LKD.tobytes() == plain.codeword_LKD.tobytes()


def test_coarse_levels_of_rq_fsq_are_those_of_residual_k_means(world):
    plain = fit_quantizer(world[0], QUANTIZERS["rkmeans"]).codeword_LKD
    for levels in (1, 2, 3):
        params = SidParams(quantizer="rq_fsq", codebook_size=8, coarse_levels=levels)
        found = fit_quantizer(world[0], params)
        same = [np.array_equal(found.codeword_LKD[level], plain[level]) for level in range(3)]
        assert same == [True] * levels + [False] * (3 - levels)


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_a_vector_that_is_not_finite_is_one_clear_line(name, value):
    vectors = np.ones((30, 5))
    vectors[7, 2] = value
    with pytest.raises(BadInput, match="item vector 7 holds a value that is not finite"):
        fit_quantizer(vectors, QUANTIZERS[name])


def test_codewords_that_are_not_finite_are_never_kept(world, monkeypatch):
    broken = ResidualKMeans(np.full((3, 8, 12), np.nan))
    monkeypatch.setattr(rkmeans, "fit", lambda *_: broken)
    with pytest.raises(BadInput, match="rkmeans learnt codewords that are not finite"):
        fit_quantizer(world[0], QUANTIZERS["rkmeans"])


@pytest.mark.parametrize("value", [1e7, float("inf"), float("nan")])
@pytest.mark.parametrize(
    "name",
    [*(f"{block}_weight" for block in SidParams().block_weights), "price_weight", "commitment",
     "spread", "contrast", "graph_pull", "order_pull"],
)  # fmt: skip
def test_a_weight_beyond_all_others_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        SidParams(**{name: value})
