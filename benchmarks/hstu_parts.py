"""Where the seconds of a training step go, and how near its products come to the machine's rate.

The loss is cut off from the trunk, so that each has its own backward pass. Operations are those of
matrix products, counted from shapes, a multiply and an add as two; a backward pass has twice those
of its forward pass.

Legend: N targets, D width, F four widths, V items with padding first, S sequences, R rows, C
columns, E width of a head.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.hstu_data import Sequences
from tessera.model.nn.linear import product
from tessera.model.trunk.flops import history_flops
from tessera.model.trunk.model import SequenceModel, states_at

_PASSES = 3
"""One forward and twice its operations backward."""
_PRODUCTS = {
    "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::baddbmm_",
    "mkldnn::_linear_pointwise",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """A step whose parts can be run one after the other."""

    model: SequenceModel
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Loss of state_ND, item_VD and target_N."""
    rivals: int
    """Items that each target is compared with."""

    def flops(self, part: Sequences) -> dict[str, int]:
        """Return the operations of the trunk and of the loss in one step, padding included."""
        sequences, length = part.item_BL.shape
        targets, width = int((part.target_BL > 0).sum()), self.model.shape.width
        return {
            "trunk": _PASSES * sequences * history_flops(self.model.shape, length),
            "loss": _PASSES * 2 * targets * self.rivals * width,
        }

    def run(self, part: Sequences, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Take one step; return the seconds of trunk, loss and optimizer."""
        sequence_N, state_N = torch.nonzero(part.target_BL, as_tuple=True)
        target_N = part.target_BL[sequence_N, state_N]
        begun = time.perf_counter()
        item_VD = self.model.items()
        state_ND = states_at(self.model, self.model(part.batch(), item_VD), sequence_N, state_N)
        encoded = time.perf_counter()
        ends = [end.detach().requires_grad_() for end in (state_ND, item_VD)]
        self.loss(ends[0], ends[1], target_N).backward()
        judged = time.perf_counter()
        torch.autograd.backward([state_ND, item_VD], [end.grad for end in ends])
        learnt = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        done = time.perf_counter()
        return {
            "trunk": encoded - begun + learnt - judged,
            "loss": judged - encoded,
            "optimizer": done - learnt,
        }


def parts_of_a_step(
    ways: dict[str, Parts], batches: Sequence[Sequences], rounds: int
) -> dict[str, dict[str, float]]:
    """Return share of the time, and GFLOP/s, of each part of a step of each way, in turns."""
    optimizers = {name: _optimizer(parts.model) for name, parts in ways.items()}
    seconds: dict[str, dict[str, list[float]]] = {
        name: {"trunk": [], "loss": [], "optimizer": []} for name in ways
    }
    for name, parts in ways.items():
        parts.run(batches[0], optimizers[name])
    for _ in range(rounds):
        for name, parts in ways.items():
            steps = [parts.run(part, optimizers[name]) for part in batches]
            for key, passes in seconds[name].items():
                passes.append(sum(step[key] for step in steps))
    return {
        name: _told(parts, batches, seconds[name])
        | {"products_share": _products_share(parts, batches[-1], optimizers[name])}
        for name, parts in ways.items()
    }


def _optimizer(model: SequenceModel) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)


def _told(
    parts: Parts, batches: Sequence[Sequences], seconds: dict[str, list[float]]
) -> dict[str, float]:
    median = {key: statistics.median(passes) for key, passes in seconds.items()}
    counted = [parts.flops(part) for part in batches]
    told = {f"{key}_share": round(value / sum(median.values()), 3) for key, value in median.items()}
    return told | {
        f"{key}_gflops": round(sum(one[key] for one in counted) / median[key] / 1e9, 1)
        for key in ("trunk", "loss")
    }


def _products_share(parts: Parts, part: Sequences, optimizer: torch.optim.Optimizer) -> float:
    """Return the share of a step's time that is spent inside matrix products."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        parts.run(part, optimizer)
    spent: dict[str, float] = {
        event.key: event.self_cpu_time_total for event in seen.key_averages()
    }
    return round(sum(spent.get(name, 0.0) for name in _PRODUCTS) / sum(spent.values()), 3)


def products(width: int) -> dict[str, float]:
    """GFLOP/s of the largest products of a step, by MKL (`@`) and by oneDNN."""
    x_ND, weight_DF = torch.randn(13_600, width), torch.randn(width, 4 * width)
    q_SRE, k_SEC = torch.randn(16, 50, width), torch.randn(16, width, 200)
    linear = 2 * x_ND.numel() * weight_DF.shape[1]
    told = {
        "product_gflops_mkl": linear / _best(lambda: x_ND @ weight_DF),
        "product_gflops_onednn": linear / _best(lambda: product(x_ND, weight_DF)),
        "attention_product_gflops": 2 * q_SRE.numel() * 200 / _best(lambda: q_SRE @ k_SEC),
    }
    return {name: round(value / 1e9, 1) for name, value in told.items()}


def _best(work: Callable[[], object]) -> float:
    return min(seconds_of(work) for _ in range(20))


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
