"""The entry point of the baselines: plainer models answer the same question on the same budget."""

from __future__ import annotations

from pathlib import Path

import ibis
import pyarrow as pa

from tessera.contracts.tables import BASELINE_LISTS
from tessera.model.baselines.ranker_baselines import ranker_figures
from tessera.model.baselines.two_tower import list_two_tower
from tessera.model.nn.device import threads
from tessera.model.params import BaselinesParams
from tessera.model.sequences.exposure_log import Sources
from tessera.model.sequences.reading import read_dataset
from tessera.model.training.curves import write_training
from tessera.model.training.fit import fit
from tessera.model.trunk.lists import rank_users, write_lists


def run(
    *,
    events: ibis.Table,
    items: ibis.Table,
    users: ibis.Table,
    prices: ibis.Table,
    exposures: ibis.Table,
    outcomes: ibis.Table,
    edges: ibis.Table,
    codes: ibis.Table,
    cate: ibis.Table,
    split: Path,
    baseline_lists: Path,
    baseline_training: Path,
    scratch: Path,
    params: BaselinesParams,
) -> dict[str, float]:
    """Train what section `hstu` asks for beside the trunk; list items, and measure the rankers."""
    baseline_training.mkdir(parents=True, exist_ok=True)
    parts: list[pa.Table] = []
    metrics: dict[str, float] = {}
    with threads(params.threads):
        sources = Sources(events, codes, users, items, prices, exposures, outcomes, edges, cate)
        dataset = read_dataset(sources, split, scratch, params, with_log=params.rankers)
        if params.sasrec:
            trained = fit("sasrec", dataset, params, scratch)
            parts.append(rank_users(trained.model, dataset, params))
            write_training(trained.state, "sasrec", baseline_training)
            metrics |= {f"sasrec_{name}": value for name, value in trained.figures().items()}
        if params.two_tower:
            part, figures = list_two_tower(dataset, params, baseline_training)
            parts.append(part)
            metrics |= figures
        write_lists(parts, BASELINE_LISTS, baseline_lists)
        if params.rankers:
            metrics |= ranker_figures(users, exposures, dataset, params.features, params)
    return metrics
