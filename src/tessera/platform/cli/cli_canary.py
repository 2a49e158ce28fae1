"""`tessera canary`: how the canary does beside the champion, from the served log as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tessera.contracts.errors import BadInput
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

if TYPE_CHECKING:
    from tessera.serve.trial import Difference, Units

_LOOKS = 8
"""Lines of the sequence, each with as many further investors as the one before."""


def canary(
    version: Annotated[
        str | None, typer.Option(help="Canary that was tried; by default the newest.")
    ] = None,
    profile: Profile = DEFAULT_PROFILE,
) -> None:
    """Show canary minus champion with bounds that hold at every look, from the served log."""
    from tessera.platform.workspace.params import serve_params
    from tessera.serve.hours import records
    from tessera.serve.trial import Trial, newest

    workspace = open_workspace(profile)
    params = serve_params(workspace)
    logged = list(records(workspace.served))
    found = newest(logged, version)
    if found is None:
        named = f"canary {version}" if version else "canary"
        raise BadInput(f"the log tells of no {named}: name one in serve.canary and serve")
    tried, identity = found
    trial = Trial(identity, params.canary_days)
    trial.read(logged)
    rewards, dismissals = trial.rewards(), trial.dismissals()
    if not len(rewards.value_N):
        raise BadInput(
            f"nobody's window of {params.canary_days:g} days since the first slate beside {tried} "
            "is over: ask again later"
        )
    typer.echo(f"canary {tried}: each investor once, by {params.canary_days:g} days of slates")
    _show("slates with a click or a purchase", rewards, params.canary_alpha)
    _show("items shown that were dismissed", dismissals, params.canary_alpha)
    end = _ends(dismissals, params.canary_margin, params.canary_alpha)
    typer.echo(f"dismissals above the champion's by more than {params.canary_margin:.2%}: {end}")


def _ends(dismissals: Units, margin: float, alpha: float) -> str:
    from tessera.serve.trial import exceeds

    return "yes, the canary ends" if exceeds(dismissals, margin, alpha) else "not shown"


def _show(what: str, units: Units, alpha: float) -> None:
    from tessera.serve.trial import difference

    typer.echo(f"{what}\n  investors  champion    canary  difference, within")
    count = len(units.value_N)
    for look in dict.fromkeys(max(count * n // _LOOKS, 1) for n in range(1, _LOOKS + 1)):
        typer.echo(_line(difference(units.until(look), alpha)))


def _line(found: Difference) -> str:
    gap = found.canary - found.champion
    return (
        f"  {found.units:9d}  {found.champion:8.2%}  {found.canary:8.2%}  {gap:+.2%}, "
        f"{found.lower:+.2%} to {found.upper:+.2%}"
    )
