"""One hidden layer from what is known of a candidate to the logits of all tasks.

Legend: N requests, M candidates of a request, I inputs, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class HiddenSettings:
    """One hidden layer as a rank net."""

    width: int

    def build(self, inputs: int, tasks: int) -> HiddenNet:
        """Return the module."""
        return HiddenNet(inputs, self.width, tasks)

    def flops(self, inputs: int, tasks: int) -> int:
        """Return what one candidate costs."""
        return 2 * self.width * (inputs + tasks)


class HiddenNet(nn.Module):
    """A layer that all tasks share, and a linear map for each."""

    def __init__(self, inputs: int, width: int, tasks: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.out = nn.Linear(width, tasks)

    def forward(self, input_NMI: Tensor) -> Tensor:
        """Return logit_NMT."""
        logit_NMT: Tensor = self.out(functional.silu(self.hidden(input_NMI)))
        return logit_NMT
