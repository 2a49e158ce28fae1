"""What the trained model says: vectors, and scores of logged candidates.

Recall scores are the bare cosine of the published vectors of user and item, neither divided by the
temperature nor calibrated.  Ranking scores are the log odds of a click or a purchase at the top of
a slate, centred and in units of their spread over the validation period.

Legend: E events, U users, W windows, R requests, C candidates, M candidates of one request,
T tasks, V items with padding first, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.progress import progress_bar
from tessera.model.nn.batch import PADDING, Batch
from tessera.model.nn.device import device_of, moved
from tessera.model.nn.ranking import CAP, TASKS, RankingHead
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.requests import Requests
from tessera.model.sequences.slates import Slates, lay
from tessera.model.sequences.windows import Batcher, Windows, by_length, last_windows
from tessera.model.trunk.model import SequenceModel, states_at

_ENCODE_BATCH = 256
UNKNOWN_SCORE = -1.0
"""Score of a candidate with no place in the model's space: the least a cosine can be."""


def item_vectors(model: SequenceModel) -> Float32s:
    """Return unit item_VD; row 0 is padding."""
    with torch.inference_mode():
        vectors: Float32s = published(model, model.items()).cpu().numpy()
    return vectors


def published(model: SequenceModel, item_VD: Tensor) -> Tensor:
    """Return item_VD as it is published: unit vectors, the closed forms behind the trunk."""
    unit_VD = functional.normalize(item_VD, dim=-1)
    return model.closed_form.item(unit_VD, model.placed_V())


def asking_vectors(model: SequenceModel, unit_BD: Tensor, batch: Batch) -> Tensor:
    """Return the unit vectors that ask for items."""
    return model.closed_form.investor(unit_BD, batch.item_BL, batch.action_BL)


def placed(model: SequenceModel) -> Bools:
    """Return which items can be found by their vector."""
    is_placed_V: Bools = model.placed_V().cpu().numpy()
    if model.closed_form.places_all:
        is_placed_V = np.arange(len(is_placed_V)) != PADDING
    return is_placed_V


def encode(model: SequenceModel, histories: Histories, windows: Windows) -> Float32s:
    """Return unit state_WD: what asks for items at the end of each window, at its request."""
    state_WD = trunk_states(model, histories, windows)
    batcher, parts, device = Batcher(histories), [], device_of(model)
    with torch.inference_mode():
        for start in range(0, len(windows), _ENCODE_BATCH):
            rows = np.arange(start, min(start + _ENCODE_BATCH, len(windows)))
            unit_BD = torch.from_numpy(state_WD[rows]).to(device)
            batch = moved(batcher.batch(windows.take(rows)), device)
            parts.append(asking_vectors(model, unit_BD, batch).cpu().numpy())
    return np.concatenate(parts) if parts else state_WD


def trunk_states(model: SequenceModel, histories: Histories, windows: Windows) -> Float32s:
    """Return unit state_WD of the trunk alone."""
    batcher, device = Batcher(histories), device_of(model)
    batches = list(by_length(windows, _ENCODE_BATCH))
    state_WD = np.empty((len(windows), model.shape.width), np.float32)
    with torch.inference_mode(), progress_bar("encode histories", len(batches)) as bar:
        item_VD = model.items()
        for rows in batches:
            batch = moved(batcher.batch(windows.take(rows)), device)
            real_BL = batch.item_BL != PADDING
            last_B = batch.group_BL.masked_fill(~real_BL, -1).amax(1)
            state_BLD = model(batch, item_VD)
            row_B = torch.arange(len(rows), device=device)
            state_BD = states_at(model, state_BLD, row_B, last_B)
            state_WD[rows] = functional.normalize(state_BD, dim=-1).cpu().numpy()
            bar.advance()
    return state_WD


def score_requests(model: SequenceModel, histories: Histories, requests: Requests) -> Float32s:
    """Return score_C of each candidate from the user's history strictly before the request."""
    first_R, stop_R = histories.stretches_before(requests.user_R, requests.moment_R)
    windows = last_windows(first_R, stop_R, requests.moment_R // 1_000_000, model.shape.length)
    state_RD = encode(model, histories, windows)
    item_VD = item_vectors(model)
    request_C = np.repeat(np.arange(len(requests.user_R)), np.diff(requests.first_R1))
    score_C = np.empty(len(request_C), np.float32)
    for start in range(0, len(request_C), 1 << 18):
        part = slice(start, start + (1 << 18))
        score_C[part] = np.einsum(
            "cd,cd->c", state_RD[request_C[part]], item_VD[requests.item_C[part]]
        )
    return np.where(placed(model)[requests.item_C], score_C, np.float32(UNKNOWN_SCORE))


@dataclass(frozen=True, slots=True)
class Ranked:
    """What both heads say of the candidates of requests; slots with item 0 say nothing."""

    cosine_RM: Float32s
    logit_RMT: Float32s


def rank_requests(model: SequenceModel, histories: Histories, slates: Slates) -> Ranked:
    """Score the candidates of each request by both heads, from one pass over its history."""
    first_U1 = histories.first_U1
    first_R = np.where(slates.user_R < 0, slates.stop_R, first_U1[slates.user_R])
    windows = last_windows(first_R, slates.stop_R, slates.moment_R // 1_000_000, model.shape.length)
    batcher, one_R1 = Batcher(histories), np.arange(len(slates))[:, None]
    device = device_of(model)
    cosine_RM = np.empty(slates.item_RM.shape, np.float32)
    logit_RMT = np.empty((*slates.item_RM.shape, len(TASKS)), np.float32)
    batches = list(by_length(windows, _ENCODE_BATCH))
    with torch.inference_mode(), progress_bar("rank candidates", len(batches)) as bar:
        item_VD = model.items()
        unit_VD = published(model, item_VD)
        for rows in batches:
            batch = moved(batcher.batch(windows.take(rows)), device)
            asked = lay(slates, one_R1[rows], windows.start_W[rows], first_U1, histories.group_E)[0]
            asked = moved(asked, device)
            seen = model.encode(batch, item_VD)
            logit_RMT[rows] = model.logits(batch, asked, seen, item_VD).cpu().numpy()
            state_BD = states_at(model, seen.state_BLD, asked.sequence_N, asked.state_N)
            unit_BD = asking_vectors(model, functional.normalize(state_BD, dim=-1), batch)
            cosine_BM = torch.einsum("bd,bmd->bm", unit_BD, unit_VD[asked.item_NM])
            cosine_RM[rows] = cosine_BM.cpu().numpy()
            bar.advance()
    return Ranked(cosine_RM, logit_RMT)


def serving_head(model: SequenceModel) -> RankingHead | None:
    """Return the ranking head if the model serves with it; None serves with the cosine."""
    return None if model.shape.score == "recall" else model.rank


def served(model: SequenceModel, ranked: Ranked, item_RM: Ints) -> Float32s:
    """Return the scores of the head that the model serves with; the unknown get the least."""
    head = serving_head(model)
    if head is None:
        score_RM, least, is_known_RM = ranked.cosine_RM, UNKNOWN_SCORE, placed(model)[item_RM]
    else:
        with torch.inference_mode():
            logit_RMT = torch.from_numpy(ranked.logit_RMT).to(device_of(model))
            score_RM = head.score(logit_RMT).cpu().numpy()
            item_NM = torch.from_numpy(item_RM).to(device_of(model))
            least, is_known_RM = -CAP, model.is_placed(item_NM).cpu().numpy()
    return np.where(is_known_RM, score_RM, np.float32(least))
