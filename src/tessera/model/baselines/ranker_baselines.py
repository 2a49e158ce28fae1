"""How DLRM and Wide & Deep order the slates that the ranking head is judged on, and how calibrated.

Legend: R requests, M positions of a slate, S shown rows, C candidates of all requests, T tasks,
U versions of investors, P positions.
"""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import torch
from ibis import Table

from tessera.contracts.arrays import Ints
from tessera.model.baselines.rankers import KINDS, Kind, Ranker, Rows, fit_ranker
from tessera.model.nn.ranking import CLICK, POSITIONS, TASKS
from tessera.model.params import BudgetParams
from tessera.model.sequences.catalogue import microseconds, rows_of
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.exposure_log import Log
from tessera.model.sequences.requests import as_requests, read_requests
from tessera.model.sequences.slates import Slates
from tessera.model.training.slate_figures import Judged, click_error, judged
from tessera.shared.features.facts import NOBODY
from tessera.shared.features.stretches import Versions
from tessera.shared.metrics.slates import slate_auc


def ranker_figures(
    users: Table,
    exposures: Table,
    dataset: Dataset,
    features: tuple[str, ...],
    params: BudgetParams,
) -> dict[str, float]:
    """Train both rankers; return slate AUC of each task and calibration error of a click by ranker.

    Slates after the cut are judged at the top position as the ranking head is; probabilities where
    they stood, after calibration.  Nothing where there is nothing to learn from.
    """
    rows = read_requests(exposures, dataset.split)
    requests = as_requests(rows, dataset.histories.user_id_U, dataset.catalogue.vocabulary)
    found = judged(rows["request_id"].combine_chunks(), requests, dataset.log)
    log = dataset.log
    if log is None or found is None:
        return {}
    learn_R, check_R, _ = log.matured
    if not learn_R.any() or not found.kept_R.any():
        return {}
    segment_R = segments(users, log)
    sizes = (
        int(segment_R.max()) + 1,
        len(log.facts.category_I),
        int(log.facts.category_I.max()) + 2,
    )
    learn, check, later = (
        _rows(log.examples(chosen_R, features)[1], segment_R[chosen_R], log)
        for chosen_R in (learn_R, check_R, found.kept_R)
    )
    figures: dict[str, float] = {}
    for kind in KINDS:
        ranker = fit_ranker(kind, learn, check, sizes, params)
        figures |= _judge(kind, ranker, later, found)
    return figures


def segments(users: Table, log: Log) -> Ints:
    """Return the number of each investor's segment as of each logged request; 0 is unknown."""
    rows = users.select("user_id", "valid_from", "segment").to_pyarrow()
    rows = rows.sort_by([("user_id", "ascending"), ("valid_from", "ascending")])
    name = pc.fill_null(rows["segment"].combine_chunks(), "")
    number_U = rows_of(name, sorted({*name.to_pylist()} - {""})) + 1
    person_U, since_U = rows_of(rows["user_id"], log.people), microseconds(rows["valid_from"])
    row_R = Versions(person_U, since_U).last(log.person_R, log.slates.moment_R)
    return np.append(number_U, 0)[row_R]


def _rows(slates: Slates, segment_R: Ints, log: Log) -> Rows:
    """Lay the shown rows of slates one after the other."""
    is_shown_RM = slates.item_RM > 0
    item_S = slates.item_RM[is_shown_RM]
    segment_S = np.broadcast_to(segment_R[:, None], is_shown_RM.shape)[is_shown_RM]
    category_S = log.facts.category_I[item_S] - NOBODY
    return Rows(
        torch.from_numpy(slates.feature_RMF[is_shown_RM]),
        torch.from_numpy(np.column_stack([segment_S, item_S, category_S])),
        torch.from_numpy(slates.position_RM[is_shown_RM]),
        torch.from_numpy(slates.label_RMT[is_shown_RM]),
        torch.from_numpy(slates.weight_RMT[is_shown_RM]),
    )


def _judge(kind: Kind, ranker: Ranker, later: Rows, found: Judged) -> dict[str, float]:
    with torch.inference_mode():
        logit_ST = ranker(later)
        at_top_ST = logit_ST - ranker.position_PT[later.position_S.clamp(max=POSITIONS)]
    logit_RMT = np.zeros(found.slates.label_RMT.shape, np.float32)
    logit_RMT[found.slates.item_RM > 0] = at_top_ST.numpy()
    figures = {
        f"rank_auc_{task}_{kind}": slate_auc(
            logit_RMT[..., t], found.slates.label_RMT[..., t], found.known_RMT[..., t]
        )
        for t, task in enumerate(TASKS)
    }
    chance_RM = np.zeros(found.slates.item_RM.shape)
    chance_RM[found.slates.item_RM > 0] = ranker.click_chance(logit_ST[:, CLICK])
    figures[f"rank_ece_click_{kind}"] = click_error(chance_RM, found)
    return {name: value for name, value in figures.items() if np.isfinite(value)}
