"""What of each list an investor may be shown, by the rule that the gate and serving obey.

The tables of `ranking` rank the whole catalogue, as published ones do; here the same lists lose
what does not suit.  Shapes: N test investors, K positions, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np

from tessera.contracts.arrays import Bools, Ints
from tessera.shared.policies.suitability import UNKNOWN, Unknown, suitable
from tessera.stages.evaluate.holdout import Holdout
from tessera.stages.evaluate.pairs import fetch, index_of
from tessera.stages.evaluate.report import K, Lists, per_user


@dataclass(frozen=True, slots=True)
class Risks:
    """Risk classes of test investors and items, `UNKNOWN` without one."""

    risk_N: Ints
    risk_I: Ints
    unknown: Unknown

    def fit_NK(self, top_NK: Ints) -> Bools:
        """Tell which positions hold an item that suits."""
        fits_NK = suitable(self.risk_N[:, None], self.risk_I[top_NK], self.unknown)
        return np.asarray(fits_NK & (top_NK >= 0))

    def nothing_N(self, candidate_I: Bools) -> Bools:
        """Tell for whom no candidate suits."""
        offered = np.unique(self.risk_I[candidate_I])
        return np.asarray(~suitable(self.risk_N[:, None], offered, self.unknown).any(axis=1))


def read_risks(items: ibis.Table, holdout: Holdout, risk_N: Ints, unknown: Unknown) -> Risks:
    """Lay the risk classes of the items out in the order of the holdout."""
    rows = fetch(items.select("item_id", risk=items.risk_class.fill_null(UNKNOWN)), "item_id")
    risk_I = np.full(len(holdout.item_ids), UNKNOWN)
    risk_I[index_of(rows["item_id"], holdout.item_ids)] = rows["risk"].to_numpy()
    return Risks(risk_N, risk_I, unknown)


def suited_table(lists: Mapping[str, Lists], holdout: Holdout, risks: Risks) -> dict[str, Any]:
    """Measure what is left of each list when all that does not suit is taken out.

    Returns
    -------
    dict
        `nothing_suits`: test investors for whom no candidate suits; `models`: hr_10, ndcg_10 and
        `shown`, the share of ten places that are filled.
    """
    return {
        "unknown_user": risks.unknown.user,
        "unknown_item": risks.unknown.item,
        "nothing_suits": int(risks.nothing_N(holdout.candidate_I).sum()),
        "models": {name: _measure(one.top_NK, holdout, risks) for name, one in lists.items()},
    }


def _measure(top_NK: Ints, holdout: Holdout, risks: Risks) -> dict[str, float]:
    fits_NK = risks.fit_NK(top_NK)
    first_NK = np.argsort(~fits_NK, axis=1, kind="stable")[:, :K]
    left_NK = np.take_along_axis(np.where(fits_NK, top_NK, -1), first_NK, axis=1)
    values = per_user(left_NK, holdout, (K,))
    told = {name: float(values[name].mean()) for name in (f"hr_{K}", f"ndcg_{K}")}
    return told | {"shown": float((left_NK >= 0).mean())}
