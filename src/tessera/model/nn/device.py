"""Where a model learns and how precisely: on the processor, or on one GPU a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from tessera.contracts.errors import BadParams
from tessera.contracts.processes import local_number

_T = TypeVar("_T")
CPU = torch.device("cpu")


def chosen_device(wanted: str) -> torch.device:
    """Return the device that `hstu.device` means here; of several GPUs the one of this process.

    Raises
    ------
    BadParams
        If there is no GPU and one is demanded, or fewer GPUs than processes.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not found):
        return CPU
    if not found:
        raise BadParams("hstu.device is cuda and PyTorch finds no GPU: set it to auto or cpu")
    if local_number() >= found:
        raise BadParams(
            f"hstu.device {wanted} gives each process a GPU and there are {found}: start "
            f"torchrun with --nproc-per-node {found}, or set it to cpu"
        )
    return torch.device("cuda", local_number())


def device_of(model: nn.Module) -> torch.device:
    """Return where the weights of a model are."""
    return next(model.parameters()).device


def moved(value: _T, device: torch.device) -> _T:
    """Return a dataclass of tensors, of such dataclasses or of None, on the device."""
    if isinstance(value, Tensor):
        return cast(_T, value.to(device))
    if not is_dataclass(value):
        return value
    parts = (moved(getattr(value, field.name), device) for field in fields(value))
    return cast(_T, cast(Any, type(value))(*parts))


def precision(kind: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the block in which products are float32 or bfloat16; weights stay float32."""
    if kind == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
