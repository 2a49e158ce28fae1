"""The tables of a run as arrays, and what follows from the split: who learns, who is asked when.

Legend: U users, V items with padding first, C code levels, R requests, P events of a part, N of
them that count, Q users that are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tessera.contracts.split import Split, load_split
from tessera.model.params import SequenceParams
from tessera.model.sequences.catalogue import (
    Catalogue,
    read_catalogue,
    read_closes,
    read_codes,
)
from tessera.model.sequences.edges import read_edges
from tessera.model.sequences.exposure_log import Log, Sources, read_log
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.reading import read_histories
from tessera.shared.features.prices import PriceHistory


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything a model is fitted on."""

    split: Split
    catalogue: Catalogue
    codes_VC: Tensor
    """No columns when codes are not used."""
    histories: Histories
    log: Log | None = None
    """Logged slates; None trains no ranking head."""
    edge_VV: Tensor | None = None
    """Edges for the attention of HSTU; None tells it of none."""
    closes: PriceHistory | None = None
    """None where nothing has a price."""


def read_dataset(
    sources: Sources,
    split: Path,
    scratch: Path,
    params: SequenceParams,
    *,
    with_log: bool = True,
) -> Dataset:
    """Read what a model is fitted on.

    Parameters
    ----------
    sources : Sources
        Tables of the run.
    split : Path
        Its periods.
    scratch : Path
        Folder for what grows with the log.
    params : SequenceParams
        What of them is read, and how.
    with_log : bool
        Read the logged slates too, which nothing but rankers learns from.
    """
    periods = load_split(split)
    catalogue = read_catalogue(sources.items)
    codes_VC = read_codes(sources.codes, catalogue.vocabulary)
    if not params.use_codes:
        codes_VC = torch.empty(len(codes_VC), 0, dtype=torch.long)
    scratch.mkdir(parents=True, exist_ok=True)
    histories = read_histories(
        sources.events, periods, catalogue.vocabulary, tied_sets=params.tied_sets, folder=scratch
    )
    log = None
    if with_log:
        log = read_log(sources, histories, catalogue, codes_VC.numpy(), periods, params)
    edge_VV = read_edges(sources.edges, catalogue.vocabulary) if params.edge_bias else None
    closes = log.facts.closes if log else read_closes(sources.prices, catalogue.vocabulary)
    return Dataset(periods, catalogue, codes_VC, histories, log, edge_VV, closes)
