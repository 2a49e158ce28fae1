"""Several processes that train one model: each takes a part of every batch, all take one step.

Start the stage with `torchrun --nproc-per-node 2 --no-python tessera run hstu`; without torchrun
there is one process and nothing here does anything.  Sums travel by nccl where each process has a
GPU, else by gloo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from tessera.contracts.processes import started

_CPU = torch.device("cpu")


@contextmanager
def together(device: torch.device = _CPU) -> Iterator[None]:
    """Join the processes that torchrun started, each with its tensors on its device."""
    if started() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def processes() -> int:
    """Return how many train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """Return which of them this one is; 0 writes the checkpoints."""
    return dist.get_rank() if dist.is_initialized() else 0


def own(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return this process's part of a batch.

    A batch smaller than the processes is taken whole by each: losses are divided by what all took.
    """
    return rows[number() :: processes()] if len(rows) >= processes() else rows


def total(value: Tensor) -> Tensor:
    """Return the sum over the processes."""
    if processes() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def sum_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of the gradients; none where no process has one."""
    if processes() == 1:
        return
    weights = list(weights)
    has = [float(weight.grad is not None) for weight in weights]
    has_W = total(torch.tensor(has, device=weights[0].device))
    for weight, has in zip(weights, has_W.tolist(), strict=True):
        if has:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            dist.all_reduce(weight.grad)


def agreed(numbers: list[float], device: torch.device) -> list[float]:
    """Return what the first process says: on GPUs equal work may differ in its last bits."""
    told = torch.tensor(numbers, dtype=torch.float64, device=device)
    if processes() > 1:
        dist.broadcast(told, 0)
    return [float(number) for number in told.tolist()]


def wait() -> None:
    """Go on when all have come here."""
    if processes() > 1:
        dist.barrier()
