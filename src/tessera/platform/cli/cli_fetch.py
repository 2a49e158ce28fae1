"""`tessera fetch`: what another registry published, on this machine."""

from __future__ import annotations

import typer

from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace


def fetch(profile: Profile = DEFAULT_PROFILE) -> None:
    """Bring what another registry published (TESSERA_PUBLISHED) here, every hash checked."""
    from tessera.platform.release.mirror import open_mirror
    from tessera.platform.release.pointer import current_bundle

    workspace = open_workspace(profile)
    mirror = open_mirror(workspace)
    mirror.mend()
    told = mirror.fetch()
    typer.echo(
        f"{current_bundle(workspace).name} of {mirror.store.address} is here after act "
        f"{told['n']}, every hash matches"
    )
