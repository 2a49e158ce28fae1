"""Workers that answer one request at a time, as a discrete-event simulation.

What a request takes is drawn from what requests took when none waited for another.  Requests come
by chance; one goes to a worker that lives, any of them or the one with the fewest before it, and is
turned away where those before it would let it wait for more than half of its deadline, as the
service does.  Those that a worker has when it dies are lost.

Shapes: W workers, S measured requests.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import simpy

from tessera.contracts.arrays import Float64s

Route = Literal["any", "fewest"]
_Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Cell:
    """Workers behind one address."""

    workers: int
    rate: float
    """Requests a second that come to all of them."""
    route: Route = "any"
    deadline_s: float = 0.25
    dies_at_s: float | None = None
    """When some workers die, and until when they are back."""
    back_at_s: float = 0.0
    die: int = 0


@dataclass(slots=True)
class Seen:
    """What came of the requests."""

    waited: list[float] = field(default_factory=list)
    """Seconds until the answer, in the order of the answers."""
    came_at: list[float] = field(default_factory=list)
    shed: int = 0
    lost: int = 0
    busy_s: float = 0.0

    def told(self, workers: int, seconds: float) -> dict[str, float]:
        """Return percentiles in ms, and the shares of what was turned away and lost."""
        asked = max(len(self.waited) + self.shed + self.lost, 1)
        p50, p95, p99 = (
            np.percentile(np.array(self.waited) * 1000, [50, 95, 99])
            if self.waited
            else (np.nan,) * 3
        )
        return {
            "asked": asked,
            "p50": round(float(p50), 2),
            "p95": round(float(p95), 2),
            "p99": round(float(p99), 2),
            "shed": round(self.shed / asked, 5),
            "lost": round(self.lost / asked, 5),
            "busy": round(self.busy_s / (workers * seconds), 4),
        }


class _Worker:
    """One process: requests in the order in which they came."""

    def __init__(self, env: simpy.Environment) -> None:
        self.turn = simpy.Resource(env, capacity=1)
        self.lives = True
        self.inside = 0
        self.life = 0
        """Goes up with each death: what it had before is lost."""


def simulate(cell: Cell, service_s: Float64s, seconds: float, rng: np.random.Generator) -> Seen:
    """Let requests come for so many seconds.

    Parameters
    ----------
    cell : Cell
        Workers and load.
    service_s : array of S
        Seconds that requests took when none waited; each request draws one of them.
    seconds : float
        How long requests come.
    rng : numpy Generator
        Chance.

    Always 10 ms, a request each 100 ms on average: nearly all are answered in 10 ms.

    >>> found = simulate(Cell(1, 10.0), np.full(1, 0.01), 60.0, np.random.default_rng(0))
    >>> round(float(np.median(found.waited)), 3), found.shed
    (0.01, 0)
    """
    env, seen = simpy.Environment(), Seen()
    workers = [_Worker(env) for _ in range(cell.workers)]
    mean_s = float(service_s.mean())
    requests = _Requests(env, cell, workers, seen, mean_s)
    env.process(_arrivals(env, requests, service_s, seconds, rng))
    if cell.dies_at_s is not None:
        env.process(_death(env, cell, workers[: cell.die]))
    env.run()
    return seen


@dataclass(frozen=True, slots=True)
class _Requests:
    env: simpy.Environment
    cell: Cell
    workers: list[_Worker]
    seen: Seen
    mean_s: float

    def one(self, worker: _Worker, took_s: float) -> _Process:
        """Wait for the turn, and be answered."""
        came, life = self.env.now, worker.life
        worker.inside += 1
        with worker.turn.request() as turn:
            yield turn
            if life == worker.life:
                yield self.env.timeout(took_s)
        if life != worker.life:
            self.seen.lost += 1
            return
        worker.inside -= 1
        self.seen.busy_s += took_s
        self.seen.waited.append(self.env.now - came)
        self.seen.came_at.append(came)

    def choose(self, rng: np.random.Generator) -> _Worker | None:
        """Return who answers; None if it would be too late."""
        alive = [one for one in self.workers if one.lives]
        if not alive:
            return None
        if self.cell.route == "fewest":
            worker = min(alive, key=lambda one: one.inside)
        else:
            worker = alive[int(rng.integers(len(alive)))]
        late = worker.inside * self.mean_s > self.cell.deadline_s / 2
        return None if late and worker.inside else worker


def _arrivals(
    env: simpy.Environment,
    requests: _Requests,
    service_s: Float64s,
    seconds: float,
    rng: np.random.Generator,
) -> _Process:
    while True:
        yield env.timeout(float(rng.exponential(1 / requests.cell.rate)))
        if env.now >= seconds:
            return
        worker = requests.choose(rng)
        if worker is None:
            requests.seen.shed += 1
        else:
            env.process(requests.one(worker, float(service_s[int(rng.integers(len(service_s)))])))


def _death(env: simpy.Environment, cell: Cell, workers: list[_Worker]) -> _Process:
    dies_at_s = cell.dies_at_s or 0.0
    yield env.timeout(dies_at_s)
    for one in workers:
        one.lives, one.inside, one.life = False, 0, one.life + 1
        one.turn = simpy.Resource(env, capacity=1)
    yield env.timeout(cell.back_at_s - dies_at_s)
    for one in workers:
        one.lives = True


def highest(holds: Callable[[float], bool], low: float, high: float, within: float = 0.02) -> float:
    """Return the highest rate at which something holds, within a share of it; 0 if never.

    >>> round(highest(lambda rate: rate <= 10.0, 1.0, 100.0), 1)
    9.9
    """
    if not holds(low):
        return 0.0
    while high > low * (1 + within):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
