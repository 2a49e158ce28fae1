"""Floating-point operations of retrieval and ranking, counted from shapes.

Only matrix products count, a multiply and an add as two, as `torch.utils.flop_counter` does.
"""

from __future__ import annotations

from dataclasses import replace

from tessera.model.nn.ranking import TASKS, inputs
from tessera.model.nn.tiles import seen_cells
from tessera.model.trunk.model import Shape


def history_flops(shape: Shape, events: int) -> int:
    """Return what one pass over a history costs."""
    project = 2 * events * shape.width * 4 * shape.width
    attend = 2 * 2 * seen_cells(events, shape.window) * shape.width
    out = 2 * events * shape.width * shape.width
    return shape.blocks * (project + attend + out) + state_part_flops(shape, events)


def state_part_flops(shape: Shape, events: int) -> int:
    """Return what is added to the outputs of a history costs."""
    part = shape.chosen_state_part()
    return 0 if part is None else part.flops(shape.width, events)


def memory_flops(shape: Shape, events: int) -> int:
    """Return what the keys and values of the layers that candidates pass through cost."""
    return shape.rank_blocks * 2 * events * shape.width * 2 * shape.width


def retrieve_flops(shape: Shape) -> int:
    """Return what the products of one state with every item cost."""
    return 2 * shape.items * shape.width


def rank_flops(shape: Shape, events: int, candidates: int) -> int:
    """Return what ranking candidates costs once the history has been passed over."""
    project = 2 * candidates * shape.width * 2 * shape.width
    attend = 2 * 2 * candidates * events * shape.width
    out = 2 * candidates * shape.width * shape.width
    told = inputs(shape.width, len(shape.features))
    net = candidates * shape.chosen_rank_net().flops(told, len(TASKS))
    return shape.rank_blocks * (project + attend + out) + net


def one_trunk_flops(shape: Shape, events: int, candidates: int) -> int:
    """Return what retrieval and ranking cost with one trunk and two heads."""
    history = history_flops(shape, events) + memory_flops(shape, events)
    return history + retrieve_flops(shape) + rank_flops(shape, events, candidates)


def two_encoders_flops(shape: Shape, events: int, candidates: int) -> int:
    """Return what they cost when a ranker of the same depth encodes the history once more.

    Its candidates pass through all of its layers; its keys and values are those of its own pass.
    """
    ranker = replace(shape, rank_blocks=shape.blocks)
    bare = _bare(shape)  # a ranker looks at layers, not at what follows them
    history = history_flops(shape, events) + history_flops(bare, events)
    return history + retrieve_flops(shape) + rank_flops(ranker, events, candidates)


def two_pruned_encoders_flops(shape: Shape, events: int, candidates: int) -> int:
    """Return what they cost when the ranker is pruned as the head is.

    In the layers that its candidates pass through, its history has keys and values, no queries.
    """
    lower = replace(_bare(shape), blocks=shape.blocks - shape.rank_blocks)
    history = history_flops(shape, events) + history_flops(lower, events)
    memory = memory_flops(shape, events)
    return history + memory + retrieve_flops(shape) + rank_flops(shape, events, candidates)


def _bare(shape: Shape) -> Shape:
    return replace(shape, recency_s=(), state_part=None)
