"""Scores of logged candidates by both heads, and how well each orders what was shown.

Legend: R requests, M candidates or positions, C candidates of all requests one after the other,
F features, T tasks, P events of a part, V items with padding first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from tessera.contracts import mapped
from tessera.features.facts import Facts
from tessera.features.ranking import slate_features
from tessera.hstu.histories import TEST, Bools, Histories, Ints
from tessera.hstu.logged import ripe
from tessera.hstu.model import SequenceModel
from tessera.hstu.params import HstuParams
from tessera.hstu.ranking import BUY, CLICK, TASKS, answered_logit
from tessera.hstu.rerank import reranked
from tessera.hstu.scoring import (
    Floats,
    Requests,
    rank_requests,
    score_requests,
    served,
    windows_before,
)
from tessera.hstu.slates import REQUESTS, Slates
from tessera.hstu.world import World, action_codes, rows_of
from tessera.metrics.slates import slate_auc


@dataclass(frozen=True, slots=True)
class Known:
    """Requests in the rows of the facts."""

    person_R: Ints
    item_C: Ints
    effect_C: Floats | None
    """Effect of being shown, in standard deviations; None if nobody estimated any."""


@dataclass(frozen=True, slots=True)
class LogScores:
    """What a model says of the candidates of the log."""

    served_C: Floats
    """After the re-rank by effects."""
    cosine_C: Floats
    logit_CT: Floats | None
    """None without a ranking head."""

    @property
    def chance_C(self) -> Floats | None:
        """Probability of a click or a purchase at the top; None without a ranking head."""
        if self.logit_CT is None:
            return None
        chance_C: Floats = answered_logit(torch.from_numpy(self.logit_CT)).sigmoid().numpy()
        return chance_C


@dataclass(frozen=True, slots=True)
class Scored:
    """The requests after the cut and what the model just trained says of their candidates."""

    request_ids: pa.Array
    requests: Requests
    scores: LogScores


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
    windows = windows_before(histories, asked.user_R, asked.moment_R, model.shape.length)
    parts = []
    for part in mapped.parts(len(asked.user_R), REQUESTS):
        rows = np.arange(part.start, part.stop)
        item_RM, real_RM = _padded(asked.item_C, asked.first_R1, rows)
        known_RM, _ = _padded(known.item_C, asked.first_R1, rows)
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
            stop_R=windows.stop_W[rows],
            item_RM=item_RM,
            position_RM=np.ones_like(item_RM),
            feature_RMF=_aligned(feature_RMF, names, model.shape.features),
            label_RMT=np.zeros((*item_RM.shape, len(TASKS)), np.float32),
            weight_RMT=np.zeros((*item_RM.shape, len(TASKS)), np.float32),
        )
        ranked = rank_requests(model, histories, slates)
        score_RM = served(model, ranked, item_RM)
        parts.append((score_RM[real_RM], ranked.cosine_RM[real_RM], ranked.logit_RMT[real_RM]))
    score_C, cosine_C, logit_CT = (np.concatenate(column) for column in zip(*parts, strict=True))
    served_C = reranked(score_C, known.effect_C, model.shape.uplift_weight)
    return LogScores(served_C, cosine_C, logit_CT)


def _padded(item_C: Ints, first_R1: Ints, rows: Ints) -> tuple[Ints, Bools]:
    """Lay the candidates of some requests out as rows of a matrix, padded with 0."""
    size_R = first_R1[rows + 1] - first_R1[rows]
    slot_M = np.arange(max(1, int(size_R.max(initial=0))))
    real_RM = slot_M < size_R[:, None]
    at_RM = np.where(real_RM, first_R1[rows][:, None] + slot_M, 0)
    return np.where(real_RM, item_C[at_RM], 0), real_RM


def _aligned(feature_RMF: Floats, names: tuple[str, ...], wanted: tuple[str, ...]) -> Floats:
    """Order the features as the model knows them; one that is gone is unknown."""
    if names == wanted:
        return feature_RMF
    place = {name: column for column, name in enumerate(names)}
    found = np.full((*feature_RMF.shape[:2], len(wanted)), np.nan, np.float32)
    for column, name in enumerate(wanted):
        if name in place:
            found[..., column] = feature_RMF[..., place[name]]
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """The slates after the cut whose answers are known, and where their rows were scored."""

    kept_R: Bools
    """Which slates of the log they are."""
    slates: Slates
    at_RM: Ints
    """Place among the scored candidates, -1 where there is none."""
    known_RMT: Bools


def judged(scored: Scored, world: World, params: HstuParams) -> Judged | None:
    """Return the slates that every ranker is judged on; None if nothing was logged."""
    log = world.log
    if log is None:
        return None
    later_R = ripe(log.slates, world.split, params)[2]
    row_R = rows_of(log.request_ids, scored.request_ids)
    kept_R = later_R & (row_R >= 0)
    slates = log.slates.take(kept_R)
    at_RM = _find(slates.item_RM, scored.requests, row_R[kept_R])
    is_real_RM = (at_RM >= 0) & (slates.item_RM > 0)
    return Judged(kept_R, slates, at_RM, (slates.weight_RMT > 0) & is_real_RM[..., None])


def slate_figures(scored: Scored, world: World, params: HstuParams) -> dict[str, float]:
    """Return the slate AUC of each task after the cut: ranking head, cosine, popularity.

    Popularity is the number of acquisitions up to the cut.  Without a ranking head: none.
    """
    found, logit_CT = judged(scored, world, params), scored.scores.logit_CT
    if found is None or logit_CT is None:
        return {}
    slates, at_RM, known_RMT = found.slates, found.at_RM, found.known_RMT
    histories, acquired = world.histories, action_codes(params.acquired)
    count_V = np.zeros(len(world.codes_VC), np.int64)
    for event_P in histories.parts():
        is_had_P = np.isin(histories.action_E[event_P], acquired)
        is_had_P &= histories.phase_E[event_P] < TEST
        count_V += np.bincount(histories.item_E[event_P[is_had_P]], minlength=len(count_V))
    figures = {}
    for number, task in enumerate(TASKS):
        rivals = {
            f"rank_auc_{task}": logit_CT[:, number][at_RM],
            f"rank_auc_{task}_cosine": scored.scores.cosine_C[at_RM],
            f"rank_auc_{task}_popularity": count_V[slates.item_RM].astype(np.float32),
        }
        for name, score_RM in rivals.items():
            figures[name] = slate_auc(
                score_RM, slates.label_RMT[..., number], known_RMT[..., number]
            )
    served_RM, answered_RM = scored.scores.served_C[at_RM], slates.label_RMT[..., [CLICK, BUY]]
    figures["rank_auc_served"] = slate_auc(served_RM, answered_RM.max(-1), known_RMT[..., CLICK])
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _find(item_RM: Ints, requests: Requests, row_R: Ints) -> Ints:
    """Return where the items stand among the candidates of their request, -1 if they do not."""
    candidate_RC, real_RC = _padded(requests.item_C, requests.first_R1, row_R)
    match_RMC = (item_RM[:, :, None] == candidate_RC[:, None, :]) & real_RC[:, None, :]
    at_RM = requests.first_R1[row_R][:, None] + match_RMC.argmax(axis=2)
    return np.where(match_RMC.any(axis=2), at_RM, -1)
