"""Codes of the vectors that a trunk has learnt, by k-means or its decoder's codebook (decision 61).

DGI (arXiv 2603.10409) gives an item the codewords that what is left of its vector is nearest to by
cosine, level by level.  Vectors are the trunk's own: closed forms, which a published vector ends
in, are not in them.

Legend: N items in the order of their ids, D width, L levels, V items with padding first, Q people
who are asked.
"""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.split import TEST
from tessera.contracts.tables import GENERATIVE
from tessera.model.params import HstuParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.trunk.generated import generate
from tessera.model.trunk.inference import trunk_states
from tessera.model.trunk.model import SequenceModel
from tessera.shared.codes.health import capacity, collision_rate
from tessera.stages.sid.codebooks import Quantizer, ResidualKMeans
from tessera.stages.sid.declared import LINKS, declared_links, filled
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import fit_quantizer


def vectors_of(model: SequenceModel) -> tuple[Float64s, Bools]:
    """Return unit vectors of items [N, D], and which were learnt from events."""
    with torch.inference_mode():
        unit_VD = functional.normalize(model.items(), dim=-1).double().numpy()
    return unit_VD[1:], model.warm_V.numpy()[1:]


def placed(vector_ND: Float64s, seen_N: Bools, items: ibis.Table) -> Float64s:
    """Return vectors [N, D] in which an item that nobody met lies with what is declared like it."""
    rows = items.order_by("item_id").select(*LINKS).to_pyarrow().to_pydict()
    link_NV = declared_links(list(zip(*rows.values(), strict=True)))
    around_ND = filled(np.where(seen_N[:, None], vector_ND, np.nan), link_NV)
    return np.where(np.isnan(around_ND), vector_ND[seen_N].mean(axis=0), around_ND)


def own_book(vector_ND: Float64s, seen_N: Bools, like: Quantizer, seed: int) -> Quantizer:
    """Learn residual k-means from what was met, with as many levels and codewords as another."""
    levels, size, _ = like.codeword_LKD.shape
    params = SidParams(levels=levels, codebook_size=size, seed=seed)
    return fit_quantizer(vector_ND[seen_N], params)


def joint_book(model: SequenceModel) -> ResidualKMeans:
    """Return the decoder's own codebook as what gives codes.

    Codewords have length 1, so the nearest one is that of the highest cosine.  A level that is
    short of codewords repeats its first, which ties go to.
    """
    with torch.inference_mode():
        books = [functional.normalize(one[1:], dim=-1).double().numpy() for one in model.codebook()]
    most = max(map(len, books))
    full = [np.vstack([one, np.repeat(one[:1], most - len(one), 0)]) for one in books]
    return ResidualKMeans(np.stack(full))


def codes_told(code_NL: Ints) -> dict[str, float]:
    """Return share of items without a code of their own, and effective codes by item."""
    told = {"collision_rate": collision_rate(code_NL), "capacity": capacity(code_NL)}
    return {name: round(float(value), 6) for name, value in told.items()}


def agreement(code_NL: Ints, other_NL: Ints) -> list[float]:
    """Return by level the share of items that have the same codeword there.

    >>> agreement(np.array([[0, 1], [2, 3]]), np.array([[0, 1], [2, 1]]))
    [1.0, 0.5]
    """
    return [round(float(share), 4) for share in (code_NL == other_NL).mean(axis=0)]


def decoded(model: SequenceModel, dataset: Dataset, code_NL: Ints, params: HstuParams) -> pa.Table:
    """List what a beam search over these codes [N, L] finds, with the weights as they are.

    States and vectors of items stay those that were learnt; only the trie is another.
    """
    assert model.decoder is not None, "it was trained to decode"
    asked = dataset.ask(TEST, params)
    state_QD = trunk_states(model, dataset.histories, asked.windows)
    codes_VC = functional.pad(torch.from_numpy(code_NL) + 1, (0, 0, 1, 0))
    lists = generate(model, model.decoder, asked, state_QD, params, codes_VC)
    return dataset.listed(model.shape.kind + GENERATIVE, asked, lists)
