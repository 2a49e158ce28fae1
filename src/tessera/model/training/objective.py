"""What a training step minimises: recall, beside it ranking, hidden actions and semantic codes.

Legend: B sequences, L positions, N targets or requests, G draws of negatives, M candidates or
negatives, T tasks, V items with padding first, W warm items, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tessera.model.nn.batch import PADDING, Batch, Encoded
from tessera.model.nn.device import precision
from tessera.model.nn.generative import ItemSpace
from tessera.model.nn.item_trie import ItemTrie
from tessera.model.nn.loss import draw_negatives, full_softmax, sampled_softmax, shared_softmax
from tessera.model.nn.masking import draw_mask
from tessera.model.nn.ranking import TASKS
from tessera.model.params import LossParams, TrainingParams
from tessera.model.trainer.parallel import total
from tessera.model.trainer.seeds import reseed
from tessera.model.training.examples import Targets
from tessera.model.trunk.model import SequenceModel, states_at


@dataclass(frozen=True, slots=True)
class Lesson:
    """One part of a batch."""

    part: int
    """Which of the batch's parts it is; what is drawn at random follows from it."""
    batch: Batch
    targets: Targets


@dataclass(frozen=True, slots=True)
class _Begun:
    """What the trunk makes of a part, and what the parts of the loss are means over."""

    item_VD: Tensor
    seen: Encoded
    masked_BL: Tensor | None
    count_2: Tensor
    """Targets and hidden actions."""
    weight_T: Tensor
    """Weight of each task's answers."""


def batch_loss(
    model: SequenceModel,
    lessons: Sequence[Lesson],
    warm_W: Tensor,
    params: TrainingParams,
    trie: ItemTrie | None = None,
) -> Tensor:
    """Return the loss of a batch: recall, and where asked for ranking, hidden actions and codes.

    Of the parts that this process has it is their share of the mean over all of the batch: the sum
    over the processes is the loss.  Codes are learnt over the items of `trie`.
    """
    seed, parts = torch.initial_seed(), params.batch_parts
    begun = []
    for lesson in lessons:
        if parts > 1:
            reseed(seed + lesson.part, warm_W.device)
        begun.append(_begin(model, lesson, params))
    whole_2 = total(torch.stack([one.count_2 for one in begun]).sum(0))
    weight_T = total(torch.stack([one.weight_T for one in begun]).sum(0))
    losses = []
    for lesson, one in zip(lessons, begun, strict=True):
        if parts > 1:
            reseed(seed + parts + lesson.part, warm_W.device)
        one = replace(one, count_2=one.count_2 / whole_2.clamp(min=1.0), weight_T=weight_T)
        losses.append(_loss(model, lesson, one, warm_W, params, trie))
    return sum(losses[1:], losses[0])


def _begin(model: SequenceModel, lesson: Lesson, params: LossParams) -> _Begun:
    """Encode a part, and count what it asks."""
    batch, item_VD = lesson.batch, model.items()
    masked_BL = None
    if model.actions is not None:
        masked_BL = draw_mask(batch.item_BL != PADDING, params.mask_share)
    with precision(params.precision, item_VD.device):
        seen = model.encode(batch, item_VD, masked_BL)
    return _Begun(item_VD, seen, masked_BL, *_counts(lesson.targets, masked_BL))


def _loss(
    model: SequenceModel,
    lesson: Lesson,
    begun: _Begun,
    warm_W: Tensor,
    params: LossParams,
    trie: ItemTrie | None,
) -> Tensor:
    """Return the share of a part, whose counts are shares of the batch's by now."""
    batch, targets, item_VD, seen = lesson.batch, lesson.targets, begun.item_VD, begun.seen
    share_2, masked_BL = begun.count_2, begun.masked_BL
    recall = _recall_loss(model, seen, item_VD, targets, warm_W, params) * share_2[0]
    loss = params.recall_weight * recall
    if trie is not None and len(targets.item_N):
        generative = _generative_loss(model, seen, item_VD, targets, trie)
        loss = loss + params.generate_weight * generative * share_2[0]
    if model.actions is not None and masked_BL is not None:
        guess = model.actions.loss(seen.out_BLD, batch.action_BL, masked_BL)
        loss = loss + params.mask_weight * guess * share_2[1]
    if targets.asked is not None and targets.answers is not None:
        with precision(params.precision, item_VD.device):
            logit_NMT = model.logits(batch, targets.asked, seen, item_VD)
        objective = model.shape.chosen_rank_objective()
        loss = loss + params.rank_weight * objective(logit_NMT, targets.answers, begun.weight_T)
    return loss


def _counts(targets: Targets, masked_BL: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the numbers of targets and hidden actions, and the weight of each task's answers."""
    hidden = 0 if masked_BL is None else int(masked_BL.sum())
    counts, device = [len(targets.item_N), hidden], targets.item_N.device
    count_2 = torch.tensor(counts, dtype=torch.float32, device=device)
    if targets.answers is None:
        return count_2, torch.zeros(len(TASKS), device=device)
    return count_2, targets.answers.weight_NMT.sum((0, 1))


def _recall_loss(
    model: SequenceModel,
    seen: Encoded,
    item_VD: Tensor,
    targets: Targets,
    warm_W: Tensor,
    params: LossParams,
) -> Tensor:
    """Full softmax on a small catalogue, else sampled; 0 without targets or weight."""
    if not len(targets.item_N) or not params.recall_weight:
        return item_VD.sum() * 0.0
    state_ND = states_at(model, seen.state_BLD, targets.sequence_N, targets.state_N)
    temperature = params.temperature
    if len(warm_W) <= params.full_softmax_items:
        return full_softmax(state_ND, item_VD, targets.item_N, warm_W, temperature)
    draws = -(-len(targets.item_N) // params.shared_targets)
    negative_GM = draw_negatives(warm_W, draws, params.negatives)
    softmax = shared_softmax if params.shared_targets > 1 else sampled_softmax
    return softmax(state_ND, item_VD, targets.item_N, negative_GM, temperature)


def _generative_loss(
    model: SequenceModel, seen: Encoded, item_VD: Tensor, targets: Targets, trie: ItemTrie
) -> Tensor:
    """Cross-entropy of the codes of the targets, and of the items among those that share one."""
    assert model.decoder is not None
    state_ND = states_at(model, seen.state_BLD, targets.sequence_N, targets.state_N)
    space = ItemSpace.of(trie, model.codebook(), item_VD)
    return model.decoder.loss(space, state_ND, targets.item_N)
