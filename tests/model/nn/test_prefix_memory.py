"""Prefixes are remembered: an item that is what its whole prefix says is read right."""

import pytest
import torch

from tessera.contracts.errors import BadParams
from tessera.model.nn.codewords import CodewordSettings
from tessera.model.nn.device import threads
from tessera.model.nn.prefix_memory import PrefixSettings, runs_of
from tessera.model.params import HstuParams
from tessera.model.training.shape import _item_input

SIZES, WIDTH, ITEMS = (9, 9, 9), 16, 600


@pytest.fixture(scope="module")
def planted():
    """Items whose latent is drawn anew for each pair of the first two codewords."""
    rng = torch.Generator().manual_seed(0)
    codes_VC = torch.randint(1, 9, (ITEMS, 3), generator=rng)
    latent_PD = torch.randn(81, 4, generator=rng)
    latent_VD = latent_PD[codes_VC[:, 0] * 9 + codes_VC[:, 1]]
    return codes_VC, latent_VD + 0.1 * torch.randn(latent_VD.shape, generator=rng)


def explained(settings, planted):
    """Return which share of the latents of held out items a linear probe reads from the input."""
    codes_VC, latent_VD = planted
    torch.manual_seed(1)
    with threads(1):
        module, probe = settings.build(WIDTH), torch.nn.Linear(WIDTH, 4)
        optimizer = torch.optim.Adam([*module.parameters(), *probe.parameters()], lr=0.02)
        own_VD, unseen_V = torch.zeros(ITEMS, WIDTH), torch.zeros(ITEMS).bool()
        learns_V = torch.arange(ITEMS) % 5 > 0
        for _ in range(300):
            wrong_VD = probe(module(own_VD, codes_VC, unseen_V)) - latent_VD
            optimizer.zero_grad()
            wrong_VD[learns_V].square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            wrong_VD = (probe(module(own_VD, codes_VC, unseen_V)) - latent_VD)[~learns_V]
    spread_VD = latent_VD[~learns_V] - latent_VD[learns_V].mean(0)
    return 1 - float(wrong_VD.square().sum() / spread_VD.square().sum())


def test_what_hangs_on_a_prefix_is_read_and_few_rows_undo_it(planted):
    alone = explained(CodewordSettings(SIZES, 0.0), planted)
    remembered = explained(PrefixSettings(SIZES, 0.0, rows=512, hashes=4), planted)
    crowded = explained(PrefixSettings(SIZES, 0.0, rows=5, hashes=4), planted)
    assert remembered > alone + 0.15
    assert remembered > 0.8
    assert crowded < alone + 0.5 * (remembered - alone)


def test_it_begins_as_the_sum_of_codewords():
    torch.manual_seed(0)
    module = PrefixSettings(SIZES, 0.0, rows=64, hashes=2).build(WIDTH)
    torch.manual_seed(0)
    plain = CodewordSettings(SIZES, 0.0).build(WIDTH)
    codes_VC = torch.randint(9, (20, 3))
    asked = torch.randn(20, WIDTH), codes_VC, torch.ones(20).bool()
    assert torch.equal(module(*asked), plain(*asked))
    assert [one.data_ptr() for one in module.codebook()] == [
        module.get_parameter(str(level)).data_ptr() for level in range(3)
    ]


def test_equal_prefixes_share_rows_and_others_hardly_ever_all_of_them():
    module = PrefixSettings(SIZES, 0.0, rows=64, hashes=4).build(WIDTH)
    row_VGH = module.rows(torch.tensor([[1, 2, 3], [1, 2, 4], [4, 2, 3]]))
    first, at_end, whole = 0, 1, 2
    assert runs_of(3) == (slice(0, 2), slice(1, 3), slice(0, 3))
    assert torch.equal(row_VGH[0, first], row_VGH[1, first])
    assert torch.equal(row_VGH[0, at_end], row_VGH[2, at_end])
    assert not torch.equal(row_VGH[0, first], row_VGH[2, first])
    assert not torch.equal(row_VGH[0, whole], row_VGH[1, whole])


def test_a_code_that_is_none_remembers_nothing():
    module = PrefixSettings(SIZES, 0.0, rows=64, hashes=2).build(WIDTH)
    torch.nn.init.normal_(module.projection_ND)
    codes_VC = torch.tensor([[0, 0, 0], [3, 0, 0], [3, 2, 0]])
    asked = torch.zeros(3, WIDTH), codes_VC, torch.zeros(3).bool()
    plain_VD = sum(module.get_parameter(str(n))[codes_VC[:, n]] for n in range(3))
    told_VD = module(*asked)
    torch.testing.assert_close(told_VD[:2], plain_VD[:2])
    assert not torch.allclose(told_VD[2], plain_VD[2])


def test_one_level_has_no_prefix():
    params = HstuParams(item_input="prefix")
    with pytest.raises(BadParams, match="wants at least 2 levels of codes, not 1"):
        _item_input((9,), ITEMS, params)
    assert _item_input((9, 9), ITEMS, params).sizes == (9, 9)
    assert _item_input((9,), ITEMS, HstuParams()) is None
