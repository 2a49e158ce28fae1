"""Feedback: what learns from what it showed itself, with and without a guard, in process.

Usage: python -m benchmarks.feedback [--seeds 5] [--days 30] [--visits 1000] [--learners counts]

Three plain learners are trained again each night on all that was shown so far, and choose the next
day's slates (softmax with exploration over the best they retrieve and some drawn evenly).  Guards:
`weighted` weighs each shown item by one over its propensity, at most ten, and `mixed` counts half
of the weight for what was shown by exploration.  Value is from the planted probabilities.

Shapes: N visits, I items, C candidates, L positions, R rows shown, S segments, F features.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.metrics.diversity import gini
from tessera.shared.policies.slate import SlatePolicy, sample_slates
from tessera.stages.synth.behaviour import Market, Visits, organic_intensity, responses, visits
from tessera.stages.synth.interactions import EXAMINATION
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market

_USERS, _ITEMS, _LENGTH, _FIRST_DAY = 600, 120, 2, 200
_RETRIEVED, _EVENLY, _EPSILON = 20, 5, 0.2
_POLICY = SlatePolicy(temperature=0.5, epsilon=_EPSILON, top_k=10)
_MOST, _PRIOR, _WARM_DAYS = 10.0, 5.0, 3
GUARDS = ("none", "weighted", "mixed")


@dataclass
class Rows:
    """What was shown until now."""

    user: list[Ints] = field(default_factory=list)
    item: list[Ints] = field(default_factory=list)
    clicked: list[Float64s] = field(default_factory=list)
    propensity: list[Float64s] = field(default_factory=list)
    even: list[Float64s] = field(default_factory=list)
    """Chance of the item had it been drawn evenly."""

    def weight_R(self, guard: str) -> Float64s:
        """Return what each row counts, 1 on average."""
        propensity_R = np.concatenate(self.propensity)
        if guard == "none":
            return np.ones_like(propensity_R)
        if guard == "weighted":
            weight_R = np.minimum(1.0 / propensity_R, _MOST)
            return np.asarray(weight_R / weight_R.mean())
        explored_R = _EPSILON * np.concatenate(self.even) / propensity_R
        return np.asarray(0.5 + 0.5 * explored_R / explored_R.mean())


Learner = Callable[[Market, Rows, Float64s], Float64s]
"""From rows and weights to a score of each item for each segment (or investor)."""


def by_counts(market: Market, rows: Rows, weight_R: Float64s) -> Float64s:
    """Score by how often an item was clicked in a segment: the rich get richer."""
    clicks_SI = _sums(market, rows, weight_R * np.concatenate(rows.clicked))
    return np.asarray(np.log(clicks_SI + 1.0)[market.investors.segment_U])


def by_rates(market: Market, rows: Rows, weight_R: Float64s) -> Float64s:
    """Score by the share of what was shown in a segment that was clicked."""
    clicked_R = np.concatenate(rows.clicked)
    clicks_SI = _sums(market, rows, weight_R * clicked_R)
    shown_SI = _sums(market, rows, weight_R)
    base = clicked_R.mean()
    rate_SI = (clicks_SI + _PRIOR * base) / (shown_SI + _PRIOR)
    return np.asarray(np.log(rate_SI / (1.0 - rate_SI))[market.investors.segment_U])


def by_topics(market: Market, rows: Rows, weight_R: Float64s) -> Float64s:
    """Score by a logistic model of the item, and of which sectors an investor clicked before."""
    user_R, item_R = np.concatenate(rows.user), np.concatenate(rows.item)
    clicked_R = np.concatenate(rows.clicked)
    sector_I = market.assets.sector_I
    sectors = int(sector_I.max()) + 1
    liked_UK = np.zeros((market.params.users, sectors))
    shown_UK = np.full((market.params.users, sectors), 2.0)
    np.add.at(liked_UK, (user_R, sector_I[item_R]), weight_R * (clicked_R - clicked_R.mean()))
    np.add.at(shown_UK, (user_R, sector_I[item_R]), weight_R)
    share_UK = liked_UK / shown_UK
    own_R = (
        share_UK[user_R, sector_I[item_R]]
        - weight_R * (clicked_R - clicked_R.mean()) / (shown_UK[user_R, sector_I[item_R]])
    )  # without the row itself
    row_R = np.arange(len(item_R))
    one_hot = csr_matrix((np.ones(len(item_R)), (row_R, item_R)), (len(item_R), len(sector_I)))
    feature_RF = hstack([one_hot, 4.0 * own_R[:, None]], "csr")
    model = LogisticRegression(C=0.3, max_iter=200)
    model.fit(feature_RF, clicked_R, sample_weight=weight_R)
    item_I, taste = model.coef_[0, :-1], 4.0 * model.coef_[0, -1]
    return np.asarray(item_I + taste * share_UK[:, sector_I])


LEARNERS: dict[str, Learner] = {"counts": by_counts, "rates": by_rates, "topics": by_topics}


def _sums(market: Market, rows: Rows, value_R: Float64s) -> Float64s:
    segment_R = market.investors.segment_U[np.concatenate(rows.user)]
    total_SI = np.zeros((market.investors.segment_U.max() + 1, market.params.items))
    np.add.at(total_SI, (segment_R, np.concatenate(rows.item)), value_R)
    return total_SI


def candidates(score_NI: Float64s, seen: Visits, rng: np.random.Generator) -> Ints:
    """Return the best of what is open and some drawn evenly from the rest."""
    best_NI = np.where(seen.open_NI, score_NI + 1e-9 * rng.random(score_NI.shape), -np.inf)
    order_NI = np.argsort(-best_NI, axis=1)
    race_NI = np.where(seen.open_NI, rng.random(score_NI.shape), np.inf)
    np.put_along_axis(race_NI, order_NI[:, :_RETRIEVED], np.inf, axis=1)
    evenly_NC = np.argsort(race_NI, axis=1)[:, :_EVENLY]
    return np.asarray(np.hstack([order_NI[:, :_RETRIEVED], evenly_NC]))


def play(seed: int, learner: Learner, guard: str, days: int, count: int) -> list[dict[str, float]]:
    """Let days happen; return Gini and value of each."""
    params = SynthParams(seed=seed, users=_USERS, items=_ITEMS, requests=1_000, days=500,
                         slate_size=_LENGTH)  # fmt: skip
    market, rng, rows = draw_market(params), np.random.default_rng((seed, 1)), Rows()
    nothing_UI = np.zeros((_USERS, _ITEMS), np.float32)
    told = []
    for day in range(-_WARM_DAYS, days):
        user_N = rng.integers(0, _USERS, count)
        at_day = _FIRST_DAY + day
        seen = visits(market, user_N, np.full(count, float(at_day)), nothing_UI, at_day)
        score_NI = np.zeros((count, _ITEMS))
        if day >= 0:
            score_NI = learner(market, rows, rows.weight_R(guard))[user_N]
            score_NI = score_NI / max(float(score_NI.std()), 1e-9)
        told.append(_show(market, seen, score_NI, rows, rng))
    return told[_WARM_DAYS:]


def _show(
    market: Market, seen: Visits, score_NI: Float64s, rows: Rows, rng: np.random.Generator
) -> dict[str, float]:
    item_NC = candidates(score_NI, seen, rng)
    row_N1 = np.arange(len(item_NC))[:, None]
    allowed_NC = seen.open_NI[row_N1, item_NC]
    drawn = sample_slates(score_NI[row_N1, item_NC], allowed_NC, _POLICY, _LENGTH, rng)
    chosen_NL, propensity_NL, probability_NLC = drawn
    answers = responses(market, seen, organic_intensity(market, seen), item_NC)
    reach_L = EXAMINATION ** np.arange(_LENGTH)
    miss_NLC = 1.0 - reach_L[:, None] * answers.click_NC[:, None, :]
    reward_NLC = 1.0 - miss_NLC * (1.0 - answers.shown_NC[:, None, :])
    examined_NL = rng.random((len(item_NC), 1)) < reach_L
    clicked_NL = examined_NL & (rng.random(chosen_NL.shape) < answers.click_NC[row_N1, chosen_NL])
    shown_NL = item_NC[row_N1, chosen_NL]
    rows.user.append(np.repeat(seen.user_N, _LENGTH))
    rows.item.append(shown_NL.ravel())
    rows.clicked.append(clicked_NL.ravel().astype(np.float64))
    rows.propensity.append(propensity_NL.ravel())
    left_N1 = allowed_NC.sum(axis=1)[:, None] - np.arange(_LENGTH)
    rows.even.append((1.0 / left_N1).ravel())
    return {
        "gini": gini(np.bincount(shown_NL.ravel(), minlength=_ITEMS)),
        "value": float((probability_NLC * reward_NLC).sum(axis=(1, 2)).mean()),
    }


def main() -> None:
    """Print Gini and value with and without each guard."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--visits", type=int, default=1_000)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    asked = parser.parse_args()
    print("learner  guard     gini day 1  last day  change    value    last week  beside no guard")
    for name in asked.learners:
        learner = LEARNERS[name]
        plain: list[float] = []
        for guard in GUARDS:
            all_days = [
                play(seed, learner, guard, asked.days, asked.visits) for seed in range(asked.seeds)
            ]
            gini_SD = np.array([[day["gini"] for day in days] for days in all_days])
            value_SD = np.array([[day["value"] for day in days] for days in all_days])
            value_S = value_SD.mean(axis=1)
            plain = plain or value_S.tolist()
            gap_S = value_S - np.array(plain)
            first, last = gini_SD[:, 0].mean(), gini_SD[:, -1].mean()
            error = gap_S.std(ddof=1) / np.sqrt(len(gap_S)) if len(gap_S) > 1 else np.nan
            print(f"{name:8} {guard:9} {first:10.3f} {last:9.3f} {last / first - 1:+7.1%} "
                  f"{value_S.mean():8.4f} {value_SD[:, -7:].mean():12.4f} "
                  f"{gap_S.mean():+10.4f} ± {error:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
