"""What was shown on a day, and what came of it: each series of each slice as a level.

Shapes: N slates, R positions, U investors, I items, J issuers, K categories.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.series import ALL
from tessera.shared.metrics.diversity import coverage, gini
from tessera.stages.daily.frames import TOOK, Frames
from tessera.stages.daily.units import Level, ratio

Levels = dict[tuple[str, str], Level]
"""By series and slice."""
_FLAGS = ("cold", "filled", "degraded", "unlogged", "greedy", "unknown_policy")
_SMOOTH = 0.01
"""Steck's alpha: what is served has this much of what is wanted, so that no ratio is infinite."""
_NORMAL_MAD = 1.4826
"""Standard deviation of a normal in median absolute deviations."""
_NEW = {True: "known", False: "new"}
_CHANNELS = 12
"""Most that are slices: whoever asks names them, and could name one a slate."""


def slices(slates: pd.DataFrame) -> Iterator[tuple[str, Bools]]:
    """Name each slice, with the slates that it has; everybody first."""
    yield ALL, np.ones(len(slates), np.bool_)
    named = {
        "segment": slates["segment"].to_numpy(),
        "risk_class": slates["risk_class"].astype(str).to_numpy(),
        "known": slates["known"].map(_NEW).to_numpy(),
        "arm": slates["arm"].to_numpy(),
        "policy": slates["policy"].to_numpy(),
        "channel": _leading(slates["channel"]),
    }
    for name, of_N in named.items():
        found = sorted({str(one) for one in of_N} - {"", "0"})
        if len(found) < 2:  # it is everybody
            continue
        for one in found:
            yield f"{name}={one}", np.asarray(of_N == one, np.bool_)


def _leading(channel: pd.Series) -> np.typing.NDArray[np.object_]:
    """Keep the channels through which most slates were asked for; the others are no slice."""
    count = channel[channel != ""].value_counts()
    most = sorted(count.index, key=lambda one: (-count[one], one))[:_CHANNELS]
    return np.asarray(channel.where(channel.isin(most), ""), object)


def shown(day: Frames) -> Levels:
    """Measure what was shown, whole and per slice."""
    sums, counts = _shown_sums(day)
    found: Levels = {}
    user_N = day.slates["user"].to_numpy()
    for name, mask_N in slices(day.slates):
        for series, (over_N, under) in sums.items():
            level = ratio(over_N[mask_N], counts[under][mask_N], user_N[mask_N])
            if level is not None:
                found[series, name] = level
        found.update(_of_items(day, name, mask_N))
    return found


def _shown_sums(day: Frames) -> tuple[dict[str, tuple[Float64s, str]], dict[str, Float64s]]:
    """Return numerators by series with the name of their denominator, and the denominators."""
    slates, rows = day.slates, day.positions
    of_R, count = rows["slate"].to_numpy(), len(slates)

    def per_slate(value_R: Float64s | Bools) -> Float64s:
        return np.asarray(np.bincount(of_R, np.asarray(value_R, np.float64), count), np.float64)

    told_R = np.isfinite(rows["holders"].to_numpy())
    holders_R = np.where(told_R, rows["holders"].to_numpy(), 0.0)
    best_R = (rows["rank"] < slates["places"].to_numpy()[of_R]).to_numpy()
    drawn_N = ~slates["greedy"].to_numpy()
    drawn_R = drawn_N[of_R]
    news_R = np.where(told_R, -np.log2(np.maximum(holders_R, 1e-9)), 0.0)
    even_R = np.where(drawn_R, rows["even"] / rows["propensity"].clip(lower=1e-12), 0.0)
    weight_N = slates["weight"].to_numpy()
    counts = {
        "slates": np.ones(count),
        "places": slates["places"].to_numpy(np.float64),
        "positions": per_slate(np.ones(len(rows))),
        "told": per_slate(told_R),
        "drawn": per_slate(drawn_R),
        "replayed": np.isfinite(weight_N).astype(np.float64),
        "scored": np.isfinite(slates["score_mean"].to_numpy()).astype(np.float64),
        "ranked": per_slate(rows["rank"] >= 0),
        "sourced": per_slate(slates["sourced"].to_numpy()[of_R]),
        "pairs": _pairs(per_slate(rows["category"].to_numpy() >= 0)),
    }
    sums = {
        "positions": (counts["positions"], "slates"),
        "filled_places": (counts["positions"], "places"),
        "average_popularity": (per_slate(holders_R), "told"),
        "top_1_share": (per_slate(told_R & (rows["percentile"] < 0.01).to_numpy()), "told"),
        "top_5_share": (per_slate(told_R & (rows["percentile"] < 0.05).to_numpy()), "told"),
        "tail_share": (per_slate(told_R & rows["tail"].to_numpy()), "told"),
        "novelty": (per_slate(news_R), "told"),
        "diversity": (_unlike(day), "pairs"),
        "exploration_share": (per_slate(rows["uniform"]), "sourced"),
        "off_best_share": (per_slate(~best_R), "ranked"),
        "unsuitable_share": (per_slate(rows["unsuitable"]), "told"),
        "propensity.even_weight": (per_slate(even_R), "drawn"),
        "propensity.replay_weight": (np.nan_to_num(weight_N), "replayed"),
        "propensity.replay_gap": (np.nan_to_num(np.abs(weight_N - 1)), "replayed"),
        "score.mean": (np.nan_to_num(slates["score_mean"].to_numpy()), "scored"),
        "score.spread": (np.nan_to_num(slates["score_spread"].to_numpy()), "scored"),
        "score.top": (np.nan_to_num(slates["score_top"].to_numpy()), "scored"),
        "rank.mean": (per_slate(rows["rank"].clip(lower=0)), "ranked"),
        "candidates": (slates["candidates"].to_numpy(np.float64), "slates"),
    }
    sums |= {f"{name}_share": (slates[name].to_numpy(np.float64), "slates") for name in _FLAGS}
    for name in ("model_age", "price_age", *(n for n in slates if n.startswith(TOOK))):
        there_N = np.isfinite(slates[name].to_numpy())
        counts[name] = there_N.astype(np.float64)
        series = f"freshness.{name}_days" if name.endswith("_age") else f"latency.{name[8:]}_ms"
        sums[series] = (np.nan_to_num(slates[name].to_numpy()), name)
    return sums, counts


