"""A training run that a kill cannot undo: weights, optimiser and state in one safetensors file.

Dropout, negatives and batches are drawn from (seed, epoch, step) and the part of the batch, so the
state is the whole random state and a resumed run ends with the same weights.  Where several
machines train, each keeps the file, and all go on from the newest that any of them has.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tessera.model.trainer.parallel import furthest, number, processes, require_same, sent

Net = TypeVar("Net", bound=nn.Module)


@dataclass(slots=True)
class TrainingState:
    """Where a training run stands."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps finished in the epoch under way."""
    loss_sum: float = 0.0
    """Sum of the losses of these steps."""
    best_value: float = -math.inf
    """What early stopping maximises: the product of what validation measured."""
    best_epoch: int = 0
    broken: bool = False
    """A loss or gradient was not a number; training ended there."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each finished epoch."""
    measures: dict[str, list[float]] = field(default_factory=dict)
    """What validation measured after each finished epoch, by name."""

    def best(self, measure: str, otherwise: float = 0.0) -> float:
        """Return a measure after the best epoch; nobody may have been there to be asked."""
        values = self.measures.get(measure)
        return values[self.best_epoch - 1] if values else otherwise


@dataclass(slots=True)
class Run(Generic[Net]):
    """Everything a training run changes."""

    model: Net
    optimizer: torch.optim.Optimizer
    mean: AveragedModel | None = None
    """Running mean of the weights."""
    state: TrainingState = field(default_factory=TrainingState)
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights after the best epoch."""

    def judged(self) -> Net:
        """Return the model that is validated and kept: the mean where there is one."""
        return self.mean.module if self.mean else self.model  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run is kept, and of what it is."""

    path: Path
    key: str
    """Hash of whatever decides the weights: a run of another is not taken up."""
    steps: int
    """Steps between two checkpoints; one more is written after each epoch."""

    def save(self, run: Run[Net]) -> None:
        """Write the run; a reader sees the old file or the new one whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in run.best.items()}
        if run.mean:
            tensors |= {f"mean/{name}": value for name, value in run.mean.state_dict().items()}
        for index, state in run.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items()}
        part = self.path.with_suffix(f".{number()}.part")  # machines may share the folder
        metadata = {"key": self.key, "state": json.dumps(asdict(run.state))}
        copies = {name: value.to("cpu", copy=True) for name, value in tensors.items()}
        save_file(copies, part, metadata)
        part.replace(self.path)

    def load(self, run: Run[Net]) -> None:
        """Bring the run to where the newest file of all processes says.

        Another key, or no whole file, changes nothing.

        Raises
        ------
        BadParams
            If the processes are not of one key.
        """
        require_same({"what is learnt from (its hash)": self.key[:12]})
        found = self._newest()
        if found is None:
            return
        tensors = found.tensors
        run.model.load_state_dict(_under(tensors, "model/"))
        run.best = _under(tensors, "best/")
        if run.mean:
            run.mean.load_state_dict(_under(tensors, "mean/"))
        run.state = found.state
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer/").items():
            index, _, part = name.partition("/")
            states.setdefault(int(index), {})[part] = value
        groups = run.optimizer.state_dict()["param_groups"]
        run.optimizer.load_state_dict({"state": states, "param_groups": groups})

    def _newest(self) -> _Kept | None:
        """Read the file of whichever process is furthest, which sends it to the others."""
        mine = self._read(self.path)
        ahead = furthest((mine.state.epoch, mine.state.step) if mine else (-1, -1))
        if processes() == 1:
            return mine
        is_mine = ahead == number()
        content = sent(self.path.read_bytes() if is_mine and mine else b"", ahead)
        if is_mine or not content:
            return mine
        taken = self.path.with_suffix(f".{number()}.taken")
        try:
            taken.parent.mkdir(parents=True, exist_ok=True)
            taken.write_bytes(content)
            return self._read(taken)
        finally:
            taken.unlink(missing_ok=True)

    def _read(self, path: Path) -> _Kept | None:
        """Read a file; None if it is of another key, torn, or not there."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                if metadata["key"] != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        return _Kept(TrainingState(**json.loads(metadata["state"])), tensors)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a file holds."""

    state: TrainingState
    tensors: dict[str, Tensor]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
