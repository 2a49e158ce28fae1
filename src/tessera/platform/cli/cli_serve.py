"""`tessera serve`: the published bundle behind HTTP, with keys and a stream of events."""

from __future__ import annotations

import errno
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tessera.contracts.errors import BadInput, TesseraError
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

if TYPE_CHECKING:  # torch takes seconds
    from tessera.serve.clock import Clock
    from tessera.serve.http.listen import Address
    from tessera.serve.order import Order
    from tessera.serve.params import ServeParams
    from tessera.serve.service import Service

_SIMULATED = "market"
"""Source whose days are not ours: its clock starts at the cut of the first bundle served."""


def serve(
    profile: Profile = DEFAULT_PROFILE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer; each holds the model.")
    ] = 1,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate; what listens then is TLS.")
    ] = None,
    private_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Listen for other machines without TLS.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Load everything, answer once, and leave.")
    ] = False,
) -> None:
    """Serve the published model on this machine: draw slates by the judged policy, and log them."""
    from tessera.platform.release.mirrored import kept_up
    from tessera.platform.workspace.params import serve_params
    from tessera.serve.feed import kind_for
    from tessera.serve.http.listen import Address

    workspace = open_workspace(profile)
    params = serve_params(workspace)
    address = Address(host, port, certificate, private_key)
    address.checked(without_tls, params.open_metrics)
    kind = kind_for(params.feed, workers)
    with kept_up(workspace, params):
        if workers > 1 and not check:
            _listen_together(workspace, address, workers, kind)
        else:
            _listen_alone(workspace, params, address, kind, check=check)


def _listen_alone(
    workspace: Workspace, params: ServeParams, address: Address, kind: str, *, check: bool
) -> None:
    from tessera.platform.release.mirrored import followed
    from tessera.serve.host import hosted

    current = followed(workspace)
    with hosted(current(), workspace.served, params, kind) as started:
        started.service.engine.warm_up()
        _say_torn(started.torn)
        typer.echo(started.service.begins(started.events))
        if check:
            return
        with _kept_up(started.service, current, workspace, params):
            _listen(started.service, workspace, params, address)


@contextmanager
def _kept_up(
    service: Service, current: Callable[[], Path], workspace: Workspace, params: ServeParams
) -> Iterator[None]:
    """Follow the registry, count requests, and seal the hours of the log inside the block."""
    from tessera.platform.release.mirrored import registry_of
    from tessera.serve.follower import Follower
    from tessera.serve.minutes import Minutes
    from tessera.serve.sealer import Sealer

    beside: list[Follower | Sealer | Minutes] = [
        Follower(service, current, params, registry_of(workspace, params)),
        Sealer(service, workspace.served),
    ]
    if not _is_told(workspace):  # a simulated day may be over in a minute, and is copied then
        beside.append(Minutes(service, _clock(workspace)))
    for one in beside:
        one.start()
    try:
        yield
    finally:
        for one in reversed(beside):
            one.stop()


def _listen(service: Service, workspace: Workspace, params: ServeParams, address: Address) -> None:
    from uvicorn import Config, Server

    from tessera.serve.garbage import release, settle
    from tessera.serve.http.app import make_app
    from tessera.serve.http.keys import Keys
    from tessera.serve.http.lines import write_lines

    with _listener(address) as listener, suppress(KeyboardInterrupt):
        _say_where(workspace, address)
        write_lines()
        settle()
        app = make_app(
            service, _clock(workspace), Keys(_keys(workspace)), params, secure=address.secure
        )
        Server(Config(app, **address.options())).run(sockets=[listener])
    release()


def _listen_together(workspace: Workspace, address: Address, count: int, kind: str) -> None:
    from tessera.platform.cli.team import Team
    from tessera.platform.workspace import processes
    from tessera.serve.feed import open_feed
    from tessera.serve.filled import Rescue, filled

    folder = workspace.served
    if _is_told(workspace):
        raise BadInput("a simulation moves the clock of this service: serve with one worker")
    feed = open_feed(kind, folder)
    with _listener(address) as listener, filled(feed, folder) as before:
        _say_torn(before.torn)
        team = Team(
            [sys.executable, "-m", "tessera.platform.cli.worker"],
            _order(workspace, kind, address, listener.fileno()).line(),
            listener.fileno(),
            Rescue(feed, folder).bring,
            {"PROMETHEUS_MULTIPROC_DIR": str(_fresh_folder(folder / "metrics"))},
        )
        try:
            with processes.stopped_like_ctrl_c():
                typer.echo(f"{team.start(count)}; {count} workers, events shared by {kind}")
                _say_where(workspace, address)
                team.watch()
        except KeyboardInterrupt:
            typer.echo("stopping ...")
        finally:
            with processes.undisturbed():
                team.stop()


