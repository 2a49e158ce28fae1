"""All that a training draws follows from its seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from this seed inside the block, and as if nothing had been drawn after it."""
    forked = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        reseed(seed, device)
        yield


def reseed(seed: int, device: torch.device) -> None:
    """Draw from this seed from now on.

    `torch.manual_seed` asks every kind of device there is, and each writes down who called it,
    which takes longer than a small step; a processor has one generator.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the seed of one step, so that a resumed run draws what an unbroken one does."""
    words = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
