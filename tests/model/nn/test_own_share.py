"""A share says how much of an item is its own: where it can be told, items are read better."""

import pytest
import torch
from torch.nn import functional

from tessera.contracts.errors import BadParams
from tessera.model.nn.codewords import CodewordSettings
from tessera.model.nn.device import threads
from tessera.model.nn.own_share import MATURITY, OwnShareSettings
from tessera.model.params import HstuParams
from tessera.model.training.shape import _item_input

SIZES, WIDTH, ITEMS = (9,), 8, 800
CODE_NOISE, STALE, STALE_SHARE = 1.0, 2.5, 0.2
SHARES = ("shrink", "logistic", "net")


@pytest.fixture(scope="module")
def planted():
    """Items near the middle of their codeword, whose own vectors missed them by so much.

    The more answers the less, but for a fifth of the items: these are old, and what investors see
    in them changed since most of the answers came.
    """
    rng = torch.Generator().manual_seed(0)
    code_V = torch.randint(1, 9, (ITEMS,), generator=rng)
    middle_KD = functional.normalize(torch.randn(9, WIDTH, generator=rng), dim=1)
    away_VD = functional.normalize(torch.randn(ITEMS, WIDTH, generator=rng), dim=1)
    latent_VD = functional.normalize(middle_KD[code_V] + CODE_NOISE * away_VD, dim=1)
    answered_V = torch.exp(torch.rand(ITEMS, generator=rng) * 6.0)
    is_stale_V = torch.rand(ITEMS, generator=rng) < STALE_SHARE
    days_V = torch.where(is_stale_V, 900.0, 60.0) * (0.5 + torch.rand(ITEMS, generator=rng))
    miss_V = torch.where(is_stale_V, STALE, 3.0 / answered_V.sqrt())
    wrong_VD = functional.normalize(torch.randn(ITEMS, WIDTH, generator=rng), dim=1)
    maturity_VF = torch.stack([days_V, 10 * answered_V, answered_V], 1).log1p()
    own_VD = functional.normalize(latent_VD + miss_V[:, None] * wrong_VD, dim=1)
    return code_V[:, None], own_VD, latent_VD, maturity_VF


def read_right(share, planted, shuffled=False):
    """Return the mean cosine of held out items with what they are, after learning from the rest."""
    codes_VC, own_VD, latent_VD, maturity_VF = planted
    learns_V, warm_V = torch.arange(ITEMS) % 4 > 0, torch.ones(ITEMS).bool()
    if shuffled:
        maturity_VF = maturity_VF[torch.randperm(ITEMS, generator=torch.Generator().manual_seed(1))]
    torch.manual_seed(2)
    with threads(1):
        if share is None:
            module = CodewordSettings(SIZES, 0.0).build(WIDTH)
        else:
            module = OwnShareSettings(SIZES, 0.0, ITEMS, share).build(WIDTH)
            module.tell(maturity_VF, learns_V.nonzero()[:, 0])
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(300):
            found_VD = module(own_VD, codes_VC, warm_V)
            loss = 1 - functional.cosine_similarity(found_VD, latent_VD)[learns_V].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found_VD = module(own_VD, codes_VC, warm_V)
    return float(functional.cosine_similarity(found_VD, latent_VD)[~learns_V].mean())


@pytest.fixture(scope="module")
def right(planted):
    return {share: read_right(share, planted) for share in (None, *SHARES)}


def test_shrinkage_beats_the_sum_and_a_share_beats_it_where_maturity_is_not_answers_alone(right):
    assert right["shrink"] > right[None] + 0.004
    assert right["logistic"] > right["shrink"] + 0.015
    assert right["net"] > right["shrink"] + 0.015


def test_facts_of_other_items_undo_it(right, planted):
    for share in ("logistic", "net"):
        gain = right[share] - right[None]
        assert read_right(share, planted, shuffled=True) < right[None] + 0.3 * gain


@pytest.mark.parametrize("share", ["logistic", "net"])
def test_a_share_begins_as_the_sum_of_codewords(share):
    sizes, codes_VC = (9, 9), torch.randint(9, (20, 2))
    torch.manual_seed(0)
    module = OwnShareSettings(sizes, 0.0, 20, share).build(WIDTH)
    module.tell(torch.rand(20, len(MATURITY)), torch.arange(1, 20))
    torch.manual_seed(0)
    plain = CodewordSettings(sizes, 0.0).build(WIDTH)
    asked = torch.randn(20, WIDTH), codes_VC, torch.arange(20) < 15
    assert torch.equal(module(*asked), plain(*asked))


def test_more_answers_make_more_of_an_item_its_own():
    module = OwnShareSettings(SIZES, 0.0, 4, "shrink").build(WIDTH)
    answered_V = torch.tensor([0.0, 1.0, 10.0, 1000.0])
    maturity_VF = torch.stack([answered_V] * 3, 1).log1p()
    module.tell(maturity_VF, torch.arange(1, 4))
    share_V = module.share(torch.randn(4, WIDTH), torch.ones(4).bool())
    torch.testing.assert_close(share_V, answered_V / (answered_V + 10))


@pytest.mark.parametrize("share", SHARES)
def test_an_item_that_is_seen_by_its_code_alone_is_one_that_nobody_met(share):
    module = OwnShareSettings(SIZES, 1.0, 6, share).build(WIDTH)
    for weight in module.parameters():
        torch.nn.init.normal_(weight)
    module.tell(torch.rand(6, len(MATURITY)), torch.arange(1, 6))
    asked = torch.randn(6, WIDTH), torch.ones(6, 1).long()
    dropped = module.train()(*asked, torch.ones(6).bool())
    unseen = module.eval()(*asked, torch.zeros(6).bool())
    assert torch.equal(dropped, unseen)
    assert torch.equal(unseen, unseen[:1].expand(6, -1)), "they differ in nothing that is known"


def test_a_share_weighs_codes_so_there_must_be_some():
    params = HstuParams(item_input="weighed", own_share="shrink")
    with pytest.raises(BadParams, match="set hstu.use_codes to true"):
        _item_input((), ITEMS, params)
    assert _item_input((9,), ITEMS, params) == OwnShareSettings((9,), 0.1, ITEMS, "shrink")
