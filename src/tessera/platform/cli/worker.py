"""A process of `tessera serve --workers`: `python -m`, with its order on standard input."""

from __future__ import annotations

import os
import sys

import typer

from tessera.contracts.errors import TesseraError
from tessera.platform.release.mirrored import followed, registry_of
from tessera.platform.workspace.params import serve_params
from tessera.platform.workspace.paths import open_workspace
from tessera.serve.order import Order
from tessera.serve.worker import work


def main() -> None:
    """Serve as one of several; a mistake is one line."""
    try:
        order = Order.read(sys.stdin)
        workspace = open_workspace(order.profile)
        params = serve_params(workspace)
        registry = registry_of(workspace, params)
        parent = sys.stdin.fileno()
        work(order, params, followed(workspace), parent, registry)
    except TesseraError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise SystemExit(2) from None
    os._exit(0)  # all is written; to take the model's libraries down takes Python seconds


if __name__ == "__main__":
    main()
