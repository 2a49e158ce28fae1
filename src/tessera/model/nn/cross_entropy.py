"""Each answer of a slate by itself: its cross-entropy, whatever else was shown.

Legend: N requests, M candidates of a request, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from tessera.model.nn.ranking import RankingLabels


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Cross-entropy as a rank objective."""

    def __call__(
        self, logit_NMT: Tensor, answers: RankingLabels, total_T: Tensor | None = None
    ) -> Tensor:
        """Return the loss, see `rank_loss`."""
        return rank_loss(logit_NMT, answers, total_T)


def rank_loss(logit_NMT: Tensor, answers: RankingLabels, total_T: Tensor | None = None) -> Tensor:
    """Mean over the tasks of the mean cross-entropy of the rows whose answer is known.

    `total_T` is the weight of the known answers of each task where more rows count than are here.
    """
    loss_NMT = functional.binary_cross_entropy_with_logits(
        logit_NMT, answers.label_NMT, answers.weight_NMT, reduction="none"
    )
    total_T = answers.weight_NMT.sum((0, 1)) if total_T is None else total_T
    loss_T = loss_NMT.sum((0, 1)) / total_T.clamp(min=1e-6)
    return loss_T.sum() / (total_T > 0).sum().clamp(min=1)
