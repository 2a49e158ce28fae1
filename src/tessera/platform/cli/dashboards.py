"""Serve Evidently's UI of the watched days on this machine, behind a log-in.

Evidently asks for a secret where somebody writes and lets everybody read, so that a log-in of ours
stands before all of it: HTTP Basic, for a password that lies in a file of this person alone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import typer

from tessera.contracts.errors import BadInput, TesseraError
from tessera.contracts.series import days
from tessera.platform.watching.rules import load_rules
from tessera.platform.workspace import processes
from tessera.platform.workspace.paths import Workspace

USER = "viewer"
HOST = "127.0.0.1"
_FOLDER = "dashboards"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class LogIn:
    """Lets through to an application whoever knows the password."""

    def __init__(self, app: App, password: str) -> None:
        """Guard an application."""
        self._app = app
        self._wanted = f"{USER}:{password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or ask for the password."""
        if scope["type"] == "lifespan" or self._knows(dict(scope["headers"])):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            asks = [(b"www-authenticate", b'Basic realm="Tessera"'), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": asks})
            await send({"type": "http.response.body"})
        else:
            await send({"type": "websocket.close"})

    def _knows(self, headers: MutableMapping[bytes, bytes]) -> bool:
        kind, _, told = headers.get(b"authorization", b"").partition(b" ")
        try:
            given = base64.b64decode(told, validate=True)
        except binascii.Error:
            return False
        return kind.lower() == b"basic" and hmac.compare_digest(given, self._wanted)


def build(workspace: Workspace) -> Path:
    """Bring Evidently's workspace up to date; return its folder.

    Raises
    ------
    BadInput
        If no day was watched yet.
    """
    found = days(workspace.watched)
    if not found:
        raise BadInput(f"no day of profile {workspace.profile} was watched: run `tessera monitor`")
    from tessera.platform.watching import snapshots  # seconds to import

    made = snapshots.build(
        workspace.data / _FOLDER, workspace.profile, found, load_rules(workspace)
    )
    typer.echo(f"{made.days} days, {made.added} of them new: {made.folder}")
    return made.folder


def serve(workspace: Workspace, port: int) -> None:
    """Serve the dashboards until Ctrl-C.

    Raises
    ------
    TesseraError
        If the port is taken.
    """
    if not processes.is_free(port):
        raise TesseraError(f"port {port} is taken: choose another, `tessera dashboards --port ...`")
    folder = build(workspace)
    import uvicorn

    from tessera.platform.watching.snapshots import application

    password, path = password_of(workspace)
    typer.echo(f"Dashboards  http://{HOST}:{port}\nLog in as {USER} with {password} ({path})")
    typer.echo("Ctrl-C stops it")
    app = LogIn(application(folder), password)
    uvicorn.run(app, host=HOST, port=port, log_level="warning")


def password_of(workspace: Workspace) -> tuple[str, Path]:
    """Return the password and where it lies, readable by this person alone; made the first time."""
    path = workspace.watched / "dashboards.password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(12))
    return path.read_text().strip(), path
