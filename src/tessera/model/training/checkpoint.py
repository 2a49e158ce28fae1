"""A training run that a kill cannot undo: weights, optimiser and place in one safetensors file.

Dropout, negatives and batches are drawn from (seed, epoch, step), so the place is the whole
random state and a resumed run ends with the same weights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tessera.model.trunk.model import SequenceModel


@dataclass(slots=True)
class TrainingState:
    """Where a training run stands."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps finished in the epoch under way."""
    loss_sum: float = 0.0
    """Sum of the losses of these steps."""
    best_value: float = -1.0
    """What early stopping maximises: nDCG, times the slate AUC where slates are ranked."""
    best_ndcg: float = -1.0
    best_epoch: int = 0
    broken: bool = False
    """A loss or gradient was not a number; training ended there."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each finished epoch."""
    ndcgs: list[float] = field(default_factory=list)
    """Validation nDCG@10 after each finished epoch."""
    aucs: list[float] = field(default_factory=list)
    """Validation slate AUC of the ranking head after each finished epoch; empty without one."""


@dataclass(slots=True)
class Run:
    """Everything a training run changes."""

    model: SequenceModel
    optimizer: torch.optim.Optimizer
    place: TrainingState
    best: dict[str, Tensor]
    """Weights after the best epoch."""
    mean: AveragedModel | None = None
    """Running mean of the weights."""

    def judged(self) -> SequenceModel:
        """Return the model that is validated and kept: the mean where there is one."""
        return self.mean.module if self.mean else self.model  # type: ignore[return-value]


def save_checkpoint(run: Run, path: Path, key: str) -> None:
    """Write the run; a reader sees the old file or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in run.best.items()}
    if run.mean:
        tensors |= {f"mean/{name}": value for name, value in run.mean.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items()}
    part = path.with_suffix(".part")
    metadata = {"key": key, "place": json.dumps(asdict(run.place))}
    copies = {name: value.to("cpu", copy=True) for name, value in tensors.items()}
    save_file(copies, part, metadata)
    part.replace(path)


def load_checkpoint(run: Run, path: Path, key: str) -> None:
    """Bring the run to where the file says; another key, or no whole file, changes nothing."""
    if not path.is_file():
        return
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata["key"] != key:
                return
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return
    run.model.load_state_dict(_under(tensors, "model/"))
    run.best = _under(tensors, "best/")
    if run.mean:
        run.mean.load_state_dict(_under(tensors, "mean/"))
    run.place = TrainingState(**json.loads(metadata["place"]))
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer/").items():
        index, _, part = name.partition("/")
        states.setdefault(int(index), {})[part] = value
    groups = run.optimizer.state_dict()["param_groups"]
    run.optimizer.load_state_dict({"state": states, "param_groups": groups})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
