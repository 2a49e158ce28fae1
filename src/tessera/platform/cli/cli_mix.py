"""`tessera mix`: learn which retrievers share the places, and say what it earns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from tessera.contracts.errors import BadInput
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

if TYPE_CHECKING:  # torch takes seconds
    from pathlib import Path

    import pyarrow as pa

    from tessera.serve.engine import Engine
    from tessera.serve.mix import Acquisition, Learnt
    from tessera.serve.params import ServeParams
    from tessera.stages.index.params import IndexParams

_STEP = 8
"""Deals in which the places go out: with 40 places, 5 at a time."""


def mix(
    most: Annotated[int, typer.Option(min=2, help="Acquisitions to ask about at most.")] = 3000,
    seed: Annotated[int, typer.Option(help="Which of them, if there are more.")] = 0,
    profile: Profile = DEFAULT_PROFILE,
) -> None:
    """Learn the shares of the retrievers from what was acquired after the published cut."""
    found, _ = learnt_of(open_workspace(profile), most, seed)
    gain, error = found.gain
    told = ", ".join(f"{name}: {share:g}" for name, share in found.shares.items())
    typer.echo(f"learnt from {found.learnt_from} acquisitions: serve.shares: {{{told}}}")
    typer.echo(
        f"of {len(found.found_Q)} later ones it finds {found.found_Q.mean():.1%}, what is served "
        f"{found.served_Q.mean():.1%}: {gain:+.2%} +- {error:.2%}"
    )
    if gain > error:
        typer.echo(f"to serve it, write it into profiles/{profile}.yaml, section serve")
    else:
        typer.echo("it earns nothing beyond chance: leave what is served")


def learnt_of(workspace: Workspace, most: int, seed: int) -> tuple[Learnt, ServeParams]:
    """Learn from the events of a profile that lie after the cut of its published bundle.

    Raises
    ------
    BadInput
        If nothing was acquired since, of what may be listed.
    """
    from tessera.platform.release.pointer import current_bundle
    from tessera.platform.workspace.params import load_params, serve_params
    from tessera.serve.engine import Engine
    from tessera.serve.mix import learnt

    bundle, params = current_bundle(workspace), serve_params(workspace)
    actions = cast("IndexParams", load_params(workspace)["index"]).acquired
    engine = Engine.open(bundle, params)
    chosen = acquired_since(engine, bundle, workspace.artifact("events"), actions, most, seed)
    found = learnt(engine, chosen, -(-params.retrieved // _STEP)) if chosen else None
    if found is None or not found.learnt_from or not len(found.found_Q):
        raise BadInput(
            f"too little was acquired after the cut of {bundle.name} to learn from: run it again "
            "when more has happened, with the events ingested"
        )
    return found, params


def acquired_since(
    engine: Engine, bundle: Path, path: Path, actions: tuple[str, ...], most: int, seed: int
) -> list[Acquisition]:
    """Choose acquisitions after the cut of a bundle from a table of events, and tell the engine.

    It then knows what those who acquired did since, whatever it was.

    Raises
    ------
    BadInput
        If there is no such table.
    """
    events = _later(path, bundle)
    chosen = _acquisitions(events, actions, most, seed)
    _tell(engine, events, {one.user_id for one in chosen})
    return chosen


def _later(path: Path, bundle: Path) -> pa.Table:
    import pyarrow.parquet as pq

    from tessera.contracts.split import load_split

    if not path.exists():
        raise BadInput(f"{path} is not there: run `tessera run` first")
    columns = ["event_id", "user_id", "item_id", "action", "event_ts"]
    after = [("event_ts", ">", load_split(bundle / "split.json").cut)]
    return pq.read_table(path, columns=columns, filters=after).sort_by("event_id")


def _acquisitions(
    events: pa.Table, actions: tuple[str, ...], most: int, seed: int
) -> list[Acquisition]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from tessera.model.sequences.catalogue import microseconds
    from tessera.serve.mix import Acquisition

    rows = events.filter(pc.is_in(events["action"], pa.array(actions)))
    count = min(most, len(rows))
    rows = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:count]))
    columns = (rows["user_id"].to_pylist(), rows["item_id"].to_pylist())
    return [
        Acquisition(*one)
        for one in zip(*columns, microseconds(rows["event_ts"]).tolist(), strict=True)
    ]


def _tell(engine: Engine, events: pa.Table, users: set[str]) -> None:
    """Let the engine know what these investors did; nobody else's acts change what is retrieved."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from tessera.model.sequences.catalogue import microseconds

    rows = events.filter(pc.is_in(events["user_id"], pa.array(sorted(users), pa.string())))
    names = ("event_id", "user_id", "item_id", "action")
    columns = [rows[name].to_pylist() for name in names]
    for one in zip(*columns, microseconds(rows["event_ts"]).tolist(), strict=True):
        engine.scorer.state.add(*one)
