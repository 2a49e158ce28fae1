"""Several processes that train one model: each takes parts of every batch, all take one step.

Start the stage with `torchrun --nproc-per-node 2 --no-python tessera run hstu`, on one machine or,
with `--nnodes`, on several; without torchrun there is one process and nothing here does anything.
Sums travel by nccl where each process has a GPU, else by gloo.

A batch is cut into as many parts as the params say, however many processes share them: what is
drawn at random follows from the part, so that a training is the same but for the order of its sums
whether one process has all parts or four have one each (EasyScale: Li et al. 2023, arXiv
2208.14228; virtual nodes: Or et al. 2022, arXiv 2009.09523).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from tessera.contracts.errors import BadParams, StageFailed
from tessera.contracts.library_errors import first_line
from tessera.contracts.processes import local_number, machine, sources, started

_T = TypeVar("_T")
_CPU = torch.device("cpu")
_SILENCE = timedelta(minutes=10)
"""After it a process that others wait for is lost; one that dies is missed at once."""


@contextmanager
def together(
    device: torch.device = _CPU, parts: int = 1, told: Mapping[str, object] | None = None
) -> Iterator[None]:
    """Join the processes that torchrun started, each with its tensors on its device.

    Parameters
    ----------
    device
        Of this process.
    parts
        Of each batch; there must be one for each process.
    told
        What decides the training, by name; it must be the same for all, and so must our code.

    Raises
    ------
    BadParams
        If there are fewer parts than processes, a process was told something else, or torchrun
        would restart processes into the addresses of those before.
    StageFailed
        If another process is lost.
    """
    if started() == 1 or dist.is_initialized():
        yield
        return
    _refuse(parts)
    with _losses_told():
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", timeout=_SILENCE, device_id=device)
        else:
            dist.init_process_group("gloo", timeout=_SILENCE)
        try:
            require_same({"code": sources(), **(told or {})})
            yield
        finally:
            dist.destroy_process_group()


@contextmanager
def _losses_told() -> Iterator[None]:
    """Say in one line that another process is gone, which libraries say in many ways."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        told = first_line(error).partition(". This is typically")[0]  # advice for developers
        raise StageFailed(
            f"another process of this training is lost (PyTorch says {told!r}): it goes on from "
            "its last checkpoint when torchrun --max-restarts, or you, start it again"
        ) from error


def _refuse(parts: int) -> None:
    """Refuse what would end in a wait without an end, before anybody waits."""
    if parts < started():
        raise BadParams(
            f"{started()} processes cannot share a batch of {parts}: set hstu.batch_parts to "
            f"{started()} or a multiple of it, or start fewer"
        )
    # The store of torchrun's agent outlives a restart, with the addresses of the processes before
    # it, which may be read for those after it (github.com/pytorch/pytorch/issues/135712).
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS") or 0)
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise BadParams(
            "torchrun --max-restarts may hang after a restart: "
            "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on every machine first"
        )


def processes() -> int:
    """Return how many train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """Return which of them this one is; 0 writes what the stage makes."""
    return dist.get_rank() if dist.is_initialized() else 0


def keeps() -> bool:
    """Whether this process writes checkpoints: the first of each machine, as any may be lost."""
    return not dist.is_initialized() or local_number() == 0


def own_parts(parts: int) -> range:
    """Return the parts of each batch that this process takes, one at least."""
    return range(number(), parts, processes())


def part_of(rows: NDArray[np.intp], part: int, parts: int) -> NDArray[np.intp]:
    """Return one part of a batch.

    A batch with fewer rows than parts is each part whole: losses are divided by what all took.
    """
    return rows[part::parts] if len(rows) >= parts else rows


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


def furthest(age: Sequence[int]) -> int:
    """Return the number of the process of the highest age; of several the first."""
    ages = _gathered(list(age))
    return max(range(len(ages)), key=ages.__getitem__)


def sent(content: bytes, by: int) -> bytes:
    """Return to every process what one of them has; what the others give counts for nothing."""
    if processes() == 1:
        return content
    size = torch.tensor(len(content), device=_travels())
    dist.broadcast(size, by)
    told_N = torch.zeros(int(size), dtype=torch.uint8, device=_travels())
    if number() == by and content:
        told_N = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(_travels())
    dist.broadcast(told_N, by)
    return told_N.cpu().numpy().tobytes()


def require_same(told: Mapping[str, object]) -> None:
    """Hold what each process was told against what the first was.

    Raises
    ------
    BadParams
        If they differ, by the first name in which they do and both values.
    """
    everyone = _gathered({name: str(value) for name, value in told.items()})
    machines, first = _gathered(machine()), everyone[0]
    for where, other in zip(machines, everyone, strict=True):
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name, "nothing"), other.get(name, "nothing")
            if here != there:
                raise BadParams(
                    f"the machines of one training differ in {name}: {here} on {machines[0]}, "
                    f"{there} on {where}; bring all to the same commit, params and artifacts"
                )


def _gathered(mine: _T) -> list[_T]:
    """Return what each process has, in their order: JSON, as nothing that unpickles may travel."""
    own = json.dumps(mine).encode()
    return [json.loads(sent(own, one)) for one in range(processes())]


def _travels() -> torch.device:
    """Return where tensors lie that are sent."""
    is_nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if is_nccl else _CPU
