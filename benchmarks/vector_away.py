"""What a search elsewhere takes at least: the listed rows there over loopback, and rows back."""

from __future__ import annotations

import multiprocessing
import socket
import time

import numpy as np

from benchmarks.vector_world import WANTED, WIDTH

_ASKED, _WARM = 300, 20
_ROW_BYTES = 12
"""A row and its inner product."""


def away(count: int) -> dict[str, float]:
    """Return milliseconds of requests that carry a query and a bit for each of so many rows."""
    size = 4 * WIDTH + count // 8
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = context.Process(target=_answer, args=(server.getsockname()[1], size), daemon=True)
        process.start()
        with server.accept()[0] as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            took_ms = [_ask(line, bytes(size)) for _ in range(_ASKED + _WARM)][_WARM:]
        process.join()
    return {f"p{q}_ms": round(float(np.percentile(took_ms, q)), 3) for q in (50, 99)}


def _ask(line: socket.socket, request: bytes) -> float:
    begun = time.perf_counter()
    line.sendall(request)
    _receive(line, WANTED * _ROW_BYTES)
    return 1000 * (time.perf_counter() - begun)


def _receive(line: socket.socket, size: int) -> bool:
    """Read so many bytes; False if the other end is gone."""
    while size:
        read = len(line.recv(min(size, 1 << 20)))
        if not read:
            return False
        size -= read
    return True


def _answer(port: int, size: int) -> None:
    """Answer every request at once, with nothing found."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while _receive(line, size):
            line.sendall(bytes(WANTED * _ROW_BYTES))
