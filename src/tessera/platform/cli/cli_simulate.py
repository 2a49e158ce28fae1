"""`tessera simulate`: the closed loop on a market whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from tessera.platform.workspace.paths import find_root


def simulate(
    days: Annotated[int, typer.Option(min=2, max=365, help="Days that are played.")] = 30,
    seed: Annotated[
        int, typer.Option(min=0, max=10_000, help="Another one is another market.")
    ] = 0,
    scenario: Annotated[
        str, typer.Option(help="What happens in the middle: calm, drift, births or attack.")
    ] = "calm",
    users: Annotated[int, typer.Option(min=50, max=20_000, help="Investors.")] = 1_000,
    visits: Annotated[
        int | None, typer.Option(min=20, help="Visits a day; as many as investors by default.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, max=90, help="Days between two retrainings.")] = 5,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="Train with hstu.inverse_propensity.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Folder of the simulation; data/simulations/... by default."),
    ] = None,
) -> None:
    """Let investors answer the running service, retrain, judge and publish, and tell the truth.

    Killed, it goes on behind the last whole day when it is called again.
    """
    from tessera.platform.simulate.page import write_page
    from tessera.platform.simulate.plan import Plan, Scenario
    from tessera.platform.simulate.simulate import simulate as play
    from tessera.platform.simulate.told import show

    plan = Plan(days, seed, cast(Scenario, scenario), users, visits or users, every, weighted)
    root = find_root()
    folder = into or root / "data" / "simulations" / plan.name
    found = play(folder, plan, root, lambda line: typer.echo(line))
    show(found)
    typer.echo(f"page: {write_page(found, folder / 'simulation')}")
