"""How well each head orders what was shown after the cut.

Legend: R requests, M positions, C candidates of all requests one after the other, T tasks,
V items with padding first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from tessera.contracts.arrays import Bools, Ints
from tessera.model.nn.ranking import BUY, CLICK, TASKS
from tessera.model.sequences.catalogue import rows_of
from tessera.model.sequences.exposure_log import Log
from tessera.model.sequences.requests import Requests
from tessera.model.sequences.slates import Slates
from tessera.model.trunk.log_scores import LogScores, padded
from tessera.model.trunk.model import SequenceModel
from tessera.shared.metrics.calibration import expected_calibration_error
from tessera.shared.metrics.slates import slate_auc


@dataclass(frozen=True, slots=True)
class Scored:
    """The requests after the cut and what the model just trained says of their candidates."""

    request_ids: pa.Array
    requests: Requests
    scores: LogScores


@dataclass(frozen=True, slots=True)
class Judged:
    """The slates after the cut whose answers are known, and where their rows were scored."""

    kept_R: Bools
    """Which slates of the log they are."""
    slates: Slates
    at_RM: Ints
    """Place among the scored candidates, -1 where there is none."""
    known_RMT: Bools


def judged(request_ids: pa.Array, requests: Requests, log: Log | None) -> Judged | None:
    """Return the slates that every ranker is judged on; None if nothing was logged."""
    if log is None:
        return None
    later_R = log.matured[2]
    row_R = rows_of(log.request_ids, request_ids)
    kept_R = later_R & (row_R >= 0)
    slates = log.slates.take(kept_R)
    at_RM = _find(slates.item_RM, requests, row_R[kept_R])
    is_real_RM = (at_RM >= 0) & (slates.item_RM > 0)
    return Judged(kept_R, slates, at_RM, (slates.weight_RMT > 0) & is_real_RM[..., None])


def slate_figures(
    model: SequenceModel, scored: Scored, log: Log | None, count_V: Ints
) -> dict[str, float]:
    """Return the slate AUC of each task after the cut: ranking head, cosine, popularity.

    Popularity is `count_V`, the number of acquisitions up to the cut.  Beside them the calibration
    error of a click by the head.  Without a ranking head: none.
    """
    found = judged(scored.request_ids, scored.requests, log)
    logit_CT = scored.scores.logit_CT
    if found is None or logit_CT is None:
        return {}
    slates, at_RM, known_RMT = found.slates, found.at_RM, found.known_RMT
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
    told = {name: value for name, value in figures.items() if np.isfinite(value)}
    return told | head_error(model, scored, found)


def _find(item_RM: Ints, requests: Requests, row_R: Ints) -> Ints:
    """Return where the items stand among the candidates of their request, -1 if they do not."""
    candidate_RC, real_RC = padded(requests.item_C, requests.first_R1, row_R)
    match_RMC = (item_RM[:, :, None] == candidate_RC[:, None, :]) & real_RC[:, None, :]
    at_RM = requests.first_R1[row_R][:, None] + match_RMC.argmax(axis=2)
    return np.where(match_RMC.any(axis=2), at_RM, -1)


def head_error(model: SequenceModel, scored: Scored, found: Judged) -> dict[str, float]:
    """Return the calibration error of a click by the ranking head, where the items stood."""
    logit_CT = scored.scores.logit_CT
    if model.rank is None or logit_CT is None:
        return {}
    head, position_RM = model.rank, torch.from_numpy(found.slates.position_RM)
    with torch.inference_mode():
        logit_RMT = torch.from_numpy(logit_CT[found.at_RM]).to(head.position_PT.device)
        chance_RMT = head.chances(logit_RMT, position_RM.to(logit_RMT.device))
    error = click_error(chance_RMT[..., CLICK].double().cpu().numpy(), found)
    return {"rank_ece_click": error} if np.isfinite(error) else {}


def click_error(chance_RM: NDArray[np.float64], found: Judged) -> float:
    """Return the expected calibration error of the probability of a click; NaN without rows."""
    known_RM = found.known_RMT[..., CLICK]
    if not known_RM.any():
        return float("nan")
    clicked_N = found.slates.label_RMT[..., CLICK][known_RM].astype(np.float64)
    return expected_calibration_error(chance_RM[known_RM], clicked_N)
