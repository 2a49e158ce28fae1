"""One of several processes behind one socket; it ends when whoever started it is gone."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from tessera.serve.challengers import Registry
from tessera.serve.clock import Clock
from tessera.serve.feed import open_feed
from tessera.serve.follower import Follower
from tessera.serve.garbage import settle
from tessera.serve.host import join
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys
from tessera.serve.http.lines import write_lines
from tessera.serve.http.listen import Address
from tessera.serve.minutes import Minutes
from tessera.serve.order import Order
from tessera.serve.params import ServeParams
from tessera.serve.sealer import Sealer

_GRACE_S = 5
"""How long answers under way may take at the end."""


def work(
    order: Order,
    params: ServeParams,
    current: Callable[[], Path],
    parent: int,
    registry: Registry | None = None,
) -> None:
    """Serve until told to stop, or until the pipe `parent` ends; a line says when it begins.

    Raises
    ------
    BrokenBundle, FeedLost
        If the bundle cannot be served.
    """
    feed = open_feed(order.kind, Path(order.folder))
    service = join(current(), Path(order.folder), params, feed)
    try:
        service.engine.warm_up()
        settle()
        follower = Follower(service, current, params, registry)
        follower.start()
        sealer = Sealer(service, Path(order.folder))
        sealer.start()
        clock = Clock(order.ahead_us)
        minutes = Minutes(service, clock)
        minutes.start()
        write_lines()
        app = make_app(
            service,
            clock,
            Keys(Path(order.keys)),
            params,
            secure=bool(order.certificate),
            session_secret=order.session_secret,
        )
        print(service.begins(service.engine.scorer.state.version), flush=True)  # noqa: T201
        _listen(app, order, parent)
        minutes.stop()
        sealer.stop()
        follower.stop()
    finally:
        service.close()


def _listen(app: FastAPI, order: Order, parent: int) -> None:
    files = (Path(one) if one else None for one in (order.certificate, order.private_key))
    told = Address("127.0.0.1", 0, *files).options()  # of the address, the socket is there already
    server = uvicorn.Server(uvicorn.Config(app, **told, timeout_graceful_shutdown=_GRACE_S))

    def end_with_parent() -> None:
        while os.read(parent, 1024):  # not by its file, whose lock would keep Python from ending
            pass
        server.should_exit = True

    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    # The server raises the signal once more when it has ended, and what waits must be written.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[socket.socket(fileno=order.handle)])