def _pairs(count_N: Float64s) -> Float64s:
    """Return how many pairs so many make."""
    return np.asarray(count_N * (count_N - 1) / 2, np.float64)


def _unlike(day: Frames) -> Float64s:
    """Count the pairs of a slate's items that are of two categories."""
    rows = day.positions[day.positions["category"] >= 0]
    of_R, kinds = rows["slate"].to_numpy(), max(len(day.categories), 1)
    key, count = np.unique(of_R * kinds + rows["category"].to_numpy(), return_counts=True)
    alike_N = np.bincount(key // kinds, _pairs(count.astype(np.float64)), len(day.slates))
    return _pairs(np.bincount(of_R, minlength=len(day.slates)).astype(np.float64)) - alike_N


def _of_items(day: Frames, name: str, mask_N: Bools) -> Levels:
    """Measure what is no mean over slates: Gini, coverage, weights, categories and issuers."""
    rows = day.positions[mask_N[day.positions["slate"].to_numpy()]]
    if not len(rows):
        return {}
    user_R = day.slates["user"].to_numpy()[rows["slate"].to_numpy()]
    shown_I = np.bincount(rows["item"], minlength=max(len(day.item_ids), day.listed))
    size = len(rows), len(np.unique(user_R))
    found = {
        ("gini", name): _gini(shown_I, rows["item"].to_numpy(), user_R),
        ("coverage", name): Level(coverage(shown_I), None, *size),
        ("top_item_share", name): _most(shown_I, rows["item"].to_numpy(), user_R),
    }
    weight_R = (rows["even"] / rows["propensity"].clip(lower=1e-12)).to_numpy()
    ess = weight_R.sum() ** 2 / (len(rows) * np.square(weight_R).sum())
    found["propensity.effective_share", name] = Level(float(ess), None, *size)
    for series, level in (
        ("issuer_gap", _issuer_gap(day, rows, user_R)),
        ("miscalibration", _miscalibration(day, rows, user_R)),
    ):
        if level is not None:
            found[series, name] = level
    return found


def _gini(shown_I: Ints, item_R: Ints, user_R: Ints) -> Level:
    """Return Gini with the error of its linear part: ranks of items hardly move."""
    items = len(shown_I)
    place_I = np.empty(items)
    place_I[np.argsort(shown_I, kind="stable")] = np.arange(1, items + 1)
    level = ratio((2 * place_I - items - 1)[item_R] / items, np.ones(len(item_R)), user_R)
    assert level is not None
    return Level(gini(shown_I), level.stderr, level.rows, level.investors)


def _most(shown_I: Ints, item_R: Ints, user_R: Ints) -> Level:
    level = ratio((item_R == shown_I.argmax()).astype(np.float64), np.ones(len(item_R)), user_R)
    assert level is not None
    return level


def _issuer_gap(day: Frames, rows: pd.DataFrame, user_R: Ints) -> Level | None:
    """Return how far shares of issuers in what is shown lie from those in what is acquired."""
    issuer_R, merit_J = rows["issuer"].to_numpy(), day.merit_J
    told_R = issuer_R >= 0
    if not told_R.any() or not merit_J.sum():
        return None
    issuer_R, user_R = issuer_R[told_R], user_R[told_R]
    share_J = np.bincount(issuer_R, minlength=len(merit_J)) / len(issuer_R)
    sign_J = np.sign(share_J - merit_J)
    level = ratio(sign_J[issuer_R] / 2, np.ones(len(issuer_R)), user_R)
    assert level is not None
    gap = float(np.abs(share_J - merit_J).sum() / 2)
    return Level(gap, level.stderr, level.rows, level.investors)


def _miscalibration(day: Frames, rows: pd.DataFrame, user_R: Ints) -> Level | None:
    """Return the mean divergence of what investors are shown from what they have acquired."""
    category_R, kinds = rows["category"].to_numpy(), day.taste_UK.shape[1]
    told_R = category_R >= 0
    if not told_R.any():
        return None
    key = user_R[told_R] * kinds + category_R[told_R]
    served_UK = np.bincount(key, minlength=len(day.taste_UK) * kinds).reshape(-1, kinds)
    there_U = (served_UK.sum(axis=1) > 0) & np.isfinite(day.taste_UK).all(axis=1)
    if not there_U.any():
        return None
    taste_VK, served_VK = day.taste_UK[there_U], served_UK[there_U]
    served_VK = served_VK / served_VK.sum(axis=1, keepdims=True)
    near_VK = (1 - _SMOOTH) * served_VK + _SMOOTH * taste_VK
    part_VK = np.where(
        taste_VK > 0,
        taste_VK * np.log(np.maximum(taste_VK, 1e-300) / np.maximum(near_VK, 1e-300)),
        0.0,
    )
    gap_V = part_VK.sum(axis=1)
    return ratio(gap_V, np.ones(len(gap_V)), np.arange(len(gap_V)))


def happened(day: Frames, acquired: tuple[str, ...]) -> Levels:
    """Measure what investors did on the day, and how what was served compares with it."""
    events = day.events
    found: Levels = {}
    if not len(events):
        return found
    had = events[events["action"].isin(acquired)]
    size = len(events), int(events["user"].nunique())
    found["events.orphan_share", ALL] = Level(day.orphans / len(events), None, *size)
    found["events.top_investor_share", ALL] = Level(
        float(events["user"].value_counts().iloc[0] / len(events)), None, *size
    )
    if len(had):
        size = len(had), int(had["user"].nunique())
        most = had["item"].value_counts().iloc[0] / len(had)
        found["events.top_item_share", ALL] = Level(float(most), None, *size)
        eur = had.loc[had["value"] > 0]
        level = ratio(np.log10(eur["value"].to_numpy()), np.ones(len(eur)), eur["user"].to_numpy())
        if level is not None:
            found["events.log_amount", ALL] = level
    found.update(_amplification(day, had))
    return found


def _amplification(day: Frames, had: pd.DataFrame) -> Levels:
    """Return how much more popular what is served is than what is acquired."""
    rows = day.positions[np.isfinite(day.positions["holders"])]
    had = had[np.isfinite(had["holders"])]
    if not len(rows) or not len(had):
        return {}
    user_R = day.slates["user"].to_numpy()[rows["slate"].to_numpy()]
    served = ratio(rows["holders"].to_numpy(), np.ones(len(rows)), user_R)
    consumed = ratio(had["holders"].to_numpy(), np.ones(len(had)), had["user"].to_numpy())
    if served is None or consumed is None or not served.value or not consumed.value:
        return {}
    value = served.value / consumed.value
    spread = np.hypot(
        (served.stderr or 0.0) / served.value, (consumed.stderr or 0.0) / consumed.value
    )
    return {
        ("amplification", ALL): Level(value, float(value * spread), len(rows), served.investors)
    }


def priced(day: Frames) -> Levels:
    """Measure how far prices moved together, and apart from each other."""
    size = len(day.moves), int(day.slates["user"].nunique())
    if not size[0]:
        return {}
    together = float(np.median(day.moves))
    apart = float(np.median(np.abs(day.moves - together))) * _NORMAL_MAD
    return {
        ("price.move", ALL): Level(abs(together), None, *size),
        ("price.spread", ALL): Level(apart, None, *size),
    }


def calibrated(day: Frames) -> Levels:
    """Measure how far logged propensities lie from how often was drawn what they belong to.

    The gap that sampling alone gives is taken off: each bin of n draws has one of about the
    standard deviation of its mean.
    """
    count_B, sum_B, spread_B, hits_B = day.bins_B4.T
    total = count_B.sum()
    if not total:
        return {}
    excess_B = np.square(hits_B - sum_B) - spread_B
    error = np.sqrt(np.maximum(excess_B, 0.0)).sum() / max(sum_B.sum(), 1.0)
    stderr = np.sqrt(spread_B.sum()) / max(sum_B.sum(), 1.0)
    investors = int(day.slates["user"].nunique())
    level = Level(float(error), float(stderr), int(total), investors, True)
    return {("propensity.calibration_error", ALL): level}
