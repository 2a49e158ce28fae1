"""Writes the embedded market: the raw files of a bank, and the answers beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tessera.contracts.progress import progress_bar
from tessera.stages.synth import files, truth
from tessera.stages.synth.assets import draw_assets
from tessera.stages.synth.behaviour import Market, build_market
from tessera.stages.synth.communities import joined
from tessera.stages.synth.investors import draw_investors
from tessera.stages.synth.journal import Journal
from tessera.stages.synth.log import draw_visits, simulate
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.prices import draw_closes
from tessera.stages.synth.searches import draw_searches


def draw_market(params: SynthParams) -> Market:
    """Draw all that is fixed before the first visit; each part has its own stream of chance."""
    people, things, closes, rest = (np.random.default_rng((params.seed, k)) for k in range(4))
    assets = draw_assets(params, things)
    investors = draw_investors(params, people)
    investors, assets = joined(params, investors, assets)
    return build_market(params, investors, assets, draw_closes(assets, params.days, closes), rest)


def run(*, source: Path, params: SynthParams) -> dict[str, float]:
    """Simulate the market and write its files; rows come in the order of the source.

    Parameters
    ----------
    source : Path
        Folder to create.
    params : SynthParams
        Size, logging policy and planted effects.
    """
    source.mkdir(parents=True, exist_ok=True)
    market = draw_market(params)
    rng = np.random.default_rng((params.seed, 4))
    metrics: dict[str, float] = {
        "users": files.write_users(market, source / "users.parquet"),
        "items": files.write_items(market, source / "items.parquet", rng),
        "prices": files.write_prices(market, source / "prices.parquet"),
    }
    if linked := files.write_links(market, source / "links.parquet"):
        metrics["links"] = linked
    truth.write_market(market, source / truth.FOLDER)
    answers = truth.TruthSink(source / truth.FOLDER, market)
    journal = Journal(market, source, rng)
    user_N, at_us_N = draw_visits(market, rng)
    with progress_bar("simulating visits", len(user_N)) as bar:
        for chunk in simulate(market, user_N, at_us_N, (params.seed, 5)):
            journal.add(chunk)
            answers.add(chunk)
            bar.advance(len(chunk.slates.user_N))
    for found in draw_searches(market, user_N, at_us_N):
        journal.add_searches(found)
    answers.close()
    metrics |= journal.close()
    return {name: float(value) for name, value in metrics.items()}
