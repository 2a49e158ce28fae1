"""What is known of the item: its risk, its age, how popular it is, how its category is liked.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import ACTIONS
from tessera.shared.features.facts import BOUGHT, NOBODY, Columns, Facts, Queries
from tessera.shared.features.shares import LIKED, log_days, risk_as_of, share

RECENT_DAYS = 30
"""Popularity counts what happened this recently."""
_CLICK, _DISMISS = ACTIONS.index("click"), ACTIONS.index("dismiss")
_COUNTED: dict[str, tuple[int, ...]] = {
    "bought": BOUGHT,
    "clicked": (_CLICK,),
    "dismissed": (_DISMISS,),
}


def columns(facts: Facts, asked: Queries) -> Columns:
    """Risk, age, recent popularity of the item, and how often its category was liked."""
    item_Q, moment_Q = asked.item_Q, asked.moment_Q
    born_Q = facts.born_I[item_Q]
    risk_Q = np.where(facts.risk_I[item_Q] > 0, facts.risk_I[item_Q], np.nan).astype(float)
    found: Columns = {
        "item_risk": risk_Q,
        "item_risk_gap": risk_Q - risk_as_of(facts, asked)[asked.request_Q],
        "item_age": log_days(moment_Q - born_Q, born_Q == NOBODY),
        "item_age_missing": born_Q == NOBODY,
    }
    for name, actions in _COUNTED.items():
        count_Q = facts.item_counts(actions, asked)
        recent_Q = count_Q - facts.item_counts(actions, asked, RECENT_DAYS * DAY_US)
        found |= {f"item_{name}": np.log1p(count_Q), f"item_{name}_recent": np.log1p(recent_Q)}
    for name, judged in {"liked": LIKED, "dismissed": (_DISMISS,)}.items():
        share_Q, _ = share(facts, asked, "category", facts.category_I, judged)
        found[f"category_{name}"] = share_Q
    return found