def _fresh_folder(path: Path) -> Path:
    """Make a folder without what processes of before counted."""
    from tessera.platform.workspace import files

    files.remove(path)
    path.mkdir(parents=True)
    return path


def _order(workspace: Workspace, kind: str, address: Address, handle: int) -> Order:
    from tessera.serve.order import Order

    return Order(
        profile=workspace.profile,
        folder=str(workspace.served),
        keys=str(_keys(workspace)),
        kind=kind,
        handle=handle,
        ahead_us=_ahead(workspace),
        session_secret=secrets.token_hex(32),
        certificate=str(address.certificate or ""),
        private_key=str(address.private_key or ""),
    )


def _listener(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"port {address.port} is taken"
        else:
            why = f"{address.host}:{address.port} cannot be listened on ({error.strerror})"
        raise BadInput(f"{why}: choose another, `tessera serve --port ...`") from error


def _say_where(workspace: Workspace, address: Address) -> None:
    from tessera.serve.http.keys import add_key

    url = address.url
    typer.echo(f"Console          {url}/console\nRecommendations  {url}/v1/recommendations")
    typer.echo(f"OpenAPI          {url}/docs\nMetrics          {url}/metrics")
    if not _keys(workspace).exists():
        secret = add_key(_keys(workspace), "first", "operator")
        typer.echo(f"Key              {secret} (operator; shown this once)")


def _say_torn(torn: int) -> None:
    if torn:
        typer.echo(f"the log ended in the middle of a line: {torn} bytes cut off")


def consume(
    profile: Profile = DEFAULT_PROFILE,
    stream: Annotated[
        str, typer.Option(help="Name of the stream in Redis, or file: and a folder.")
    ] = "tessera-events",
    consumer: Annotated[
        str, typer.Option(help="Which one this is, where several consume together.")
    ] = "1",
) -> None:
    """Take in events from a stream, as `POST /v1/events` does, until Ctrl-C."""
    from tessera.platform.workspace import processes
    from tessera.platform.workspace.params import serve_params
    from tessera.serve.consume import consume as consume_until
    from tessera.serve.consume import open_stream, shared_kind
    from tessera.serve.feed import open_feed
    from tessera.serve.filled import filled
    from tessera.serve.host import intake

    workspace = open_workspace(profile)
    params = serve_params(workspace)
    kind = shared_kind(params.feed)
    folder, source = workspace.served, open_stream(stream, consumer)
    feed, counts, stopped = open_feed(kind, folder), Counter[str](), threading.Event()
    with filled(feed, folder) as before, processes.told_by_signal(stopped.set):
        _say_torn(before.torn)
        typer.echo(f"events of stream {stream} are taken in")
        with closing(intake(folder, feed)) as into, closing(source):
            try:
                clock = _clock(workspace)
                consume_until(source, into, clock, stopped, counts, params.late_days)
            except (OSError, TimeoutError) as error:
                raise TesseraError(
                    f"the log cannot be written ({error}): free the disk and start again, what was "
                    "not logged is delivered again"
                ) from error
            finally:
                said = ("new", "known", "conflict", "aside")
                typer.echo(", ".join(f"{counts[one]} {one}" for one in said))


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; another one of that name ends.")],
    role: Annotated[
        str, typer.Option(help="recommend, feedback, prices, viewer or operator.")
    ] = "recommend",
    profile: Profile = DEFAULT_PROFILE,
) -> None:
    """Make a key for the service, and print it this once; a running service knows it at once."""
    from tessera.serve.http.keys import add_key

    typer.echo(add_key(_keys(open_workspace(profile)), name, role))


def _keys(workspace: Workspace) -> Path:
    return workspace.served / "keys.json"


def _clock(workspace: Workspace) -> Clock:
    """Return the clock of a profile: the wall's, a simulated market's own, or one that is told."""
    from tessera.serve.clock import Clock, ToldClock

    if _is_told(workspace):
        return Clock(source=ToldClock(workspace.served))
    return Clock(_ahead(workspace))


def _is_told(workspace: Workspace) -> bool:
    from tessera.platform.workspace.params import source_of
    from tessera.serve.clock import is_told

    return source_of(workspace) == _SIMULATED and is_told(workspace.served)


def _ahead(workspace: Workspace) -> int:
    """Return by how much the clock differs from the wall's; a simulated market has days of its own.

    Its clock starts at the first cut that is served and goes on from there, over restarts too.
    """
    from tessera.contracts.split import load_split
    from tessera.platform.release.pointer import current_bundle
    from tessera.platform.workspace import files
    from tessera.platform.workspace.params import source_of

    if source_of(workspace) != _SIMULATED:
        return 0
    path = workspace.served / "clock.json"
    if not path.exists():
        cut = load_split(current_bundle(workspace) / "split.json").cut
        files.write_json({"ahead_us": int(cut.timestamp() * 1e6) - time.time_ns() // 1000}, path)
    return int(files.read_json(path)["ahead_us"])
