"""The part of the command line that changes or shows what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

Profile = Annotated[str, typer.Option(help="Name of a file in profiles/, without .yaml.")]
Approver = Annotated[str | None, typer.Option(help="Who answers for it; recorded for ever.")]


def publish(
    profile: Profile = DEFAULT_PROFILE,
    override_reason: Annotated[
        str | None, typer.Option(help="Publish even against the verdict; this reason is recorded.")
    ] = None,
) -> None:
    """Publish the new model if its verdict or a recorded reason allows it, as a run does."""
    from tessera.platform.pipeline import main_job

    done = main_job.publish(open_workspace(profile), override_reason)
    state = f"published {done.version}" if done.moved else f"{done.version or 'nothing'} stays"
    typer.echo(f"{done.decision}: {state} ({done.reason})")


def verdict(
    profile: Profile = DEFAULT_PROFILE,
    version: Annotated[str | None, typer.Option(help="Of this published version, as v1.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Write the page with pictures to this file.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check its signature.")] = False,
) -> None:
    """Show the verdict on the new model, or on a published version, with its evidence."""
    workspace = open_workspace(profile)
    from tessera.platform.cli.summary import check_signature, save_page, show_verdict

    if check:
        typer.echo(check_signature(workspace, version or None))
        return
    if page is not None:
        save_page(workspace, page, version or None)
    if as_json:
        from tessera.platform.release.acts import proposal

        typer.echo(json.dumps(proposal(workspace, version or None)))
    elif page is not None:
        typer.echo(page)
    else:
        show_verdict(workspace, version=version)


def promote(
    profile: Profile = DEFAULT_PROFILE,
    version: Annotated[
        str | None,
        typer.Option("--version", "--bundle", help="Bring this published version back."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, if the verdict is not PROMOTE; recorded for ever.")
    ] = None,
    approver: Approver = None,
    identity: Annotated[
        str | None,
        typer.Option(help="Publish only the bundle of this identity (that was approved)."),
    ] = None,
) -> None:
    """Publish the new model: by its verdict, or against it with a reason and an approver."""
    from tessera.platform.release import acts
    from tessera.platform.release.overrides import Override

    given = Override(reason, approver)
    done = acts.promote(open_workspace(profile), version or None, given, identity or None)
    state = f"published {done.version}" if done.moved else f"{done.version} stays"
    typer.echo(f"{done.decision}: {state} ({done.reason})")


def hold(
    reason: Annotated[str, typer.Option(help="Why; recorded for ever.")],
    profile: Profile = DEFAULT_PROFILE,
    approver: Approver = None,
    identity: Annotated[
        str | None,
        typer.Option(help="Turn down only the bundle of this identity (that was shown)."),
    ] = None,
) -> None:
    """Turn down the new model that waits for approval."""
    from tessera.platform.release import acts

    done = acts.hold(open_workspace(profile), reason, approver or None, identity or None)
    typer.echo(f"{done.decision}: {done.version} stays ({done.reason})")


def rollback(
    reason: Annotated[str, typer.Option(help="Why; recorded for ever.")],
    profile: Profile = DEFAULT_PROFILE,
    to: Annotated[
        str | None, typer.Option(help="A version further back, as v1; else the one before.")
    ] = None,
    approver: Approver = None,
) -> None:
    """Publish the version before the current one again, byte for byte."""
    from tessera.platform.release import acts

    done = acts.rollback(open_workspace(profile), to or None, reason, approver or None)
    typer.echo(f"rolled back to {done.version}, every hash matches ({done.reason})")


def history(
    profile: Profile = DEFAULT_PROFILE,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the chain of hashes; exit with 2 if it is broken."),
    ] = False,
) -> None:
    """Show who published what, when and why, newest first."""
    from tessera.platform.cli.history_table import show_history

    show_history(open_workspace(profile), verify)


def floors(
    profile: Profile = DEFAULT_PROFILE,
    moved: Annotated[
        list[str] | None,
        typer.Option("--set", help="Move this limit, as min_ess=50; may be repeated."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded for ever.")] = None,
    approver: Approver = None,
) -> None:
    """Show how loose the params of the gate may be, or move a limit (recorded for ever)."""
    from tessera.platform.release.acts import move_floors
    from tessera.platform.release.floors import FLOORS, pinned
    from tessera.platform.release.overrides import Override

    workspace = open_workspace(profile)
    found = (
        move_floors(workspace, moved, Override(reason, approver)) if moved else pinned(workspace)
    )
    for name, value in found.items():
        side = "at most" if FLOORS[name].stricter == "lower" else "at least"
        typer.echo(f"ope.{name}: {side} {value:g}")
    if moved and workspace.artifact("verdict").exists():
        again = f"tessera run --profile {workspace.profile} --from-stage ope"
        typer.echo(f"the present verdict was made under the former floors; judge again: {again}")
