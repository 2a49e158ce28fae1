"""Scores of logged candidates by both heads.

Legend: R requests, M candidates or positions, C candidates of all requests one after the other,
F features, T tasks, P events of a part, V items with padding first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tessera.contracts import mapped
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.model.nn.ranking import TASKS, answered_logit
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.requests import Requests
from tessera.model.sequences.slates import REQUESTS, Slates
from tessera.model.trunk.inference import rank_requests, score_requests, served
from tessera.model.trunk.model import SequenceModel
from tessera.model.trunk.rerank import reranked
from tessera.shared.features.facts import Facts
from tessera.shared.features.ranking import slate_features


@dataclass(frozen=True, slots=True)
class Known:
    """Requests in the rows of the facts."""

    person_R: Ints
    item_C: Ints
    effect_C: Float32s | None
    """Effect of being shown, in standard deviations; None if nobody estimated any."""


@dataclass(frozen=True, slots=True)
class LogScores:
    """What a model says of the candidates of the log."""

    served_C: Float32s
    """After the re-rank by effects."""
    cosine_C: Float32s
    logit_CT: Float32s | None
    """None without a ranking head."""

    @property
    def chance_C(self) -> Float32s | None:
        """Probability of a click or a purchase at the top; None without a ranking head."""
        if self.logit_CT is None:
            return None
        chance_C: Float32s = answered_logit(torch.from_numpy(self.logit_CT)).sigmoid().numpy()
        return chance_C


def score_log(
    model: SequenceModel, facts: Facts | None, histories: Histories, asked: Requests, known: Known
) -> LogScores:
    """Score every candidate of every request by every head that the model has.

    Parameters
    ----------
    facts
        What features are computed from; None lets nothing rank.
    histories, asked
        Histories and requests in the rows of the model's own vocabulary.
    known
        The same requests in the rows of the facts, and the effects.
    """
    if model.rank is None or facts is None or not len(asked.user_R):
        cosine_C = score_requests(model, histories, asked)
        return LogScores(
            reranked(cosine_C, known.effect_C, model.shape.uplift_weight), cosine_C, None
        )
    stop_R, parts = histories.stops_before(asked.user_R, asked.moment_R), []
    for part in mapped.parts(len(asked.user_R), REQUESTS):
        rows = np.arange(part.start, part.stop)
        item_RM, real_RM = padded(asked.item_C, asked.first_R1, rows)
        known_RM, _ = padded(known.item_C, asked.first_R1, rows)
        names, feature_RMF = slate_features(
            facts,
            known.person_R[rows],
            asked.moment_R[rows],
            known_RM,
            model.shape.feature_groups,
        )
        slates = Slates(
            user_R=asked.user_R[rows],
            moment_R=asked.moment_R[rows],
            stop_R=stop_R[rows],
            item_RM=item_RM,
            position_RM=np.ones_like(item_RM),
            feature_RMF=aligned(feature_RMF, names, model.shape.features),
            label_RMT=np.zeros((*item_RM.shape, len(TASKS)), np.float32),
            weight_RMT=np.zeros((*item_RM.shape, len(TASKS)), np.float32),
        )
        ranked = rank_requests(model, histories, slates)
        score_RM = served(model, ranked, item_RM)
        parts.append((score_RM[real_RM], ranked.cosine_RM[real_RM], ranked.logit_RMT[real_RM]))
    score_C, cosine_C, logit_CT = (np.concatenate(column) for column in zip(*parts, strict=True))
    served_C = reranked(score_C, known.effect_C, model.shape.uplift_weight)
    return LogScores(served_C, cosine_C, logit_CT)


def padded(item_C: Ints, first_R1: Ints, rows: Ints) -> tuple[Ints, Bools]:
    """Lay the candidates of some requests out as rows of a matrix, padded with 0."""
    size_R = first_R1[rows + 1] - first_R1[rows]
    slot_M = np.arange(max(1, int(size_R.max(initial=0))))
    real_RM = slot_M < size_R[:, None]
    at_RM = np.where(real_RM, first_R1[rows][:, None] + slot_M, 0)
    return np.where(real_RM, item_C[at_RM], 0), real_RM


def aligned(feature_RMF: Float32s, names: tuple[str, ...], wanted: tuple[str, ...]) -> Float32s:
    """Order the features as the model knows them; one that is gone is unknown."""
    if names == wanted:
        return feature_RMF
    place = {name: column for column, name in enumerate(names)}
    found = np.full((*feature_RMF.shape[:2], len(wanted)), np.nan, np.float32)
    for column, name in enumerate(wanted):
        if name in place:
            found[..., column] = feature_RMF[..., place[name]]
    return found
