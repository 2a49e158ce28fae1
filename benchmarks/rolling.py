"""Every model at every cut that the data allow, on what is on sale: nDCG and profit over the dates.

Usage: python -m benchmarks.rolling [--seeds 0 1 2]   with the official files in TESSERA_DATA

FAR-Trans is tested window by window: what an investor acquires between one cut and the next.  A
killed run resumes after the last model that was finished by the same code.  Nothing is chosen on a
test period: mixes are chosen on validation periods, which end at the cut; the last window was set
apart before any figure was seen and stands in a table of its own.  Before the
one validation period with prices near both ends lies hardly a close to learn profit from, so how
much profit counts at a cut is chosen by what each weight's lists returned in the windows that had
ended before it.

An investor comes back in several windows, so investors are redrawn with all their windows; a date
moves everybody at once, so the dates are also compared as few numbers that they are (Student's t).
Shapes: N investors of a window, R rows (investor and window), D dates, J seeds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
from scipy.stats import t as student

from benchmarks.common import asked_seeds, write_result
from benchmarks.rolling_models import (
    WEIGHTS,
    WINDOWS,
    Asked,
    Window,
    listed,
    place_of,
    profit_name,
    settings_of,
    split_of,
)
from tessera.contracts.arrays import Float64s
from tessera.contracts.progress import progress_bar
from tessera.shared.metrics.bootstrap import percentile_interval
from tessera.shared.metrics.profit import market_roi, roi
from tessera.stages.evaluate.baselines import BASELINES, sensible
from tessera.stages.evaluate.holdout import Holdout, build_holdout
from tessera.stages.evaluate.intervals import ten_most_popular
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import K, Lists, per_user
from tessera.stages.evaluate.returns import Returns, measure_returns
from tessera.stages.evaluate.tables import fitted_lists, rounded, trained_lists

OWN = "hstu"
PROFIT = "hstu_profit"
"""HSTU with the weight on profit that had returned most before each cut."""
PROTOCOLS = {"on sale at the cut": False, "all assets, as published": True}
_PUBLISHED = ("2020-07-01", "2021-07-01")
"""Cuts whose half-years stand in print."""
_DRAWS = 2000
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """What one window tells of every model; of HSTU means over the seeds."""

    window: Window
    investors: list[str]
    ndcg: dict[str, Float64s]
    """Model -> nDCG@10 of each investor."""
    roi: dict[str, float]
    """Model -> mean ROI@10; empty where no asset has a price near both ends."""
    by_seed: dict[str, list[float]]


def measure(asked: Asked, seeds: list[int]) -> Measured:
    """Fit the baselines and list HSTU at one cut."""
    tables = [listed(asked, seed) for seed in seeds]
    place = place_of(asked.window)
    settings = EvaluateParams(**settings_of(asked, 0)["evaluate"].model_dump())
    events, items, prices = (
        ibis.read_parquet(place.artifact(name)) for name in ("events", "items", "prices")
    )
    split = split_of(asked)
    holdout = build_holdout(events, items, split, settings)
    returns = measure_returns(prices, holdout, split)
    names = sensible(BASELINES, split)
    with progress_bar(f"baselines at {asked.window.cut}", len(names)) as bar:
        lists = fitted_lists(names, holdout, returns, settings, bar)
    seeded = [trained_lists(ibis.memtable(table), holdout, returns) for table in tables]
    ndcg = {name: _ndcg(one, holdout) for name, one in lists.items()}
    value = {name: _roi(one, returns) for name, one in lists.items()}
    by_seed: dict[str, list[float]] = {}
    for name in seeded[0]:
        each = [_ndcg(found[name], holdout) for found in seeded]
        ndcg[name] = np.mean(each, axis=0)
        by_seed[name] = [float(one.mean()) for one in each]
        value[name] = float(np.mean([_roi(found[name], returns) for found in seeded]))
    if returns is None or not np.isfinite(returns.return_I).any():
        value = {}
    else:
        ten_1K = ten_most_popular(returns)[None, :]
        value["most_popular"] = float(roi(ten_1K, returns.return_I, returns.days, K).mean())
        value["market"] = market_roi(returns.return_I, returns.days)
    return Measured(asked.window, holdout.user_ids.to_pylist(), ndcg, value, by_seed)


def _ndcg(lists: Lists, holdout: Holdout) -> Float64s:
    return per_user(lists.top_NK, holdout, (K,))[f"ndcg_{K}"]


def _roi(lists: Lists, returns: Returns | None) -> float:
    if returns is None or lists.priced_NK is None:
        return float("nan")
    return float(roi(lists.priced_NK, returns.return_I, returns.days, K).mean())


def weigh_profit(found: list[Measured]) -> tuple[list[Measured], dict[str, float]]:
    """Add the model whose weight on profit, at each cut, is what had returned most until then.

    Where no window with prices lies before the cut, profit does not count; of weights that returned
    the same the least is taken.

    Returns
    -------
    list of Measured
        The windows with that model.
    dict of str to float
        The weight at each cut.
    """
    told: list[Measured] = []
    chosen: dict[str, float] = {}
    for number, one in enumerate(found):
        weight = _most_returned([past.roi for past in found[:number] if past.roi])
        name, chosen[one.window.cut] = profit_name(weight), weight
        roi_of = {**one.roi, PROFIT: one.roi[name]} if one.roi else {}
        told.append(replace(one, ndcg={**one.ndcg, PROFIT: one.ndcg[name]}, roi=roi_of))
    return told, chosen


def _most_returned(past: list[dict[str, float]]) -> float:
    total_W = [sum(roi_of[profit_name(weight)] for roi_of in past) for weight in WEIGHTS]
    return WEIGHTS[int(np.argmax(total_W))]


def over_investors(value_R: Float64s, investor_R: Float64s) -> dict[str, float]:
    """Mean over all rows; redraw investors, each with all their rows."""
    _, place_R = np.unique(investor_R, return_inverse=True)
    total_U, rows_U = np.bincount(place_R, value_R), np.bincount(place_R)
    rng, users = np.random.default_rng(0), len(rows_U)
    draw_D = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        times_U = np.bincount(rng.integers(0, users, users), minlength=users)
        draw_D[draw] = times_U @ total_U / (times_U @ rows_U)
    return asdict(percentile_interval(float(value_R.mean()), draw_D, level=_LEVEL))


def over_dates(value_D: Float64s) -> dict[str, float]:
    """Mean over the dates and Student's interval for as few as they are."""
    mean, dates = float(value_D.mean()), len(value_D)
    error = float(value_D.std(ddof=1)) / dates**0.5
    reach = float(student.ppf((1 + _LEVEL) / 2, dates - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def compare(found: list[Measured], name: str, rival: str) -> dict[str, Any]:
    """How far a model is ahead of another in nDCG, pooled over the windows."""
    ahead = [one.ndcg[name] - one.ndcg[rival] for one in found]
    investor_R = np.concatenate([one.investors for one in found])
    told: dict[str, Any] = {"investors": over_investors(np.concatenate(ahead), investor_R)}
    if len(found) > 1:
        told["dates"] = over_dates(np.array([one.mean() for one in ahead]))
    return told


def ndcg_table(found: list[Measured], own: str) -> dict[str, Any]:
    """Every model over these windows, and the lead of one of them over each other."""
    return {
        name: {
            "by_window": {one.window.cut: float(one.ndcg[name].mean()) for one in found},
            "mean": float(np.concatenate([one.ndcg[name] for one in found]).mean()),
            **({"ahead": compare(found, own, name)} if name != own else {}),
        }
        for name in found[0].ndcg
    }


def roi_table(found: list[Measured]) -> dict[str, Any]:
    """Monthly return of every model over the windows with prices, and that beside the market's."""
    priced = [one for one in found if one.roi]
    return {
        name: {
            "by_window": {one.window.cut: one.roi[name] for one in priced},
            **over_dates(np.array([one.roi[name] for one in priced])),
            "ahead_of_market": over_dates(
                np.array([one.roi[name] - one.roi["market"] for one in priced])
            ),
        }
        for name in priced[0].roi
    }


def half_years(seeds: list[int]) -> dict[str, Any]:
    """Tables of the published test periods, on what is on sale and on all assets."""
    told: dict[str, Any] = {}
    for window in WINDOWS:
        if window.cut not in _PUBLISHED:
            continue
        until = datetime(int(window.cut[:4]) + 1, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
        told[window.cut] = {
            protocol: _half_year(measure(Asked(window, until, future), seeds))
            for protocol, future in PROTOCOLS.items()
        }
    return told


def _half_year(found: Measured) -> dict[str, Any]:
    models = {
        name: {
            "ndcg_10": float(value_N.mean()),
            "roi_10": found.roi.get(name),
            **({"ahead": compare([found], OWN, name)["investors"]} if name != OWN else {}),
        }
        for name, value_N in found.ndcg.items()
    }
    told = {"users": len(found.investors), "market_roi": found.roi.get("market")}
    return told | {"by_seed": found.by_seed, "models": models}


def main() -> None:
    """Measure every window and write results/rolling.json."""
    seeds = asked_seeds(__doc__)
    found, weights = weigh_profit([measure(Asked(window), seeds) for window in WINDOWS])
    open_ones = [one for one in found if not one.window.apart]
    apart = [one for one in found if one.window.apart]
    figures = {
        "seeds": seeds,
        "windows": {
            one.window.cut: {
                "test_days": one.window.test_days,
                "apart": one.window.apart,
                "users": len(one.investors),
                "by_seed": one.by_seed,
            }
            for one in found
        },
        "ndcg": ndcg_table(open_ones, OWN),
        "apart": ndcg_table(apart, OWN),
        "roi": roi_table(found),
        "profit_weights": weights,
        "half_years": half_years(seeds),
    }
    write_result("rolling", rounded(figures))


if __name__ == "__main__":
    main()
