"""What each series means, in a few words for the page; docs/monitoring.md says it whole."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

MEANINGS: Mapping[str, str] = {
    "click_auc": "how often what was clicked had the higher score; .5 is chance",
    "*_rate": "share of what was shown that came to this",
    "calibration_error.*": "how far promised shares lie from those that came",
    "gini": "how unevenly items are shown; 0 is evenly",
    "coverage": "share of the items that could be shown and were",
    "top_*": "how much of what was shown the most shown items take",
    "tail_share": "how much the least popular items take",
    "average_popularity": "share of investors who hold what was shown",
    "amplification": "popularity of what was shown over that of what was acquired",
    "novelty": "how little known what was shown is, in bits",
    "diversity": "pairs of a list that are of two categories",
    "miscalibration": "how far lists lie from the categories that their investor holds",
    "issuer_gap": "how far issuers' shares of what is shown lie from what is held",
    "unsuitable_share": "shown above the investor's risk class",
    "exploration_share": "candidates that were drawn evenly",
    "off_best_share": "shown though not among the best",
    "candidates": "items that a list was drawn from",
    "positions": "items of a list",
    "filled_places": "places that had to be filled",
    "greedy_share": "lists that nobody drew",
    "unknown_policy_share": "lists of a policy that is not here",
    "rank.*": "place among the candidates of what was shown",
    "score.*": "what the model believed of the candidates",
    "propensity.*": "whether the logged probabilities are those that drew",
    "skew.*": "largest difference when a list is worked out again",
    "psi.*": "how far shares lie from those of the days before; over .2 is a lot",
    "wasserstein.*": "how far values lie from those of the days before, in spreads",
    "c2st.auc": "how surely a classifier tells this day's investors from those before; .5 is not",
    "events.log_amount": "mean of the logarithm of amounts",
    "events.orphan_share": "events that name a list which the log lacks",
    "events.top_*": "how much the busiest investor does, or the most bought item gets",
    "price.*": "how much closes moved, together and apart",
    "freshness.*": "days since what it was learnt from, and since the newest close",
    "latency.*": "mean milliseconds of this step",
    "codes.*": "how many items semantic IDs tell apart, and how many have another one",
    "*_share": "lists with this mark",
}
"""By pattern; the first that fits says it."""


def meaning(series: str) -> str:
    """Return what a series means; nothing where no pattern fits.

    >>> meaning("click_rate")
    'share of what was shown that came to this'
    """
    return next((says for pattern, says in MEANINGS.items() if fnmatchcase(series, pattern)), "")
