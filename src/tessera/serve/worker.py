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

from tessera.serve.clock import Clock
from tessera.serve.feed import open_feed
from tessera.serve.host import Follower, join
from tessera.serve.http.app import make_app
from tessera.serve.http.keys import Keys
from tessera.serve.order import Order
from tessera.serve.params import ServeParams

_GRACE_S = 5
"""How long answers under way may take at the end."""


def work(order: Order, params: ServeParams, current: Callable[[], Path], parent: int) -> None:
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
        follower = Follower(service, current, params)
        follower.start()
        app = make_app(service, Clock(order.ahead_us), Keys(Path(order.keys)), order.session_secret)
        print(f"{service.engine.version}: {service.engine.told()}", flush=True)  # noqa: T201
        _listen(app, order.handle, parent)
        follower.stop()
    finally:
        service.close()


def _listen(app: FastAPI, handle: int, parent: int) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE_S
        )
    )

    def end_with_parent() -> None:
        while os.read(parent, 1024):  # not by its file, whose lock would keep Python from ending
            pass
        server.should_exit = True

    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    # The server raises the signal once more when it has ended, and what waits must be written.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[socket.socket(fileno=handle)])
